"""GRU decoder with soft attention over the encoder's outputs. Twin: torch_impl/layers/decoder.py."""

from flax import nnx
from jax import Array
from jaxtyping import Float, Int, Shaped

from jax_impl.dropout import Dropout
from jax_impl.layers.gru import GRU
from jax_impl.layers.soft_attention import Attn


class DecoderAttn(nnx.Module):
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
        *,
        rngs: nnx.Rngs,
    ):
        self.dropout = Dropout(dropout, rngs=rngs)
        self.attention = Attn(hidden_size, rngs=rngs) if with_attention else None
        self.rnn = GRU(hidden_size, hidden_size, num_layers, implementation, rngs=rngs)

    def __call__(
        self,
        inputs: Float[Array, "B T H"],
        hidden_states: Float[Array, "L B H"],
        mask: Shaped[Array, "B T"] | None = None,
        lengths: Int[Array, "B"] | None = None,
    ) -> tuple[Float[Array, "B T H"], Float[Array, "L B H"]]:
        x = self.dropout(inputs)
        if self.attention is not None:
            x, _ = self.attention(x, hidden_states, mask)
        return self.rnn(x, hidden_states, lengths)
