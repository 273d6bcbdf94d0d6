"""Position vectors added to a sequence. Twin: jax_impl/layers/positions.py."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torch_impl.precision import at_least_float32


class LearnedPositions(nn.Module):
    """Add a learned vector to each position: x (B, T, E) -> (B, T, E), T <= sequence_length; drawn from N(0, 1)."""

    def __init__(self, sequence_length: int, embed_dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, sequence_length, embed_dim))

    def forward(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        return x + self.weight[:, : x.shape[1]]


class SinusoidalPositions(nn.Module):
    """Add sin(t / 10000^(2i/E)) to entry 2i of step t and its cosine to entry 2i + 1: x (B, T, E) -> (B, T, E).

    No parameters, and no longest sequence (Vaswani et al. 2017).
    """

    def __init__(self, embed_dim: int):
        super().__init__()
        self.embed_dim = embed_dim

    def forward(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        steps, width = x.shape[1], self.embed_dim
        wide = at_least_float32(x).dtype
        rates = torch.exp(torch.arange(0, width, 2, dtype=wide, device=x.device) * (-math.log(10000.0) / width))
        angles = torch.arange(steps, dtype=wide, device=x.device)[:, None] * rates
        waves = torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1).reshape(steps, -1)
        return x + waves[:, :width].to(x.dtype)
