"""Random numbers from a key and a shape, the same bits in both frameworks. Twin: jax_impl/random_bits.py.

Each draws the elements of a stream (see shared/rng.py) from `first` on; element i depends on (key, i) alone.
"""

import math
from collections.abc import Sequence

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
        return _bits_of_kernel(torch.tensor(key, device=device), shape, first)
    return torch.from_numpy(rng.random_bits(key, math.prod(shape), first).astype(np.int64)).reshape(shape)


def random_mask(
    key: Key | Tensor, shape: tuple[int, ...], threshold: int, device: Device = None, first: int = 0
) -> Tensor:
    """True where the upper 23 of the random bits are below `threshold`, that is with probability threshold / 2**23.

    On a GPU the key may be a tensor there: two words in int64.
    """
    rng.check_range(first, math.prod(shape))
    if torch.device(device or "cpu").type == "cuda":
        return _mask_of_kernel(torch.as_tensor(key, device=device), shape, threshold, first)
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


@torch.library.custom_op("isograd::random_bits", mutates_args=())
def _bits_of_kernel(key: Tensor, shape: Sequence[int], first: int) -> Tensor:
    """The bits on a GPU, where a hundred operations in a row would each take as long."""
    from shared.kernels.threefry import BLOCK, threefry_bits

    bits = torch.empty(shape, dtype=torch.int64, device=key.device)
    with torch.cuda.device(key.device):  # Triton launches on the current device
        threefry_bits[-(-bits.numel() // BLOCK),](key, bits, bits.numel(), first, BLOCK=BLOCK)
    return bits


@torch.library.custom_op("isograd::random_mask", mutates_args=())
def _mask_of_kernel(key: Tensor, shape: Sequence[int], threshold: int, first: int) -> Tensor:
    """The mask on a GPU; an operation of its own, which a compiler of steps takes as it is."""
    from shared.kernels.threefry import BLOCK, threefry_mask

    mask = torch.empty(shape, dtype=torch.bool, device=key.device)
    with torch.cuda.device(key.device):
        threefry_mask[-(-mask.numel() // BLOCK),](key, mask, mask.numel(), first, threshold, BLOCK=BLOCK)
    return mask


@_mask_of_kernel.register_fake
def _(key: Tensor, shape: Sequence[int], threshold: int, first: int) -> Tensor:
    return torch.empty(shape, dtype=torch.bool, device=key.device)
