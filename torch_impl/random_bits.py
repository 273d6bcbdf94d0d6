"""Random numbers from a key and a shape, the same bits in both frameworks. Twin: jax_impl/random_bits.py.

Each draws the elements of a stream (see shared/rng.py) from `first` on; element i depends on (key, i) alone.
"""

import math

import numpy as np
import torch
from torch import Tensor

from shared import rng
from shared.rng import LOWEST, UNIFORM_BITS, Key

Device = torch.device | str | None


def random_bits(key: Key, shape: tuple[int, ...], device: Device = None, first: int = 0) -> Tensor:
    """Unsigned 32-bit numbers, held in int64."""
    rng.check_range(first, math.prod(shape))
    if torch.device(device or "cpu").type == "cuda":
        return _from_kernel(key, shape, device, first)
    return torch.from_numpy(rng.random_bits(key, math.prod(shape), first).astype(np.int64)).reshape(shape)


def random_mask(key: Key, shape: tuple[int, ...], threshold: int, device: Device = None, first: int = 0) -> Tensor:
    """True where the upper 23 of the random bits are below `threshold`, that is with probability threshold / 2**23."""
    rng.check_range(first, math.prod(shape))
    if torch.device(device or "cpu").type == "cuda":
        return _from_kernel(key, shape, device, first, threshold)
    return torch.from_numpy(rng.random_mask(key, math.prod(shape), threshold, first)).reshape(shape)


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
    """Split a key into this many new keys."""
    return rng.split(key, number)


def fold_in(key: Key, number: int) -> Key:
    """A new key from a key and an integer below 2**32."""
    return rng.fold_in(key, number)


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
