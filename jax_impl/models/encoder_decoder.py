"""GRU encoder, with or without a decoder, that summarises token ids in one vector.
Twin: torch_impl/models/encoder_decoder.py.
"""

from flax import nnx
from jax import Array
from jaxtyping import Float, Int, Shaped

from jax_impl.layers.decoder import DecoderAttn
from jax_impl.layers.encoder import Encoder


class EncoderDecoder(nnx.Module):
    """Encode ids (B, T), decode unless `encoder_only`: (output at position 0 (B, H), hidden states (L, B, H))."""

    def __init__(
        self,
        vocabulary_size: int = 30522,
        embedding_size: int = 256,
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
        encoder_only: bool = False,
        with_attention: bool = True,
        implementation: str = "fused",
        *,
        rngs: nnx.Rngs,
    ):
        sizes = (vocabulary_size, embedding_size, hidden_size, num_layers, dropout)
        self.encoder = Encoder(*sizes, implementation, rngs=rngs)
        self.decoder = None if encoder_only else DecoderAttn(*sizes, with_attention, implementation, rngs=rngs)

    def __call__(
        self,
        inputs: Int[Array, "B T"],
        mask: Shaped[Array, "B T"] | None = None,
        lengths: Int[Array, "B"] | None = None,
    ) -> tuple[Float[Array, "B H"], Float[Array, "L B H"]]:
        x, hidden_states = self.encoder(inputs, None, lengths)
        if self.decoder is not None:
            x, hidden_states = self.decoder(x, hidden_states, mask, lengths)
        return x[:, 0], hidden_states
