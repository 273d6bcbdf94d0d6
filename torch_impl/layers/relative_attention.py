"""Attention whose scores know how far apart two positions are. Twin: jax_impl/layers/relative_attention.py."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shared.configs.validation import check_length
from torch_impl.layers.attention import attn_scaled, compute_outputs, masked_softmax, pairwise_similarities
from torch_impl.layers.linear import Linear


class RelativeAttention(nn.Module):
    """softmax over j of Q_i K_j / sqrt(d) + p_(i-j), times V_j: x (B, T, E) -> (B, T, d), T <= sequence_length.

    `positions` holds p_(1-L) to p_(L-1), drawn from N(0, 1); where p is -inf nothing is attended, and a position that
    attends to nothing gives zeros.
    """

    def __init__(self, embed_dim: int, head_size: int, sequence_length: int):
        super().__init__()
        self.head_size = head_size
        self.sequence_length = sequence_length
        self.q_proj = Linear(embed_dim, head_size)
        self.k_proj = Linear(embed_dim, head_size)
        self.v_proj = Linear(embed_dim, head_size)
        self.positions = nn.Parameter(torch.randn(2 * sequence_length - 1))

    def position_scores(self, steps: int) -> Float[Tensor, "T T"]:
        """p_(i-j) for every query i and key j."""
        check_length(steps, self.sequence_length)
        i = torch.arange(steps, device=self.positions.device)
        return self.positions[i[:, None] - i + self.sequence_length - 1]

    def forward(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B T d"]:
        p = self.position_scores(x.shape[1])
        scores = attn_scaled(pairwise_similarities(self.q_proj(x), self.k_proj(x)), self.head_size, 1)
        weights = masked_softmax(scores + p, p > -math.inf, axis=-1)
        return compute_outputs(weights, self.v_proj(x))
