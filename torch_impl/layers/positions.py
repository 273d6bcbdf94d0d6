"""Position vectors added to a sequence. Twin: jax_impl/layers/positions.py."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LearnedPositions(nn.Module):
    """Add a learned vector to each position: x (B, T, E) -> (B, T, E), T <= sequence_length; drawn from N(0, 1)."""

    def __init__(self, sequence_length: int, embed_dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, sequence_length, embed_dim))

    def forward(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        return x + self.weight[:, : x.shape[1]]
