"""Two-class classifiers of reviews. Twin: torch_impl/models/review_classifiers.py."""

from flax import nnx
from jax import Array
from jaxtyping import Float, Int, Shaped

from jax_impl.layers.linear import Linear
from jax_impl.models.encoder_decoder import EncoderDecoder
from jax_impl.models.transformer import Transformer


class ReviewClassifierGRU(nnx.Module):
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
        *,
        rngs: nnx.Rngs,
    ):
        sizes = (vocabulary_size, embedding_size, hidden_size, num_layers, dropout)
        self.encoder_decoder = EncoderDecoder(*sizes, encoder_only, with_attention, implementation, rngs=rngs)
        self.classifier = Linear(hidden_size, num_classes, rngs=rngs)

    def __call__(
        self,
        inputs: Int[Array, "B T"],
        mask: Shaped[Array, "B T"] | None = None,
        lengths: Int[Array, "B"] | None = None,
    ) -> Float[Array, "B C"]:
        pooled, _ = self.encoder_decoder(inputs, mask, lengths)
        return self.classifier(pooled)


class ReviewClassifierTransformer(nnx.Module):
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
        *,
        rngs: nnx.Rngs,
    ):
        sizes = (vocabulary_size, sequence_length, embed_dim, hidden_dim, num_heads, num_layers)
        self.transformer = Transformer(*sizes, block, dropout, rngs=rngs)
        self.classifier = Linear(embed_dim, num_classes, rngs=rngs)

    def __call__(self, inputs: Int[Array, "B T"], mask: Shaped[Array, "B T"] | None = None) -> Float[Array, "B C"]:
        return self.classifier(self.transformer(inputs, mask))
