"""The first transformer: several heads, normalised after each sum, as `torch.nn.Transformer` has it.
Twin: jax_impl/models/attention_is_all_you_need.py.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from shared.configs.translation import TranslationConfig
from torch_impl.dropout import Dropout
from torch_impl.layers import attention
from torch_impl.layers.embedding import Embedding
from torch_impl.layers.layer_norm import LayerNorm
from torch_impl.layers.linear import Linear
from torch_impl.layers.multi_headed_attention import MultiHeadedAttention
from torch_impl.layers.positions import SinusoidalPositions


class _MemoryAttention(MultiHeadedAttention):
    """Queries of x (B, T, E) over keys and values of a memory (B, S, E), where the mask is not 0: (B, T, E), and the
    weights (B, m, T, S).
    """

    def forward(
        self, x: Float[Tensor, "B T E"], memory: Float[Tensor, "B S E"], mask: Shaped[Tensor, "..."]
    ) -> tuple[Float[Tensor, "B T E"], Float[Tensor, "B m T S"]]:
        queries = self.split_heads(self.q_proj(x))
        keys = self.split_heads(self.k_proj(memory))
        values = self.split_heads(self.v_proj(memory))
        weights = self.get_attention_weights(queries, keys, mask)
        return self.out_proj(self.merge_heads(attention.compute_outputs(weights, values))), weights


class PostNormFeedForward(nn.Module):
    """norm(x + Linear(ReLU(Linear(x)))): x (B, T, E) -> (B, T, E) through `hidden_dim`, dropout before the sum."""

    def __init__(self, embed_dim: int, hidden_dim: int, dropout: float = 0.0):
        super().__init__()
        self.in_proj = Linear(embed_dim, hidden_dim)
        self.out_proj = Linear(hidden_dim, embed_dim)
        self.dropout = Dropout(dropout)
        self.norm = LayerNorm(embed_dim)

    def forward(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        return self.norm(x + self.dropout(self.out_proj(F.relu(self.in_proj(x)))))


class PostNormEncoder(nn.Module):
    """Layers of self-attention and feed-forward, then a norm: x (B, S, E), mask (B, S) -> (B, S, E)."""

    def __init__(self, embed_dim: int, hidden_dim: int, num_heads: int, num_layers: int, dropout: float = 0.0):
        super().__init__()
        layers, sizes = range(num_layers), (embed_dim // num_heads, num_heads)
        self.self_attentions = nn.ModuleList([_MemoryAttention(*sizes) for _ in layers])
        self.dropouts = nn.ModuleList([Dropout(dropout) for _ in layers])
        self.norms = nn.ModuleList([LayerNorm(embed_dim) for _ in layers])
        self.feed_forwards = nn.ModuleList([PostNormFeedForward(embed_dim, hidden_dim, dropout) for _ in layers])
        self.last_norm = LayerNorm(embed_dim)

    def forward(self, x: Float[Tensor, "B S E"], source_mask: Bool[Tensor, "B S"]) -> Float[Tensor, "B S E"]:
        layers = zip(self.self_attentions, self.dropouts, self.norms, self.feed_forwards, strict=True)
        for heads, dropout, norm, feed_forward in layers:
            attended, _ = heads(x, x, source_mask)
            x = feed_forward(norm(x + dropout(attended)))
        return self.last_norm(x)


class PostNormDecoder(nn.Module):
    """Layers of causal self-attention, attention over the memory and feed-forward, then a norm.

    x (B, T, E), memory (B, S, E), mask (B, S) -> (B, T, E), the last layer's weights over the memory (B, m, T, S).
    """

    def __init__(self, embed_dim: int, hidden_dim: int, num_heads: int, num_layers: int, dropout: float = 0.0):
        super().__init__()
        layers, sizes = range(num_layers), (embed_dim // num_heads, num_heads)
        self.self_attentions = nn.ModuleList([_MemoryAttention(*sizes) for _ in layers])
        self.self_dropouts = nn.ModuleList([Dropout(dropout) for _ in layers])
        self.self_norms = nn.ModuleList([LayerNorm(embed_dim) for _ in layers])
        self.cross_attentions = nn.ModuleList([_MemoryAttention(*sizes) for _ in layers])
        self.cross_dropouts = nn.ModuleList([Dropout(dropout) for _ in layers])
        self.cross_norms = nn.ModuleList([LayerNorm(embed_dim) for _ in layers])
        self.feed_forwards = nn.ModuleList([PostNormFeedForward(embed_dim, hidden_dim, dropout) for _ in layers])
        self.last_norm = LayerNorm(embed_dim)

    def forward(
        self, x: Float[Tensor, "B T E"], memory: Float[Tensor, "B S E"], source_mask: Bool[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B T E"], Float[Tensor, "B m T S"]]:
        places = torch.arange(x.shape[1], device=x.device)
        visible = places <= places[:, None]
        for layer, feed_forward in enumerate(self.feed_forwards):
            seen, _ = self.self_attentions[layer](x, x, visible[None])
            x = self.self_norms[layer](x + self.self_dropouts[layer](seen))
            context, weights = self.cross_attentions[layer](x, memory, source_mask)
            x = self.cross_norms[layer](x + self.cross_dropouts[layer](context))
            x = feed_forward(x)
        return self.last_norm(x), weights


class PostNormTransformer(nn.Module):
    """An encoder and a decoder of vectors: source (B, S, E), target (B, T, E), mask (B, S) -> (B, T, E)."""

    def __init__(self, embed_dim: int, hidden_dim: int, num_heads: int, num_layers: int, dropout: float = 0.0):
        super().__init__()
        self.encoder = PostNormEncoder(embed_dim, hidden_dim, num_heads, num_layers, dropout)
        self.decoder = PostNormDecoder(embed_dim, hidden_dim, num_heads, num_layers, dropout)

    def forward(
        self, source: Float[Tensor, "B S E"], target: Float[Tensor, "B T E"], source_mask: Bool[Tensor, "B S"]
    ) -> Float[Tensor, "B T E"]:
        outputs, _ = self.decoder(target, self.encoder(source, source_mask), source_mask)
        return outputs


class PositionedLetters(nn.Module):
    """Letters times sqrt(E), plus sinusoidal positions, dropout: ids (B, T) -> (B, T, E)."""

    def __init__(self, vocabulary_size: int, embed_dim: int, dropout: float = 0.0):
        super().__init__()
        self.characters = Embedding(vocabulary_size, embed_dim)
        nn.init.normal_(self.characters.weight, std=embed_dim**-0.5)  # so that letters don't drown their positions
        self.positions = SinusoidalPositions(embed_dim)
        self.dropout = Dropout(dropout)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
        vectors = self.characters(ids)
        return self.dropout(self.positions(vectors * math.sqrt(vectors.shape[-1])))


class MultiHeadedEncoder(nn.Module):
    """source ids (B, S), mask (B, S) -> annotations (B, S, E), and no state."""

    def __init__(self, config: TranslationConfig):
        super().__init__()
        self.letters = PositionedLetters(config.vocabulary_size, config.hidden_size, config.dropout)
        sizes = (config.hidden_size, config.feed_forward_dim, config.num_heads, config.num_layers, config.dropout)
        self.layers = PostNormEncoder(*sizes)

    def forward(
        self, source: Int[Tensor, "B S"], source_mask: Bool[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B S E"], None]:
        return self.layers(self.letters(source), source_mask), None


class MultiHeadedDecoder(nn.Module):
    """targets (B, T), annotations (B, S, E), mask (B, S) -> logits (B, T, V), the heads' mean weights (B, T, S)."""

    def __init__(self, config: TranslationConfig):
        super().__init__()
        self.letters = PositionedLetters(config.vocabulary_size, config.hidden_size, config.dropout)
        sizes = (config.hidden_size, config.feed_forward_dim, config.num_heads, config.num_layers, config.dropout)
        self.layers = PostNormDecoder(*sizes)
        self.out = Linear(config.hidden_size, config.vocabulary_size)

    def forward(
        self,
        targets: Int[Tensor, "B T"],
        annotations: Float[Tensor, "B S E"],
        source_mask: Bool[Tensor, "B S"],
        hidden: None = None,
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, "B T S"]]:
        x, weights = self.layers(self.letters(targets), annotations, source_mask)
        return self.out(x), weights.sum(1) / weights.shape[1]
