"""Attention of queries over other positions, one head: additive, scaled dot product, and causal.
Twin: torch_impl/layers/cross_attention.py.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float, Shaped

from jax_impl.layers import attention
from jax_impl.layers.linear import Linear


class AdditiveAttention(nnx.Module):
    """query (B, H), keys and values (B, S, H), mask (B, S) -> context (B, 1, H), weights (B, S, 1).

    score = V(ReLU(W[query; key])), softmax over the S keys whose mask is not 0 (Bahdanau et al. 2015 has tanh).
    """

    def __init__(self, hidden_size: int, *, rngs: nnx.Rngs):
        self.W = Linear(2 * hidden_size, hidden_size, rngs=rngs)
        self.V = Linear(hidden_size, 1, rngs=rngs)

    def __call__(
        self,
        queries: Float[Array, "B H"],
        keys: Float[Array, "B S H"],
        values: Float[Array, "B S H"],
        mask: Shaped[Array, "B S"] | None = None,
    ) -> tuple[Float[Array, "B 1 H"], Float[Array, "B S 1"]]:
        spread = jnp.broadcast_to(queries[:, None], keys.shape)
        scores = self.V(jax.nn.relu(self.W(jnp.concatenate([spread, keys], axis=-1))))
        weights = attention.masked_softmax(scores, None if mask is None else mask[..., None], axis=1)
        return jnp.einsum("bsk,bsh->bkh", weights, values), weights


class ScaledDotAttention(nnx.Module):
    """queries (B, H) or (B, K, H), keys and values (B, S, H), mask (B, S) -> context (B, K, H), weights (B, K, S).

    softmax(Q K^T / sqrt H) V over the keys whose mask is not 0, of projected queries, keys and values.
    """

    def __init__(self, hidden_size: int, *, rngs: nnx.Rngs):
        self.q_proj = Linear(hidden_size, hidden_size, rngs=rngs)
        self.k_proj = Linear(hidden_size, hidden_size, rngs=rngs)
        self.v_proj = Linear(hidden_size, hidden_size, rngs=rngs)

    def __call__(
        self,
        queries: Float[Array, "B H"] | Float[Array, "B K H"],
        keys: Float[Array, "B S H"],
        values: Float[Array, "B S H"],
        mask: Shaped[Array, "B S"] | None = None,
    ) -> tuple[Float[Array, "B K H"], Float[Array, "B K S"]]:
        queries = queries if queries.ndim == 3 else queries[:, None]
        scores = attention.pairwise_similarities(self.q_proj(queries), self.k_proj(keys))
        scores = attention.attn_scaled(scores, keys.shape[-1], 1)
        weights = attention.masked_softmax(scores, None if mask is None else mask[:, None], axis=-1)
        return attention.compute_outputs(weights, self.v_proj(values)), weights


class CausalScaledDotAttention(nnx.Module):
    """As ScaledDotAttention, query k seeing keys 0 to k: (B, K, H), (B, S, H) twice -> (B, K, H), weights (B, K, S)."""

    def __init__(self, hidden_size: int, *, rngs: nnx.Rngs):
        self.q_proj = Linear(hidden_size, hidden_size, rngs=rngs)
        self.k_proj = Linear(hidden_size, hidden_size, rngs=rngs)
        self.v_proj = Linear(hidden_size, hidden_size, rngs=rngs)

    def __call__(
        self, queries: Float[Array, "B K H"], keys: Float[Array, "B S H"], values: Float[Array, "B S H"]
    ) -> tuple[Float[Array, "B K H"], Float[Array, "B K S"]]:
        places = jnp.arange(keys.shape[1])
        visible = places <= jnp.arange(queries.shape[1])[:, None]
        scores = attention.pairwise_similarities(self.q_proj(queries), self.k_proj(keys))
        scores = attention.attn_scaled(scores, keys.shape[-1], 1)
        weights = attention.masked_softmax(scores, visible, axis=-1)
        return attention.compute_outputs(weights, self.v_proj(values)), weights
