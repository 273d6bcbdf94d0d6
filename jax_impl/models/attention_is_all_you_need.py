"""The first transformer: several heads, normalised after each sum, as `torch.nn.Transformer` has it.
Twin: torch_impl/models/attention_is_all_you_need.py.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int, Shaped

from jax_impl.dropout import Dropout
from jax_impl.layers import attention
from jax_impl.layers.embedding import Embedding
from jax_impl.layers.layer_norm import LayerNorm
from jax_impl.layers.linear import Linear
from jax_impl.layers.multi_headed_attention import MultiHeadedAttention
from jax_impl.layers.positions import SinusoidalPositions
from shared.configs.translation import TranslationConfig


class _MemoryAttention(MultiHeadedAttention):
    """Queries of x (B, T, E) over keys and values of a memory (B, S, E), where the mask is not 0: (B, T, E), and the
    weights (B, m, T, S).
    """

    def __call__(
        self, x: Float[Array, "B T E"], memory: Float[Array, "B S E"], mask: Shaped[Array, "..."]
    ) -> tuple[Float[Array, "B T E"], Float[Array, "B m T S"]]:
        queries = self.split_heads(self.q_proj(x))
        keys = self.split_heads(self.k_proj(memory))
        values = self.split_heads(self.v_proj(memory))
        weights = self.get_attention_weights(queries, keys, mask)
        return self.out_proj(self.merge_heads(attention.compute_outputs(weights, values))), weights


class PostNormFeedForward(nnx.Module):
    """norm(x + Linear(ReLU(Linear(x)))): x (B, T, E) -> (B, T, E) through `hidden_dim`, dropout before the sum."""

    def __init__(self, embed_dim: int, hidden_dim: int, dropout: float = 0.0, *, rngs: nnx.Rngs):
        self.in_proj = Linear(embed_dim, hidden_dim, rngs=rngs)
        self.out_proj = Linear(hidden_dim, embed_dim, rngs=rngs)
        self.dropout = Dropout(dropout, rngs=rngs)
        self.norm = LayerNorm(embed_dim, rngs=rngs)

    def __call__(self, x: Float[Array, "B T E"]) -> Float[Array, "B T E"]:
        return self.norm(x + self.dropout(self.out_proj(jax.nn.relu(self.in_proj(x)))))


class PostNormEncoder(nnx.Module):
    """Layers of self-attention and feed-forward, then a norm: x (B, S, E), mask (B, S) -> (B, S, E)."""

    def __init__(
        self, embed_dim: int, hidden_dim: int, num_heads: int, num_layers: int, dropout: float = 0.0, *, rngs: nnx.Rngs
    ):
        layers, sizes = range(num_layers), (embed_dim // num_heads, num_heads)
        self.self_attentions = nnx.List([_MemoryAttention(*sizes, rngs=rngs) for _ in layers])
        self.dropouts = nnx.List([Dropout(dropout, rngs=rngs) for _ in layers])
        self.norms = nnx.List([LayerNorm(embed_dim, rngs=rngs) for _ in layers])
        self.feed_forwards = nnx.List([PostNormFeedForward(embed_dim, hidden_dim, dropout, rngs=rngs) for _ in layers])
        self.last_norm = LayerNorm(embed_dim, rngs=rngs)

    def __call__(self, x: Float[Array, "B S E"], source_mask: Bool[Array, "B S"]) -> Float[Array, "B S E"]:
        layers = zip(self.self_attentions, self.dropouts, self.norms, self.feed_forwards, strict=True)
        for heads, dropout, norm, feed_forward in layers:
            attended, _ = heads(x, x, source_mask)
            x = feed_forward(norm(x + dropout(attended)))
        return self.last_norm(x)


class PostNormDecoder(nnx.Module):
    """Layers of causal self-attention, attention over the memory and feed-forward, then a norm.

    x (B, T, E), memory (B, S, E), mask (B, S) -> (B, T, E), the last layer's weights over the memory (B, m, T, S).
    """

    def __init__(
        self, embed_dim: int, hidden_dim: int, num_heads: int, num_layers: int, dropout: float = 0.0, *, rngs: nnx.Rngs
    ):
        layers, sizes = range(num_layers), (embed_dim // num_heads, num_heads)
        self.self_attentions = nnx.List([_MemoryAttention(*sizes, rngs=rngs) for _ in layers])
        self.self_dropouts = nnx.List([Dropout(dropout, rngs=rngs) for _ in layers])
        self.self_norms = nnx.List([LayerNorm(embed_dim, rngs=rngs) for _ in layers])
        self.cross_attentions = nnx.List([_MemoryAttention(*sizes, rngs=rngs) for _ in layers])
        self.cross_dropouts = nnx.List([Dropout(dropout, rngs=rngs) for _ in layers])
        self.cross_norms = nnx.List([LayerNorm(embed_dim, rngs=rngs) for _ in layers])
        self.feed_forwards = nnx.List([PostNormFeedForward(embed_dim, hidden_dim, dropout, rngs=rngs) for _ in layers])
        self.last_norm = LayerNorm(embed_dim, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B T E"], memory: Float[Array, "B S E"], source_mask: Bool[Array, "B S"]
    ) -> tuple[Float[Array, "B T E"], Float[Array, "B m T S"]]:
        places = jnp.arange(x.shape[1])
        visible = places <= places[:, None]
        for layer, feed_forward in enumerate(self.feed_forwards):
            seen, _ = self.self_attentions[layer](x, x, visible[None])
            x = self.self_norms[layer](x + self.self_dropouts[layer](seen))
            context, weights = self.cross_attentions[layer](x, memory, source_mask)
            x = self.cross_norms[layer](x + self.cross_dropouts[layer](context))
            x = feed_forward(x)
        return self.last_norm(x), weights


class PostNormTransformer(nnx.Module):
    """An encoder and a decoder of vectors: source (B, S, E), target (B, T, E), mask (B, S) -> (B, T, E)."""

    def __init__(
        self, embed_dim: int, hidden_dim: int, num_heads: int, num_layers: int, dropout: float = 0.0, *, rngs: nnx.Rngs
    ):
        self.encoder = PostNormEncoder(embed_dim, hidden_dim, num_heads, num_layers, dropout, rngs=rngs)
        self.decoder = PostNormDecoder(embed_dim, hidden_dim, num_heads, num_layers, dropout, rngs=rngs)

    def __call__(
        self, source: Float[Array, "B S E"], target: Float[Array, "B T E"], source_mask: Bool[Array, "B S"]
    ) -> Float[Array, "B T E"]:
        outputs, _ = self.decoder(target, self.encoder(source, source_mask), source_mask)
        return outputs


class PositionedLetters(nnx.Module):
    """Letters times sqrt(E), plus sinusoidal positions, dropout: ids (B, T) -> (B, T, E)."""

    def __init__(self, vocabulary_size: int, embed_dim: int, dropout: float = 0.0, *, rngs: nnx.Rngs):
        self.characters = Embedding(vocabulary_size, embed_dim, rngs=rngs)
        self.characters.weight.set_value(embed_dim**-0.5 * self.characters.weight[...])
        self.positions = SinusoidalPositions(embed_dim, rngs=rngs)
        self.dropout = Dropout(dropout, rngs=rngs)

    def __call__(self, ids: Int[Array, "B T"]) -> Float[Array, "B T E"]:
        vectors = self.characters(ids)
        return self.dropout(self.positions(vectors * math.sqrt(vectors.shape[-1])))


class MultiHeadedEncoder(nnx.Module):
    """source ids (B, S), mask (B, S) -> annotations (B, S, E), and no state."""

    def __init__(self, config: TranslationConfig, *, rngs: nnx.Rngs):
        self.letters = PositionedLetters(config.vocabulary_size, config.hidden_size, config.dropout, rngs=rngs)
        sizes = (config.hidden_size, config.feed_forward_dim, config.num_heads, config.num_layers, config.dropout)
        self.layers = PostNormEncoder(*sizes, rngs=rngs)

    def __call__(
        self, source: Int[Array, "B S"], source_mask: Bool[Array, "B S"]
    ) -> tuple[Float[Array, "B S E"], None]:
        return self.layers(self.letters(source), source_mask), None


class MultiHeadedDecoder(nnx.Module):
    """targets (B, T), annotations (B, S, E), mask (B, S) -> logits (B, T, V), the heads' mean weights (B, T, S)."""

    def __init__(self, config: TranslationConfig, *, rngs: nnx.Rngs):
        self.letters = PositionedLetters(config.vocabulary_size, config.hidden_size, config.dropout, rngs=rngs)
        sizes = (config.hidden_size, config.feed_forward_dim, config.num_heads, config.num_layers, config.dropout)
        self.layers = PostNormDecoder(*sizes, rngs=rngs)
        self.out = Linear(config.hidden_size, config.vocabulary_size, rngs=rngs)

    def __call__(
        self,
        targets: Int[Array, "B T"],
        annotations: Float[Array, "B S E"],
        source_mask: Bool[Array, "B S"],
        hidden: None = None,
    ) -> tuple[Float[Array, "B T V"], Float[Array, "B T S"]]:
        x, weights = self.layers(self.letters(targets), annotations, source_mask)
        return self.out(x), weights.sum(1) / weights.shape[1]
