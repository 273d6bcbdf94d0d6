"""How much each token attends to each, in every head of a trained model. Twin: torch_impl/looking.py."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jax_impl.models.gpt import GPT
from jax_impl.models.translator import Translator
from jax_impl.weights import to_numpy
from shared.data.pairs.batches import source_arrays
from shared.data.pairs.letters import START
from shared.errors import IsogradError
from shared.tasks.generation import checked_prompts


def look(module: nnx.Module, *texts: list[int]) -> np.ndarray:
    """Weights (layers, heads, T, S): of a text over itself, or of a target and its end over its source, as ids.

    A translator has one layer and one head, the mean of those of its last layer.
    Raises IsogradError for a model without attention weights, and for a text that it can't read.
    """
    module.eval()
    weights = _weights(module, *texts)
    if weights is None:
        raise IsogradError("this model has no attention weights of a head to look at: choose a different model")
    return to_numpy(weights)


def _weights(module: nnx.Module, *texts: list[int]) -> Array | None:
    if isinstance(module, GPT):
        return _of_text(module, *texts)
    return _of_translation(module, *texts) if isinstance(module, Translator) else None


def _of_text(module: GPT, ids: list[int]) -> Array | None:
    inputs = checked_prompts([ids], module.config.vocabulary_size, module.config.sequence_length)
    weights = module.look(jnp.asarray(inputs))
    return None if weights is None else weights[:, 0]


def _of_translation(module: Translator, source: list[int], target: list[int]) -> Array | None:
    arrays = (*source_arrays([source], len(source)).values(), np.array([[START, *target]]))
    weights = module.look(*(jnp.asarray(array) for array in arrays))
    return None if weights is None else weights[None]
