"""Random numbers from a key and a shape, the same bits in both frameworks. Twin: torch_impl/random_bits.py.

Each draws the elements of a stream (see shared/rng.py) from `first` on; element i depends on (key, i) alone.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.random import threefry_2x32

from jax_impl.triton_call import capability, triton_call
from shared import rng
from shared.rng import LOWEST, UNIFORM_BITS, Key

Device = jax.Device | None


def random_bits(key: Array | Key, shape: tuple[int, ...], device: Device = None, first: int = 0) -> Array:
    """Unsigned 32-bit numbers; `key` is two uint32."""
    rng.check_range(first, math.prod(shape))
    with jax.threefry_partitionable(True):  # the default; the older layout has another stream for every size
        bits = jax.random.bits(_typed(key), shape, jnp.uint32) if first == 0 else _bits_from(key, shape, first)
    return bits if device is None else jax.device_put(bits, device)


def random_mask(
    key: Array | Key, shape: tuple[int, ...], threshold: int, device: Device = None, first: int = 0
) -> Array:
    """True where the upper 23 of the random bits are below `threshold`, that is with probability threshold / 2**23."""
    rng.check_range(first, math.prod(shape))
    compared = functools.partial(_compared, shape=shape, threshold=threshold, first=first)
    if capability() is None or math.prod(shape) == 0:
        mask = compared(jnp.asarray(key, jnp.uint32))
    else:
        kernel = functools.partial(_mask_of_kernel, shape=shape, threshold=threshold, first=first)
        mask = jax.lax.platform_dependent(jnp.asarray(key, jnp.uint32), cuda=kernel, default=compared)
    return mask if device is None else jax.device_put(mask, device)


def random_uniform(key: Array | Key, shape: tuple[int, ...], device: Device = None, first: int = 0) -> Array:
    """float32 in [0, 1)."""
    upper = random_bits(key, shape, device, first) >> 32 - UNIFORM_BITS
    return upper.astype(jnp.float32) * 2.0**-UNIFORM_BITS


def random_bernoulli(
    key: Array | Key, shape: tuple[int, ...], probability: float, device: Device = None, first: int = 0
) -> Array:
    """True with this probability."""
    return random_mask(key, shape, rng.threshold(probability), device, first)


def random_normal(key: Array | Key, shape: tuple[int, ...], device: Device = None, first: int = 0) -> Array:
    """float32 of mean 0 and variance 1."""
    centred = random_uniform(key, shape, device, first) * 2 + LOWEST
    with jax.enable_x64(True):
        return (jax.lax.erf_inv(centred.astype(jnp.float64)) * math.sqrt(2)).astype(jnp.float32)


def split(key: Array | Key, number: int) -> Array:
    """This many new keys from one: (number, 2) uint32."""
    with jax.threefry_partitionable(True):
        return jax.random.key_data(jax.random.split(_typed(key), number))


def fold_in(key: Array | Key, number: int | Array) -> Array:
    """A new key from a key and an integer below 2**32."""
    return jax.random.key_data(jax.random.fold_in(_typed(key), number))


def _compared(key: Array, shape: tuple[int, ...], threshold: int, first: int) -> Array:
    """The barrier keeps XLA from drawing and compiling the bits again wherever the mask is read."""
    return jax.lax.optimization_barrier((random_bits(key, shape, first=first) >> 32 - UNIFORM_BITS) < threshold)


def _mask_of_kernel(key: Array, shape: tuple[int, ...], threshold: int, first: int) -> Array:
    """The mask on a GPU by the kernel that PyTorch uses, which is compiled once for all shapes."""
    from shared.kernels.threefry import BLOCK, threefry_mask

    size = math.prod(shape)  # of a result in the mask's own shape: reshaped, its layout would be anyone's, and copied
    numbers = [np.int64(size), np.int64(first), np.uint32(threshold)]
    programs, result = -(-size // BLOCK), jax.ShapeDtypeStruct(shape, bool)
    constants, options = {"BLOCK": BLOCK}, {"num_warps": 4}
    (mask,) = triton_call(threefry_mask, [key], [result], numbers, constants, options, programs=programs)
    return mask


def _typed(key: Array | Key) -> Array:
    return jax.random.wrap_key_data(jnp.asarray(key, jnp.uint32), impl="threefry2x32")


def _bits_from(key: Array | Key, shape: tuple[int, ...], first: int) -> Array:
    """`jax.random.bits` has no offset: threefry of our own counters, all upper words before all lower words."""
    size = math.prod(shape)
    with jax.enable_x64(True):
        positions = jax.lax.iota(jnp.uint64, size) + jnp.uint64(first)
        counters = jnp.concatenate([positions >> 32, positions]).astype(jnp.uint32)
    words = threefry_2x32(jnp.asarray(key, jnp.uint32), counters)
    return (words[:size] ^ words[size:]).reshape(shape)
