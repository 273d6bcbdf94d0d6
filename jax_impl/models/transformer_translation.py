"""Transformer encoder and decoders of words, one head, without normalisation.
Twin: torch_impl/models/transformer_translation.py.
"""

import jax
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int

from jax_impl.layers.cross_attention import CausalScaledDotAttention, ScaledDotAttention
from jax_impl.layers.embedding import Embedding
from jax_impl.layers.linear import Linear
from jax_impl.layers.positions import SinusoidalPositions
from shared.configs.translation import TranslationConfig


class TransformerEncoder(nnx.Module):
    """source ids (B, S), mask (B, S) -> annotations (B, S, H), and no state.

    Sinusoidal positions; in each layer a = x + attention(x), x = a + ReLU(Linear(a)).
    """

    def __init__(self, vocabulary_size: int, hidden_size: int, num_layers: int, *, rngs: nnx.Rngs):
        self.characters = Embedding(vocabulary_size, hidden_size, rngs=rngs)
        self.positions = SinusoidalPositions(hidden_size, rngs=rngs)
        self.attentions = nnx.List([ScaledDotAttention(hidden_size, rngs=rngs) for _ in range(num_layers)])
        self.feed_forwards = nnx.List([Linear(hidden_size, hidden_size, rngs=rngs) for _ in range(num_layers)])

    def __call__(
        self, source: Int[Array, "B S"], source_mask: Bool[Array, "B S"]
    ) -> tuple[Float[Array, "B S H"], None]:
        x = self.positions(self.characters(source))
        for attention, feed_forward in zip(self.attentions, self.feed_forwards, strict=True):
            attended, _ = attention(x, x, x, source_mask)
            x = x + attended
            x = x + jax.nn.relu(feed_forward(x))
        return x, None


class TransformerDecoder(nnx.Module):
    """targets (B, T), annotations (B, S, H), mask (B, S) -> logits (B, T, V), the last layer's weights (B, T, S).

    In each layer causal attention over the targets, attention over the annotations and a feed-forward layer are added
    in turn. There is no state.
    """

    def __init__(self, vocabulary_size: int, hidden_size: int, num_layers: int, *, rngs: nnx.Rngs):
        self.characters = Embedding(vocabulary_size, hidden_size, rngs=rngs)
        self.positions = SinusoidalPositions(hidden_size, rngs=rngs)
        self.self_attentions = nnx.List([CausalScaledDotAttention(hidden_size, rngs=rngs) for _ in range(num_layers)])
        self.encoder_attentions = nnx.List([ScaledDotAttention(hidden_size, rngs=rngs) for _ in range(num_layers)])
        self.feed_forwards = nnx.List([Linear(hidden_size, hidden_size, rngs=rngs) for _ in range(num_layers)])
        self.out = Linear(hidden_size, vocabulary_size, rngs=rngs)

    def __call__(
        self,
        targets: Int[Array, "B T"],
        annotations: Float[Array, "B S H"],
        source_mask: Bool[Array, "B S"],
        hidden: None = None,
    ) -> tuple[Float[Array, "B T V"], Float[Array, "B T S"]]:
        x = self.positions(self.characters(targets))
        layers = zip(self.self_attentions, self.encoder_attentions, self.feed_forwards, strict=True)
        for self_attention, encoder_attention, feed_forward in layers:
            seen, _ = self_attention(x, x, x)
            x = x + seen
            context, weights = encoder_attention(x, annotations, annotations, source_mask)
            x = x + context
            x = x + jax.nn.relu(feed_forward(x))
        return self.out(x), weights


class DecoderOnlyTranslator(nnx.Module):
    """ids (B, T) of a start, a source, its end, and a target -> logits of the next letters (B, T, V).

    In each layer a = x + causal attention(x), x = a + ReLU(Linear(a)).
    """

    def __init__(self, config: TranslationConfig, *, rngs: nnx.Rngs):
        self.config = config
        width = config.hidden_size
        self.characters = Embedding(config.vocabulary_size, width, rngs=rngs)
        self.positions = SinusoidalPositions(width, rngs=rngs)
        self.self_attentions = nnx.List([CausalScaledDotAttention(width, rngs=rngs) for _ in range(config.num_layers)])
        self.feed_forwards = nnx.List([Linear(width, width, rngs=rngs) for _ in range(config.num_layers)])
        self.out = Linear(width, config.vocabulary_size, rngs=rngs)

    def __call__(self, ids: Int[Array, "B T"]) -> Float[Array, "B T V"]:
        x = self.positions(self.characters(ids))
        for causal_attention, linear in zip(self.self_attentions, self.feed_forwards, strict=True):
            past, _ = causal_attention(x, x, x)
            x = x + past
            x = x + jax.nn.relu(linear(x))
        return self.out(x)

    def empty_cache(self, batch_size: int, size: int) -> list[Float[Array, "..."]]:
        """Nothing: `generate` reads every letter at each step."""
        return []

    def advance(
        self, inputs: Int[Array, "B T"], positions: Int[Array, "B T"], cache: list[Float[Array, "..."]]
    ) -> tuple[Float[Array, "B T V"], list[Float[Array, "..."]]]:
        """The logits of letters from position 0 on, for `generate`."""
        return self(inputs), cache

    def logits(self, x: Float[Array, "*B V"]) -> Float[Array, "*B V"]:
        """What `advance` gives."""
        return x
