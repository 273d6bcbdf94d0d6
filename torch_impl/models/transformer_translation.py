"""Transformer encoder and decoders of words, one head, without normalisation.
Twin: jax_impl/models/transformer_translation.py.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.configs.translation import TranslationConfig
from torch_impl.layers.cross_attention import CausalScaledDotAttention, ScaledDotAttention
from torch_impl.layers.embedding import Embedding
from torch_impl.layers.linear import Linear
from torch_impl.layers.positions import SinusoidalPositions


class TransformerEncoder(nn.Module):
    """source ids (B, S), mask (B, S) -> annotations (B, S, H), and no state.

    Sinusoidal positions; in each layer a = x + attention(x), x = a + ReLU(Linear(a)).
    """

    def __init__(self, vocabulary_size: int, hidden_size: int, num_layers: int):
        super().__init__()
        self.characters = Embedding(vocabulary_size, hidden_size)
        self.positions = SinusoidalPositions(hidden_size)
        self.attentions = nn.ModuleList([ScaledDotAttention(hidden_size) for _ in range(num_layers)])
        self.feed_forwards = nn.ModuleList([Linear(hidden_size, hidden_size) for _ in range(num_layers)])

    def forward(
        self, source: Int[Tensor, "B S"], source_mask: Bool[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B S H"], None]:
        x = self.positions(self.characters(source))
        for attention, feed_forward in zip(self.attentions, self.feed_forwards, strict=True):
            attended, _ = attention(x, x, x, source_mask)
            x = x + attended
            x = x + F.relu(feed_forward(x))
        return x, None


class TransformerDecoder(nn.Module):
    """targets (B, T), annotations (B, S, H), mask (B, S) -> logits (B, T, V), the last layer's weights (B, T, S).

    In each layer causal attention over the targets, attention over the annotations and a feed-forward layer are added
    in turn. There is no state.
    """

    def __init__(self, vocabulary_size: int, hidden_size: int, num_layers: int):
        super().__init__()
        self.characters = Embedding(vocabulary_size, hidden_size)
        self.positions = SinusoidalPositions(hidden_size)
        self.self_attentions = nn.ModuleList([CausalScaledDotAttention(hidden_size) for _ in range(num_layers)])
        self.encoder_attentions = nn.ModuleList([ScaledDotAttention(hidden_size) for _ in range(num_layers)])
        self.feed_forwards = nn.ModuleList([Linear(hidden_size, hidden_size) for _ in range(num_layers)])
        self.out = Linear(hidden_size, vocabulary_size)

    def forward(
        self,
        targets: Int[Tensor, "B T"],
        annotations: Float[Tensor, "B S H"],
        source_mask: Bool[Tensor, "B S"],
        hidden: None = None,
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, "B T S"]]:
        x = self.positions(self.characters(targets))
        layers = zip(self.self_attentions, self.encoder_attentions, self.feed_forwards, strict=True)
        for self_attention, encoder_attention, feed_forward in layers:
            seen, _ = self_attention(x, x, x)
            x = x + seen
            context, weights = encoder_attention(x, annotations, annotations, source_mask)
            x = x + context
            x = x + F.relu(feed_forward(x))
        return self.out(x), weights


class DecoderOnlyTranslator(nn.Module):
    """ids (B, T) of a start, a source, its end, and a target -> logits of the next letters (B, T, V).

    In each layer a = x + causal attention(x), x = a + ReLU(Linear(a)).
    """

    def __init__(self, config: TranslationConfig):
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.characters = Embedding(config.vocabulary_size, width)
        self.positions = SinusoidalPositions(width)
        self.self_attentions = nn.ModuleList([CausalScaledDotAttention(width) for _ in range(config.num_layers)])
        self.feed_forwards = nn.ModuleList([Linear(width, width) for _ in range(config.num_layers)])
        self.out = Linear(width, config.vocabulary_size)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        x = self.positions(self.characters(ids))
        for causal_attention, linear in zip(self.self_attentions, self.feed_forwards, strict=True):
            past, _ = causal_attention(x, x, x)
            x = x + past
            x = x + F.relu(linear(x))
        return self.out(x)

    def empty_cache(self, batch_size: int, size: int) -> list[Float[Tensor, "..."]]:
        """Nothing: `generate` reads every letter at each step."""
        return []

    def advance(
        self, inputs: Int[Tensor, "B T"], positions: Int[Tensor, "B T"], cache: list[Float[Tensor, "..."]]
    ) -> tuple[Float[Tensor, "B T V"], list[Float[Tensor, "..."]]]:
        """The logits of letters from position 0 on, for `generate`."""
        return self(inputs), cache

    def logits(self, x: Float[Tensor, "*B V"]) -> Float[Tensor, "*B V"]:
        """What `advance` gives."""
        return x
