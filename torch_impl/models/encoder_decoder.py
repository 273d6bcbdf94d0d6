"""GRU encoder, with or without a decoder, that summarises token ids in one vector.
Twin: jax_impl/models/encoder_decoder.py.
"""

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from torch_impl.layers.decoder import DecoderAttn
from torch_impl.layers.encoder import Encoder


class EncoderDecoder(nn.Module):
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
    ):
        super().__init__()
        sizes = (vocabulary_size, embedding_size, hidden_size, num_layers, dropout)
        self.encoder = Encoder(*sizes, implementation)
        self.decoder = None if encoder_only else DecoderAttn(*sizes, with_attention, implementation)

    def forward(
        self,
        inputs: Int[Tensor, "B T"],
        mask: Shaped[Tensor, "B T"] | None = None,
        lengths: Int[Tensor, "B"] | None = None,
    ) -> tuple[Float[Tensor, "B H"], Float[Tensor, "L B H"]]:
        x, hidden_states = self.encoder(inputs, None, lengths)
        if self.decoder is not None:
            x, hidden_states = self.decoder(x, hidden_states, mask, lengths)
        return x[:, 0].contiguous(), hidden_states  # of a view, torch.compile would make the whole
