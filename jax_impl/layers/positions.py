"""Position vectors added to a sequence. Twin: torch_impl/layers/positions.py."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float


class LearnedPositions(nnx.Module):
    """Add a learned vector to each position: x (B, T, E) -> (B, T, E), T <= sequence_length; drawn from N(0, 1)."""

    def __init__(self, sequence_length: int, embed_dim: int, *, rngs: nnx.Rngs):
        self.weight = nnx.Param(jax.random.normal(rngs.params(), (1, sequence_length, embed_dim), jnp.float32))

    def __call__(self, x: Float[Array, "B T E"]) -> Float[Array, "B T E"]:
        return x + self.weight[:, : x.shape[1]]
