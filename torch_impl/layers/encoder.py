"""Bidirectional GRU encoder of token ids. Twin: jax_impl/layers/encoder.py."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from torch_impl.dropout import Dropout
from torch_impl.layers.embedding import Embedding
from torch_impl.layers.gru import BidirectionalGRU


class Encoder(nn.Module):
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
    ):
        super().__init__()
        self.embedding = Embedding(vocabulary_size, embedding_size, padding_idx=0)
        self.dropout = Dropout(dropout)
        self.rnn = BidirectionalGRU(embedding_size, hidden_size, num_layers, implementation)

    def forward(
        self,
        inputs: Int[Tensor, "B T"],
        hidden_states: Float[Tensor, "L2 B H"] | None = None,
        lengths: Int[Tensor, "B"] | None = None,
    ) -> tuple[Float[Tensor, "B T H"], Float[Tensor, "L B H"]]:
        x, h = self.rnn(self.dropout(self.embedding(inputs)), hidden_states, lengths)
        ahead, back = x.chunk(2, dim=-1)
        return ahead + back, h[0::2] + h[1::2]  # states are ordered by layer, forward then backward
