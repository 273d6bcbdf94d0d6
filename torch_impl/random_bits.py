"""Uniform 32-bit numbers from a key and a shape, the same bits in both frameworks. Twin: jax_impl/random_bits.py."""

import math

import torch
from torch import Tensor

from shared.rng import PARITY, ROTATIONS, UNIFORM_BITS, Key

LOW_WORD = 0xFFFFFFFF
CHUNK = 2**15  # elements drawn together on a CPU: few enough to stay in its cache


def random_bits(key: Key, shape: tuple[int, ...], device: torch.device | str | None = None) -> Tensor:
    """Unsigned 32-bit numbers held in int64, of the given shape; element i depends on (key, i) alone."""
    size = math.prod(shape)
    if torch.device(device or "cpu").type == "cuda":
        return _stream_of_kernel(key, size, device).reshape(shape)
    chunks = [_stream(key, first, min(CHUNK, size - first)) for first in range(0, size, CHUNK)]
    return (torch.cat(chunks or [torch.empty(0)]).to(torch.int64) & LOW_WORD).reshape(shape)


def random_mask(key: Key, shape: tuple[int, ...], threshold: int, device: torch.device | str | None = None) -> Tensor:
    """True where the upper 23 of the random bits are below `threshold`, that is with probability threshold / 2**23."""
    if torch.device(device or "cpu").type == "cuda":
        return (random_bits(key, shape, device) >> 32 - UNIFORM_BITS) < threshold
    mask = torch.empty(math.prod(shape), dtype=torch.bool)
    for first in range(0, len(mask), CHUNK):
        bits = _stream(key, first, min(CHUNK, len(mask) - first))
        upper = bits.bitwise_right_shift_(32 - UNIFORM_BITS).bitwise_and_(2**UNIFORM_BITS - 1)
        torch.lt(upper, threshold, out=mask[first : first + CHUNK])
    return mask.reshape(shape)


def _stream(key: Key, first: int, size: int) -> Tensor:
    """Elements from `first` on of threefry-2x32 (see `shared/rng.py`) in int32, whose sums wrap as they should."""
    words = [_signed(word) for word in (key[0], key[1], key[0] ^ key[1] ^ PARITY)]
    counters = torch.arange(first, first + size, dtype=torch.int64)
    x0, x1 = (counters >> 32).to(torch.int32).add_(words[0]), _low_word(counters).add_(words[1])
    for round_group in range(5):
        for rotation in ROTATIONS[round_group % 2]:
            x0.add_(x1)
            left = x1 << rotation
            right = x1.bitwise_right_shift_(32 - rotation).bitwise_and_(2**rotation - 1)  # the sign must not come along
            x1 = right.bitwise_or_(left).bitwise_xor_(x0)
        x0.add_(words[(round_group + 1) % 3])
        x1.add_(words[(round_group + 2) % 3]).add_(round_group + 1)
    return x0.bitwise_xor_(x1)


def _signed(word: int) -> int:
    """The int32 with the bits of an unsigned word."""
    return word - 2**32 if word >= 2**31 else word


def _low_word(counters: Tensor) -> Tensor:
    low = counters & LOW_WORD
    return torch.where(low < 2**31, low, low - 2**32).to(torch.int32)


def _stream_of_kernel(key: Key, size: int, device: torch.device | str | None) -> Tensor:
    """The same on a GPU, where a hundred operations in a row would each read and write all of it."""
    from shared.kernels.threefry import BLOCK, threefry_stream

    words = torch.tensor([key[0], key[1], key[0] ^ key[1] ^ PARITY], device=device)
    bits = torch.empty(size, dtype=torch.int64, device=device)
    threefry_stream[(-(-size // BLOCK),)](words, bits, size, BLOCK=BLOCK)
    return bits
