"""GRU decoder with soft attention over the encoder's outputs. Twin: jax_impl/layers/decoder.py."""

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from torch_impl.dropout import Dropout
from torch_impl.layers.gru import GRU
from torch_impl.layers.soft_attention import Attn


class DecoderAttn(nn.Module):
    """Dropout, soft attention, one-way GRU from the encoder's state: (B, T, H), (L, B, H) -> the same shapes.

    The vocabulary and embedding sizes are the encoder's and unused here; `with_attention=False` skips the attention.
    """

    def __init__(
        self,
        vocabulary_size: int = 30522,
        embedding_size: int = 256,
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
        with_attention: bool = True,
        implementation: str = "fused",
    ):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.attention = Attn(hidden_size) if with_attention else None
        self.rnn = GRU(hidden_size, hidden_size, num_layers, implementation)

    def forward(
        self,
        inputs: Float[Tensor, "B T H"],
        hidden_states: Float[Tensor, "L B H"],
        mask: Shaped[Tensor, "B T"] | None = None,
        lengths: Int[Tensor, "B"] | None = None,
    ) -> tuple[Float[Tensor, "B T H"], Float[Tensor, "L B H"]]:
        x = self.dropout(inputs)
        if self.attention is not None:
            x, _ = self.attention(x, hidden_states, mask)
        return self.rnn(x, hidden_states, lengths)
