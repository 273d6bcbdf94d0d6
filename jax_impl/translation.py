"""Greedy translation of words, by `generate`. Twin: torch_impl/translation.py."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int

from jax_impl.generation import generate
from jax_impl.models.transformer_translation import DecoderOnlyTranslator
from jax_impl.models.translator import Translator
from jax_impl.weights import to_numpy
from shared.data.pairs.batches import prompts, source_arrays
from shared.data.pairs.letters import END, START
from shared.tasks.generation import bucket


class ReadSource(nnx.Module):
    """A translator that has read its sources: the next letter of each target, as `generate` asks for it."""

    def __init__(self, translator: Translator, source: Int[Array, "B S"], source_mask: Bool[Array, "B S"]):
        self.config = translator.config
        self.decoder = translator.decoder
        self.annotations, self.hidden = translator.encoder(source, source_mask)
        self.source_mask = source_mask

    def empty_cache(self, batch_size: int, size: int) -> list[Float[Array, "..."]]:
        """Nothing: every letter is read at each step."""
        return []

    def advance(
        self, inputs: Int[Array, "B T"], positions: Int[Array, "B T"], cache: list[Float[Array, "..."]]
    ) -> tuple[Float[Array, "B T V"], list[Float[Array, "..."]]]:
        """The logits of letters from position 0 on."""
        logits, _ = self.decoder(inputs, self.annotations, self.source_mask, self.hidden)
        return logits, cache

    def logits(self, x: Float[Array, "*B V"]) -> Float[Array, "*B V"]:
        """What `advance` gives."""
        return x


def translate(module: Translator | DecoderOnlyTranslator, sources: Sequence[list[int]], steps: int) -> np.ndarray:
    """The likeliest letters, (B, steps) ids that repeat END after a word, of sources as ids without marks."""
    module.eval()
    if isinstance(module, DecoderOnlyTranslator):
        ids, lengths = prompts(sources)
        found = to_numpy(generate(module, ids, lengths=lengths, steps=steps, stop=END, cache=False))
        return np.stack([row[length : length + steps] for row, length in zip(found, lengths, strict=True)])
    read = read_sources(module, sources)
    starts = np.full((len(sources), 1), START)
    return to_numpy(generate(read, starts, steps=steps, stop=END, cache=False))[:, 1:]


def read_sources(translator: Translator, sources: Sequence[list[int]]) -> ReadSource:
    """The sources, padded to a power of two, so that few shapes occur."""
    arrays = source_arrays(sources, bucket(max(map(len, sources))))
    source, source_mask = (jnp.asarray(array) for array in arrays.values())
    return ReadSource(translator, source, source_mask)
