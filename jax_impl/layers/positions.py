"""Position vectors added to a sequence. Twin: torch_impl/layers/positions.py."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from jax_impl.precision import at_least_float32


class LearnedPositions(nnx.Module):
    """Add a learned vector to each position: x (B, T, E) -> (B, T, E), T <= sequence_length; drawn from N(0, 1)."""

    def __init__(self, sequence_length: int, embed_dim: int, *, rngs: nnx.Rngs):
        self.weight = nnx.Param(jax.random.normal(rngs.params(), (1, sequence_length, embed_dim), jnp.float32))

    def __call__(self, x: Float[Array, "B T E"]) -> Float[Array, "B T E"]:
        return x + self.weight[:, : x.shape[1]]


class SinusoidalPositions(nnx.Module):
    """Add sin(t / 10000^(2i/E)) to entry 2i of step t and its cosine to entry 2i + 1: x (B, T, E) -> (B, T, E).

    No parameters, and no longest sequence (Vaswani et al. 2017).
    """

    def __init__(self, embed_dim: int, *, rngs: nnx.Rngs):
        self.embed_dim = embed_dim

    def __call__(self, x: Float[Array, "B T E"]) -> Float[Array, "B T E"]:
        steps, width = x.shape[1], self.embed_dim
        wide = at_least_float32(x).dtype
        rates = jnp.exp(jnp.arange(0, width, 2, dtype=wide) * (-math.log(10000.0) / width))
        angles = jnp.arange(steps, dtype=wide)[:, None] * rates
        waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(steps, -1)
        return x + waves[:, :width].astype(x.dtype)
