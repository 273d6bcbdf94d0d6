"""Greedy translation of words, by `generate`. Twin: jax_impl/translation.py."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.data.pairs.batches import prompts, source_arrays
from shared.data.pairs.letters import END, START
from shared.tasks.generation import bucket
from torch_impl.generation import generate
from torch_impl.models.transformer_translation import DecoderOnlyTranslator
from torch_impl.models.translator import Translator
from torch_impl.weights import to_numpy, to_tensor


class ReadSource(nn.Module):
    """A translator that has read its sources: the next letter of each target, as `generate` asks for it."""

    def __init__(self, translator: Translator, source: Int[Tensor, "B S"], source_mask: Bool[Tensor, "B S"]):
        super().__init__()
        self.config = translator.config
        self.decoder = translator.decoder
        self.annotations, self.hidden = translator.encoder(source, source_mask)
        self.source_mask = source_mask

    def empty_cache(self, batch_size: int, size: int) -> list[Float[Tensor, "..."]]:
        """Nothing: every letter is read at each step."""
        return []

    def advance(
        self, inputs: Int[Tensor, "B T"], positions: Int[Tensor, "B T"], cache: list[Float[Tensor, "..."]]
    ) -> tuple[Float[Tensor, "B T V"], list[Float[Tensor, "..."]]]:
        """The logits of letters from position 0 on."""
        logits, _ = self.decoder(inputs, self.annotations, self.source_mask, self.hidden)
        return logits, cache

    def logits(self, x: Float[Tensor, "*B V"]) -> Float[Tensor, "*B V"]:
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
    source, source_mask = (to_tensor(array, _device(translator)) for array in arrays.values())
    with torch.no_grad():
        return ReadSource(translator, source, source_mask)


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
