"""Transformer blocks: self-attention and an MLP, normalised before or after.
Twin: jax_impl/layers/attention_blocks.py.
"""

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from torch_impl.dropout import Dropout
from torch_impl.layers.layer_norm import LayerNorm
from torch_impl.layers.linear import Linear
from torch_impl.layers.multi_headed_attention import MultiHeadedAttention


class MLP(nn.Module):
    """Linear, exact GELU, dropout, Linear, dropout: x (B, T, E) -> (B, T, E) through `hidden_dim`."""

    def __init__(self, embed_dim: int, hidden_dim: int, dropout: float = 0.0):
        super().__init__()
        self.in_proj = Linear(embed_dim, hidden_dim)
        self.in_dropout = Dropout(dropout)
        self.out_proj = Linear(hidden_dim, embed_dim)
        self.out_dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        hidden = self.in_dropout(F.gelu(self.in_proj(x), approximate="none"))
        return self.out_dropout(self.out_proj(hidden))


class PreNormAttentionBlock(nn.Module):
    """y = x + attention(norm(x)), y + mlp(norm(y)): x (B, T, E), mask (B, T) -> (B, T, E) (Xiong et al. 2020)."""

    def __init__(self, embed_dim: int, hidden_dim: int, num_heads: int, dropout: float = 0.0):
        super().__init__()
        self.attention_norm = LayerNorm(embed_dim)
        self.attention = MultiHeadedAttention(embed_dim // num_heads, num_heads)
        self.mlp_norm = LayerNorm(embed_dim)
        self.mlp = MLP(embed_dim, hidden_dim, dropout)

    def forward(self, x: Float[Tensor, "B T E"], mask: Shaped[Tensor, "..."] | None = None) -> Float[Tensor, "B T E"]:
        x = x + self.attention(self.attention_norm(x), mask)
        return x + self.mlp(self.mlp_norm(x))


class PostNormAttentionBlock(nn.Module):
    """y = norm(x + attention(x)), norm(y + mlp(y)): x (B, T, E), mask (B, T) -> (B, T, E) (Vaswani et al. 2017)."""

    def __init__(self, embed_dim: int, hidden_dim: int, num_heads: int, dropout: float = 0.0):
        super().__init__()
        self.attention_norm = LayerNorm(embed_dim)
        self.attention = MultiHeadedAttention(embed_dim // num_heads, num_heads)
        self.mlp_norm = LayerNorm(embed_dim)
        self.mlp = MLP(embed_dim, hidden_dim, dropout)

    def forward(self, x: Float[Tensor, "B T E"], mask: Shaped[Tensor, "..."] | None = None) -> Float[Tensor, "B T E"]:
        x = self.attention_norm(x + self.attention(x, mask))
        return self.mlp_norm(x + self.mlp(x))
