"""Transformer encoder that summarises token ids in one vector. Twin: torch_impl/models/transformer.py."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float, Int, Shaped

from jax_impl.dropout import Dropout
from jax_impl.layers.attention_blocks import PostNormAttentionBlock, PreNormAttentionBlock
from jax_impl.layers.embedding import Embedding
from jax_impl.layers.layer_norm import LayerNorm
from jax_impl.layers.positions import LearnedPositions
from shared.configs.validation import check_choice, check_heads

BLOCKS = {"prenorm": PreNormAttentionBlock, "postnorm": PostNormAttentionBlock}


class Transformer(nnx.Module):
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
        *,
        rngs: nnx.Rngs,
    ):
        check_heads(embed_dim, num_heads)
        check_choice("block", block, BLOCKS)
        make_block = BLOCKS[block]
        self.embedding = Embedding(vocabulary_size, embed_dim, rngs=rngs)
        self.cls_token = nnx.Param(jax.random.normal(rngs.params(), (1, 1, embed_dim), jnp.float32))
        self.positions = LearnedPositions(sequence_length + 1, embed_dim, rngs=rngs)
        self.dropout = Dropout(dropout, rngs=rngs)
        self.blocks = nnx.List(
            [make_block(embed_dim, hidden_dim, num_heads, dropout, rngs=rngs) for _ in range(num_layers)]
        )
        self.norm = LayerNorm(embed_dim, rngs=rngs)

    def __call__(self, inputs: Int[Array, "B T"], mask: Shaped[Array, "B T"] | None = None) -> Float[Array, "B E"]:
        batch_size = inputs.shape[0]
        cls_token = jnp.broadcast_to(self.cls_token[...], (batch_size, *self.cls_token.shape[1:]))
        x = jnp.concatenate([cls_token, self.embedding(inputs)], axis=1)
        x = self.dropout(self.positions(x))
        if mask is not None:
            mask = jnp.concatenate([jnp.ones_like(mask[:, :1]), mask], axis=1)  # all positions see the CLS token
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x[:, 0])
