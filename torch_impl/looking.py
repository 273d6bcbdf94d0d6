"""How much each token attends to each, in every head of a trained model. Twin: jax_impl/looking.py."""

import numpy as np
import torch
from torch import Tensor, nn

from shared.data.pairs.batches import source_arrays
from shared.data.pairs.letters import START
from shared.errors import IsogradError
from shared.tasks.generation import checked_prompts
from torch_impl.models.gpt import GPT
from torch_impl.models.translator import Translator
from torch_impl.weights import to_numpy, to_tensor


def look(module: nn.Module, *texts: list[int]) -> np.ndarray:
    """Weights (layers, heads, T, S): of a text over itself, or of a target and its end over its source, as ids.

    A translator has one layer and one head, the mean of those of its last layer.
    Raises IsogradError for a model without attention weights, and for a text that it can't read.
    """
    module.eval()
    with torch.no_grad():
        weights = _weights(module, *texts)
    if weights is None:
        raise IsogradError("this model has no attention weights of a head to look at: choose a different model")
    return to_numpy(weights)


def _weights(module: nn.Module, *texts: list[int]) -> Tensor | None:
    if isinstance(module, GPT):
        return _of_text(module, *texts)
    return _of_translation(module, *texts) if isinstance(module, Translator) else None


def _of_text(module: GPT, ids: list[int]) -> Tensor | None:
    inputs = checked_prompts([ids], module.config.vocabulary_size, module.config.sequence_length)
    weights = module.look(to_tensor(inputs, _device(module)))
    return None if weights is None else weights[:, 0]


def _of_translation(module: Translator, source: list[int], target: list[int]) -> Tensor | None:
    arrays = (*source_arrays([source], len(source)).values(), np.array([[START, *target]]))
    weights = module.look(*(to_tensor(array, _device(module)) for array in arrays))
    return None if weights is None else weights[None]


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
