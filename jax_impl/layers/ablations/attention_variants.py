"""Ablations of GPT-2's attention: other similarities, and other ways to tell positions.
Twin: torch_impl/layers/ablations/attention_variants.py.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from jax_impl.precision import at_least_float32
from shared.configs.gpt import DEVIATION

EPSILON = 1e-12  # added to a squared length, so that a vector of zeros has a gradient
LONGEST_PERIOD = 10_000.0  # of sinusoids, divided by 2 pi
AMPLITUDE = DEVIATION * 2**0.5  # of sinusoids: their mean square is that of learned positions at the start


def cosine_similarities(Q: Float[Array, "*B T d"], K: Float[Array, "*B S d"]) -> Float[Array, "*B T S"]:
    """The cosine of the angle between every query and every key."""
    q, k = unit_vectors(at_least_float32(Q)), unit_vectors(at_least_float32(K))
    return jnp.einsum("...td,...sd->...ts", q, k).astype(Q.dtype)


def unit_vectors(x: Float[Array, "*B d"]) -> Float[Array, "*B d"]:
    """Vectors of length 1 with the same directions."""
    return x / jnp.sqrt((x**2).sum(-1, keepdims=True) + EPSILON)


def negative_distances(Q: Float[Array, "*B T d"], K: Float[Array, "*B S d"]) -> Float[Array, "*B T S"]:
    """Minus the squared distance of every query from every key."""
    differences = at_least_float32(Q)[..., :, None, :] - at_least_float32(K)[..., None, :, :]
    return -(differences**2).sum(-1).astype(Q.dtype)


def additive_similarities(Q: Float[Array, "*B T d"], K: Float[Array, "*B S d"]) -> Float[Array, "*B T S"]:
    """The sum of tanh(q + k) for every query and every key (Bahdanau et al. 2015, with weights of 1)."""
    sums = at_least_float32(Q)[..., :, None, :] + at_least_float32(K)[..., None, :, :]
    return jnp.tanh(sums).sum(-1).astype(Q.dtype)


def add_sinusoids(x: Float[Array, "B T E"], positions: Int[Array, "C T"]) -> Float[Array, "B T E"]:
    """x plus a sin(p / 10000^(i / E)) in even places i and a times the cosine of the same angle in the next.

    Vaswani 2017 has a = 1, beside tokens of size 1; GPT-2's tokens, drawn from N(0, 0.02), would drown in that.
    """
    angles = angles_of(at_least_float32(x), positions)
    is_even = jnp.arange(x.shape[-1]) % 2 == 0
    return x + (AMPLITUDE * jnp.where(is_even, jnp.sin(angles), jnp.cos(angles))).astype(x.dtype)


def rotate(x: Float[Array, "B m T d"], positions: Int[Array, "C T"]) -> Float[Array, "B m T d"]:
    """Each pair (x_2i, x_2i+1) turned by the angle p / 10000^(2i / d) (rotary embedding, Su et al. 2021); d is even."""
    wide = at_least_float32(x)
    angles = angles_of(wide, positions)[:, None]
    even, odd = wide[..., 0::2], wide[..., 1::2]
    turned = jnp.stack((-odd, even), axis=-1).reshape(wide.shape)
    return (wide * jnp.cos(angles) + turned * jnp.sin(angles)).astype(x.dtype)


def leave(x: Float[Array, "*B d"], positions: Int[Array, "C T"]) -> Float[Array, "*B d"]:
    """x as it is, whatever its position."""
    return x


def angles_of(x: Float[Array, "*B T d"], positions: Int[Array, "C T"]) -> Float[Array, "C T d"]:
    """p / 10000^(i / d) for even i, and the same again for i + 1, in the dtype of x."""
    places = np.arange(x.shape[-1]) // 2 * 2
    rates = jnp.asarray(LONGEST_PERIOD ** (-places / x.shape[-1]), dtype=x.dtype)
    return positions[..., None].astype(x.dtype) * rates
