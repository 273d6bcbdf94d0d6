"""Random numbers from a key and a shape, the same bits in both frameworks. Twin: jax_impl/random_bits.py.

Each draws the elements of a stream (see shared/rng.py) from `first` on; element i depends on (key, i) alone.
"""

import math

import torch
from torch import Tensor

from shared import rng
from shared.rng import LOWEST, PARITY, ROTATIONS, UNIFORM_BITS, Key

LOW_WORD = 0xFFFFFFFF
CHUNK = 2**15  # elements drawn together on a CPU: few enough to stay in its cache
Device = torch.device | str | None


def random_bits(key: Key, shape: tuple[int, ...], device: Device = None, first: int = 0) -> Tensor:
    """Unsigned 32-bit numbers, held in int64."""
    rng.check_range(first, math.prod(shape))
    if torch.device(device or "cpu").type == "cuda":
        return _from_kernel(key, shape, device, first)
    chunks = [_stream(key, *chunk) for chunk in _chunks(first, math.prod(shape))]
    return (torch.cat(chunks or [torch.empty(0)]).to(torch.int64) & LOW_WORD).reshape(shape)


def random_mask(key: Key, shape: tuple[int, ...], threshold: int, device: Device = None, first: int = 0) -> Tensor:
    """True where the upper 23 of the random bits are below `threshold`, that is with probability threshold / 2**23."""
    rng.check_range(first, math.prod(shape))
    if torch.device(device or "cpu").type == "cuda":
        return _from_kernel(key, shape, device, first, threshold)
    mask = torch.empty(math.prod(shape), dtype=torch.bool)
    for start, size in _chunks(first, len(mask)):
        upper = _stream(key, start, size).bitwise_right_shift_(32 - UNIFORM_BITS).bitwise_and_(2**UNIFORM_BITS - 1)
        torch.lt(upper, threshold, out=mask[start - first : start - first + size])
    return mask.reshape(shape)


def random_uniform(key: Key, shape: tuple[int, ...], device: Device = None, first: int = 0) -> Tensor:
    """float32 in [0, 1)."""
    upper = random_bits(key, shape, device, first) >> 32 - UNIFORM_BITS
    return upper.to(torch.float32) * 2.0**-UNIFORM_BITS


def random_bernoulli(
    key: Key, shape: tuple[int, ...], probability: float, device: Device = None, first: int = 0
) -> Tensor:
    """True with this probability."""
    return random_mask(key, shape, rng.threshold(probability), device, first)


def random_normal(key: Key, shape: tuple[int, ...], device: Device = None, first: int = 0) -> Tensor:
    """float32 of mean 0 and variance 1."""
    centred = random_uniform(key, shape, device, first) * 2 + LOWEST
    return (torch.special.erfinv(centred.to(torch.float64)) * math.sqrt(2)).to(torch.float32)


def split(key: Key, number: int) -> list[Key]:
    """This many new keys from one."""
    return rng.split(key, number)


def fold_in(key: Key, number: int) -> Key:
    """A new key from a key and an integer below 2**32."""
    return rng.fold_in(key, number)


def _chunks(first: int, size: int) -> list[tuple[int, int]]:
    """(first element, size) of each chunk."""
    return [(start, min(CHUNK, first + size - start)) for start in range(first, first + size, CHUNK)]


def _stream(key: Key, first: int, size: int) -> Tensor:
    """Elements from `first` on of threefry-2x32 (see `shared/rng.py`) in int32, whose sums wrap as they should."""
    words = [_signed(word) for word in (key[0], key[1], key[0] ^ key[1] ^ PARITY)]
    counters = torch.arange(size, dtype=torch.int64).add_(first)
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


def _from_kernel(key: Key, shape: tuple[int, ...], device: Device, first: int, threshold: int | None = None) -> Tensor:
    """The bits, or the mask of a threshold, on a GPU, where a hundred operations in a row would each take as long."""
    from shared.kernels.threefry import BLOCK, threefry_bits, threefry_mask

    drawn = torch.empty(shape, dtype=torch.int64 if threshold is None else torch.bool, device=device)
    grid = (-(-drawn.numel() // BLOCK),)
    with torch.cuda.device(drawn.device):  # Triton launches on the current device
        if threshold is None:
            threefry_bits[grid](drawn, drawn.numel(), *key, first, BLOCK=BLOCK)
        else:
            threefry_mask[grid](drawn, drawn.numel(), *key, first, threshold, BLOCK=BLOCK)
    return drawn
