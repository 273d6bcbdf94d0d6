"""Ablations of GPT-2's projections to queries, keys and values. Twin: jax_impl/layers/ablations/projections.py."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from torch_impl.layers.small_normal import NormalLinear
from torch_impl.precision import at_least_float32


def gelu(x: Float[Tensor, "*B E"]) -> Float[Tensor, "*B E"]:
    """GELU by tanh."""
    return F.gelu(at_least_float32(x), approximate="tanh").to(x.dtype)


class NonlinearProjection(nn.Module):
    """GELU of an affine map: x (..., in_features) -> (..., out_features)."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.in_proj = NormalLinear(in_features, out_features)

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        return gelu(self.in_proj(x))


class MLPProjection(nn.Module):
    """Two affine maps with a GELU between them: x (..., in_features) -> (..., out_features)."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.in_proj = NormalLinear(in_features, out_features)
        self.last_proj = NormalLinear(out_features, out_features)

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        return self.last_proj(gelu(self.in_proj(x)))
