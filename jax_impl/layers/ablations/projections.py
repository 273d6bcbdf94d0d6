"""Ablations of GPT-2's projections to queries, keys and values. Twin: torch_impl/layers/ablations/projections.py."""

import jax
from flax import nnx
from jax import Array
from jaxtyping import Float

from jax_impl.layers.small_normal import NormalLinear
from jax_impl.precision import at_least_float32


def gelu(x: Float[Array, "*B E"]) -> Float[Array, "*B E"]:
    """GELU by tanh."""
    return jax.nn.gelu(at_least_float32(x), approximate=True).astype(x.dtype)


class NonlinearProjection(nnx.Module):
    """GELU of an affine map: x (..., in_features) -> (..., out_features)."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
        self.in_proj = NormalLinear(in_features, out_features, rngs=rngs)

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        return gelu(self.in_proj(x))


class MLPProjection(nnx.Module):
    """Two affine maps with a GELU between them: x (..., in_features) -> (..., out_features)."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
        self.in_proj = NormalLinear(in_features, out_features, rngs=rngs)
        self.last_proj = NormalLinear(out_features, out_features, rngs=rngs)

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        return self.last_proj(gelu(self.in_proj(x)))
