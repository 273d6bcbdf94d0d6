"""Bidirectional GRU encoder of token ids. Twin: torch_impl/layers/encoder.py."""

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float, Int

from jax_impl.dropout import Dropout
from jax_impl.layers.embedding import Embedding
from jax_impl.layers.gru import BidirectionalGRU


class Encoder(nnx.Module):
    """Embed ids (B, T), read them both ways from h0 (2L, B, H), sum the directions: x (B, T, H), h (L, B, H).

    Padding (id 0) is read like any token unless `lengths` (B,) asks for packed semantics.
    """

    def __init__(
        self,
        vocabulary_size: int = 30522,
        embedding_size: int = 256,
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
        implementation: str = "fused",
        *,
        rngs: nnx.Rngs,
    ):
        self.embedding = Embedding(vocabulary_size, embedding_size, padding_idx=0, rngs=rngs)
        self.dropout = Dropout(dropout, rngs=rngs)
        self.rnn = BidirectionalGRU(embedding_size, hidden_size, num_layers, implementation, rngs=rngs)

    def __call__(
        self,
        inputs: Int[Array, "B T"],
        hidden_states: Float[Array, "L2 B H"] | None = None,
        lengths: Int[Array, "B"] | None = None,
    ) -> tuple[Float[Array, "B T H"], Float[Array, "L B H"]]:
        x, h = self.rnn(self.dropout(self.embedding(inputs)), hidden_states, lengths)
        ahead, back = jnp.split(x, 2, axis=-1)
        return ahead + back, h[0::2] + h[1::2]  # states are ordered by layer, forward then backward
