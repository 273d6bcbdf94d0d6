"""Transformer encoder that summarises token ids in one vector. Twin: jax_impl/models/transformer.py."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from shared.configs.validation import check_choice, check_heads
from torch_impl.dropout import Dropout
from torch_impl.layers.attention_blocks import PostNormAttentionBlock, PreNormAttentionBlock
from torch_impl.layers.embedding import Embedding
from torch_impl.layers.layer_norm import LayerNorm
from torch_impl.layers.positions import LearnedPositions

BLOCKS = {"prenorm": PreNormAttentionBlock, "postnorm": PostNormAttentionBlock}


class Transformer(nn.Module):
    """A learned CLS token, learned positions, blocks, a final norm on position 0: ids (B, T), mask (B, T) -> (B, E)."""

    def __init__(
        self,
        vocabulary_size: int = 30522,
        sequence_length: int = 256,
        embed_dim: int = 256,
        hidden_dim: int = 256,
        num_heads: int = 4,
        num_layers: int = 2,
        block: str = "prenorm",
        dropout: float = 0.3,
    ):
        check_heads(embed_dim, num_heads)
        check_choice("block", block, BLOCKS)
        make_block = BLOCKS[block]
        super().__init__()
        self.embedding = Embedding(vocabulary_size, embed_dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, embed_dim))
        self.positions = LearnedPositions(sequence_length + 1, embed_dim)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList([make_block(embed_dim, hidden_dim, num_heads, dropout) for _ in range(num_layers)])
        self.norm = LayerNorm(embed_dim)

    def forward(self, inputs: Int[Tensor, "B T"], mask: Shaped[Tensor, "B T"] | None = None) -> Float[Tensor, "B E"]:
        batch_size = inputs.shape[0]
        cls_token = self.cls_token.expand(batch_size, -1, -1)
        x = torch.cat([cls_token, self.embedding(inputs)], dim=1)
        x = self.dropout(self.positions(x))
        if mask is not None:
            mask = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)  # all positions see the CLS token
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x[:, 0])
