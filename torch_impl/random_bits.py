"""Uniform 32-bit numbers from a key and a shape, the same bits in both frameworks. Twin: jax_impl/random_bits.py."""

import math

import torch
from torch import Tensor

from shared.rng import PARITY, ROTATIONS, Key

LOW_WORD = 0xFFFFFFFF


def random_bits(key: Key, shape: tuple[int, ...], device: torch.device | str | None = None) -> Tensor:
    """Unsigned 32-bit numbers held in int64, of the given shape; element i depends on (key, i) alone."""
    counters = torch.arange(math.prod(shape), dtype=torch.int64, device=device)
    x0, x1 = _threefry2x32(key, counters >> 32, counters & LOW_WORD)
    return (x0 ^ x1).reshape(shape)


def _threefry2x32(key: Key, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """threefry-2x32 of `shared/rng.py` in int64, since torch has few operations on unsigned integers."""
    words = (key[0], key[1], key[0] ^ key[1] ^ PARITY)
    x0, x1 = (high + words[0]) & LOW_WORD, (low + words[1]) & LOW_WORD
    for round_group in range(5):
        for rotation in ROTATIONS[round_group % 2]:
            x0 = (x0 + x1) & LOW_WORD
            x1 = x0 ^ (((x1 << rotation) & LOW_WORD) | (x1 >> (32 - rotation)))
        x0 = (x0 + words[(round_group + 1) % 3]) & LOW_WORD
        x1 = (x1 + words[(round_group + 2) % 3] + round_group + 1) & LOW_WORD
    return x0, x1
