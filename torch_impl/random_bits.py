"""Uniform 32-bit numbers from a key and a shape, the same bits in both frameworks. Twin: jax_impl/random_bits.py."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from shared.rng import PARITY, ROTATIONS, Key

LOW_WORD = 0xFFFFFFFF


def random_bits(key: Key, shape: tuple[int, ...], device: torch.device | str | None = None) -> Tensor:
    """Unsigned 32-bit numbers held in int64, of the given shape; element i depends on (key, i) alone."""
    words = torch.tensor([key[0], key[1], key[0] ^ key[1] ^ PARITY], device=device)
    stream = _one_kernel() if words.is_cuda else _stream
    return stream(words, math.prod(shape)).reshape(shape)


def _stream(words: Tensor, size: int) -> Tensor:
    """threefry-2x32 of `shared/rng.py` in int64, since torch has few operations on unsigned integers."""
    counters = torch.arange(size, dtype=torch.int64, device=words.device)
    x0, x1 = ((counters >> 32) + words[0]) & LOW_WORD, ((counters & LOW_WORD) + words[1]) & LOW_WORD
    for round_group in range(5):
        for rotation in ROTATIONS[round_group % 2]:
            x0 = (x0 + x1) & LOW_WORD
            x1 = x0 ^ (((x1 << rotation) & LOW_WORD) | (x1 >> (32 - rotation)))
        x0 = (x0 + words[(round_group + 1) % 3]) & LOW_WORD
        x1 = (x1 + words[(round_group + 2) % 3] + round_group + 1) & LOW_WORD
    return x0 ^ x1


@functools.cache
def _one_kernel() -> Callable[[Tensor, int], Tensor]:
    """On a GPU the hundred operations of the stream are compiled into one kernel, for every size at once."""
    return torch.compile(_stream, dynamic=True)
