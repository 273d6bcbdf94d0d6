"""Attention of queries over other positions, one head: additive, scaled dot product, and causal.
Twin: jax_impl/layers/cross_attention.py.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from torch_impl.layers import attention
from torch_impl.layers.linear import Linear


class AdditiveAttention(nn.Module):
    """query (B, H), keys and values (B, S, H), mask (B, S) -> context (B, 1, H), weights (B, S, 1).

    score = V(ReLU(W[query; key])), softmax over the S keys whose mask is not 0 (Bahdanau et al. 2015 has tanh).
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        self.W = Linear(2 * hidden_size, hidden_size)
        self.V = Linear(hidden_size, 1)

    def forward(
        self,
        queries: Float[Tensor, "B H"],
        keys: Float[Tensor, "B S H"],
        values: Float[Tensor, "B S H"],
        mask: Shaped[Tensor, "B S"] | None = None,
    ) -> tuple[Float[Tensor, "B 1 H"], Float[Tensor, "B S 1"]]:
        spread = queries[:, None].expand_as(keys)
        scores = self.V(F.relu(self.W(torch.cat([spread, keys], dim=-1))))
        weights = attention.masked_softmax(scores, None if mask is None else mask[..., None], axis=1)
        return torch.einsum("bsk,bsh->bkh", weights, values), weights


class ScaledDotAttention(nn.Module):
    """queries (B, H) or (B, K, H), keys and values (B, S, H), mask (B, S) -> context (B, K, H), weights (B, K, S).

    softmax(Q K^T / sqrt H) V over the keys whose mask is not 0, of projected queries, keys and values.
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        self.q_proj = Linear(hidden_size, hidden_size)
        self.k_proj = Linear(hidden_size, hidden_size)
        self.v_proj = Linear(hidden_size, hidden_size)

    def forward(
        self,
        queries: Float[Tensor, "B H"] | Float[Tensor, "B K H"],
        keys: Float[Tensor, "B S H"],
        values: Float[Tensor, "B S H"],
        mask: Shaped[Tensor, "B S"] | None = None,
    ) -> tuple[Float[Tensor, "B K H"], Float[Tensor, "B K S"]]:
        queries = queries if queries.ndim == 3 else queries[:, None]
        scores = attention.pairwise_similarities(self.q_proj(queries), self.k_proj(keys))
        scores = attention.attn_scaled(scores, keys.shape[-1], 1)
        weights = attention.masked_softmax(scores, None if mask is None else mask[:, None], axis=-1)
        return attention.compute_outputs(weights, self.v_proj(values)), weights


class CausalScaledDotAttention(nn.Module):
    """As ScaledDotAttention, query k seeing keys 0 to k: (B, K, H), (B, S, H) twice -> (B, K, H), weights (B, K, S)."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.q_proj = Linear(hidden_size, hidden_size)
        self.k_proj = Linear(hidden_size, hidden_size)
        self.v_proj = Linear(hidden_size, hidden_size)

    def forward(
        self, queries: Float[Tensor, "B K H"], keys: Float[Tensor, "B S H"], values: Float[Tensor, "B S H"]
    ) -> tuple[Float[Tensor, "B K H"], Float[Tensor, "B K S"]]:
        places = torch.arange(keys.shape[1], device=keys.device)
        visible = places <= torch.arange(queries.shape[1], device=keys.device)[:, None]
        scores = attention.pairwise_similarities(self.q_proj(queries), self.k_proj(keys))
        scores = attention.attn_scaled(scores, keys.shape[-1], 1)
        weights = attention.masked_softmax(scores, visible, axis=-1)
        return attention.compute_outputs(weights, self.v_proj(values)), weights
