"""Two-class classifiers of reviews. Twin: jax_impl/models/review_classifiers.py."""

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from torch_impl.layers.linear import Linear
from torch_impl.models.encoder_decoder import EncoderDecoder
from torch_impl.models.transformer import Transformer


class ReviewClassifierGRU(nn.Module):
    """`EncoderDecoder`, then Linear(H, classes): ids (B, T), mask (B, T) -> logits (B, C).

    `lengths` (B,) gives packed semantics.
    """

    def __init__(
        self,
        vocabulary_size: int = 30522,
        embedding_size: int = 256,
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
        encoder_only: bool = False,
        with_attention: bool = True,
        num_classes: int = 2,
        implementation: str = "fused",
    ):
        super().__init__()
        sizes = (vocabulary_size, embedding_size, hidden_size, num_layers, dropout)
        self.encoder_decoder = EncoderDecoder(*sizes, encoder_only, with_attention, implementation)
        self.classifier = Linear(hidden_size, num_classes)

    def forward(
        self,
        inputs: Int[Tensor, "B T"],
        mask: Shaped[Tensor, "B T"] | None = None,
        lengths: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B C"]:
        pooled, _ = self.encoder_decoder(inputs, mask, lengths)
        return self.classifier(pooled)


class ReviewClassifierTransformer(nn.Module):
    """`Transformer`, then Linear(E, classes): ids (B, T), mask (B, T) -> logits (B, C)."""

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
        num_classes: int = 2,
    ):
        super().__init__()
        sizes = (vocabulary_size, sequence_length, embed_dim, hidden_dim, num_heads, num_layers)
        self.transformer = Transformer(*sizes, block, dropout)
        self.classifier = Linear(embed_dim, num_classes)

    def forward(self, inputs: Int[Tensor, "B T"], mask: Shaped[Tensor, "B T"] | None = None) -> Float[Tensor, "B C"]:
        return self.classifier(self.transformer(inputs, mask))
