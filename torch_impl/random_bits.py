"""Uniform 32-bit numbers from a key and a shape, the same bits in both frameworks. Twin: jax_impl/random_bits.py."""

import math

import torch
from torch import Tensor

from shared.rng import PARITY, ROTATIONS, Key

LOW_WORD = 0xFFFFFFFF


def random_bits(key: Key, shape: tuple[int, ...], device: torch.device | str | None = None) -> Tensor:
    """Unsigned 32-bit numbers held in int64, of the given shape; element i depends on (key, i) alone."""
    words = torch.tensor([key[0], key[1], key[0] ^ key[1] ^ PARITY], device=device)
    stream = _stream_of_kernel if words.is_cuda else _stream
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


def _stream_of_kernel(words: Tensor, size: int) -> Tensor:
    """The same on a GPU, where a hundred operations in a row would each read and write all of it."""
    from shared.kernels.threefry import BLOCK, threefry_stream

    bits = torch.empty(size, dtype=torch.int64, device=words.device)
    threefry_stream[(-(-size // BLOCK),)](words, bits, size, BLOCK=BLOCK)
    return bits
