"""Transformer blocks: self-attention and an MLP, normalised before or after.
Twin: torch_impl/layers/attention_blocks.py.
"""

import jax
from flax import nnx
from jax import Array
from jaxtyping import Float, Shaped

from jax_impl.dropout import Dropout
from jax_impl.layers.layer_norm import LayerNorm
from jax_impl.layers.linear import Linear
from jax_impl.layers.multi_headed_attention import MultiHeadedAttention


class MLP(nnx.Module):
    """Linear, exact GELU, dropout, Linear, dropout: x (B, T, E) -> (B, T, E) through `hidden_dim`."""

    def __init__(self, embed_dim: int, hidden_dim: int, dropout: float = 0.0, *, rngs: nnx.Rngs):
        self.in_proj = Linear(embed_dim, hidden_dim, rngs=rngs)
        self.in_dropout = Dropout(dropout, rngs=rngs)
        self.out_proj = Linear(hidden_dim, embed_dim, rngs=rngs)
        self.out_dropout = Dropout(dropout, rngs=rngs)

    def __call__(self, x: Float[Array, "B T E"]) -> Float[Array, "B T E"]:
        hidden = self.in_dropout(jax.nn.gelu(self.in_proj(x), approximate=False))
        return self.out_dropout(self.out_proj(hidden))


class PreNormAttentionBlock(nnx.Module):
    """y = x + attention(norm(x)), y + mlp(norm(y)): x (B, T, E), mask (B, T) -> (B, T, E) (Xiong et al. 2020)."""

    def __init__(self, embed_dim: int, hidden_dim: int, num_heads: int, dropout: float = 0.0, *, rngs: nnx.Rngs):
        self.attention_norm = LayerNorm(embed_dim, rngs=rngs)
        self.attention = MultiHeadedAttention(embed_dim // num_heads, num_heads, rngs=rngs)
        self.mlp_norm = LayerNorm(embed_dim, rngs=rngs)
        self.mlp = MLP(embed_dim, hidden_dim, dropout, rngs=rngs)

    def __call__(self, x: Float[Array, "B T E"], mask: Shaped[Array, "..."] | None = None) -> Float[Array, "B T E"]:
        x = x + self.attention(self.attention_norm(x), mask)
        return x + self.mlp(self.mlp_norm(x))


class PostNormAttentionBlock(nnx.Module):
    """y = norm(x + attention(x)), norm(y + mlp(y)): x (B, T, E), mask (B, T) -> (B, T, E) (Vaswani et al. 2017)."""

    def __init__(self, embed_dim: int, hidden_dim: int, num_heads: int, dropout: float = 0.0, *, rngs: nnx.Rngs):
        self.attention_norm = LayerNorm(embed_dim, rngs=rngs)
        self.attention = MultiHeadedAttention(embed_dim // num_heads, num_heads, rngs=rngs)
        self.mlp_norm = LayerNorm(embed_dim, rngs=rngs)
        self.mlp = MLP(embed_dim, hidden_dim, dropout, rngs=rngs)

    def __call__(self, x: Float[Array, "B T E"], mask: Shaped[Array, "..."] | None = None) -> Float[Array, "B T E"]:
        x = self.attention_norm(x + self.attention(x, mask))
        return self.mlp_norm(x + self.mlp(x))
