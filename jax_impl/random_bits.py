"""Uniform 32-bit numbers from a key and a shape, the same bits in both frameworks. Twin: torch_impl/random_bits.py."""

import jax
import jax.numpy as jnp
from jax import Array

from shared.rng import UNIFORM_BITS


def random_bits(key: Array, shape: tuple[int, ...], device: jax.Device | None = None) -> Array:
    """Unsigned 32-bit numbers of the given shape; `key` is two uint32; element i depends on (key, i) alone."""
    bits = jax.random.bits(jax.random.wrap_key_data(key, impl="threefry2x32"), shape, jnp.uint32)
    return bits if device is None else jax.device_put(bits, device)


def random_mask(key: Array, shape: tuple[int, ...], threshold: int, device: jax.Device | None = None) -> Array:
    """True where the upper 23 of the random bits are below `threshold`, that is with probability threshold / 2**23."""
    return (random_bits(key, shape, device) >> 32 - UNIFORM_BITS) < threshold
