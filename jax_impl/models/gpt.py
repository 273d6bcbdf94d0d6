"""GPT: a decoder-only transformer that predicts the next token. Twin: torch_impl/models/gpt.py."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int

from jax_impl.dropout import Dropout
from jax_impl.layers import attention
from jax_impl.layers.ablations import attention_variants
from jax_impl.layers.ablations.linear_attention import AttentionFree, RandomFeatureAttention, SimpleAttentionFree
from jax_impl.layers.ablations.projections import MLPProjection, NonlinearProjection
from jax_impl.layers.layer_norm import LayerNorm
from jax_impl.layers.small_normal import NormalEmbedding, NormalLinear
from jax_impl.precision import at_least_float32
from shared.configs.gpt import SHARED, GPTConfig
from shared.configs.validation import check_choice, check_context

KeysAndValues = tuple[Float[Array, "B m S d"], Float[Array, "B m S d"]]
States = tuple[list[Float[Array, "B T E"]], list[Float[Array, "B m T T"]]]


def softmax_attention(scores: Float[Array, "B m T S"], visible: Bool[Array, "..."]) -> Float[Array, "B m T S"]:
    """Softmax over the visible keys."""
    return attention.masked_softmax(scores, visible, axis=-1)


def zeroed_attention(scores: Float[Array, "B m T S"], visible: Bool[Array, "..."]) -> Float[Array, "B m T S"]:
    """Softmax over all keys, then zeros at the hidden ones, which leak through the sum: an ablation."""
    return jnp.where(visible, attention.attn_softmax(scores), 0.0)


ATTENTIONS = {"softmax": softmax_attention, "zeroed": zeroed_attention}
WITHOUT_SCORES = {
    "attention_free": AttentionFree,
    "attention_free_simple": SimpleAttentionFree,
    "random_features": RandomFeatureAttention,
}
PROJECTIONS = {"linear": NormalLinear, "nonlinear": NonlinearProjection, "mlp": MLPProjection}
SIMILARITIES = {
    "dot": attention.pairwise_similarities,
    "cosine": attention_variants.cosine_similarities,
    "distance": attention_variants.negative_distances,
    "additive": attention_variants.additive_similarities,
}
ADDED = {"sinusoidal": attention_variants.add_sinusoids}  # positions that vectors carry, without a table of their own
TURNED = {"rotary": attention_variants.rotate}  # positions that queries and keys carry


def write_keys(
    cache: Float[Array, "B m S d"], positions: Int[Array, "B T"], fresh: Float[Array, "B m T d"]
) -> Float[Array, "B m S d"]:
    """The cache with the keys (or values) of new tokens at their positions."""
    rows = jnp.arange(len(cache))[:, None]
    return cache.at[rows, :, positions].set(fresh.swapaxes(1, 2))


class CausalSelfAttention(nnx.Module):
    """Self-attention of several heads, each query seeing its own key and those before: x (B, T, E) -> (B, T, E)."""

    def __init__(self, config: GPTConfig, *, rngs: nnx.Rngs):
        check_choice("attention", config.attention, (*ATTENTIONS, *WITHOUT_SCORES))
        check_choice("projection", config.projection, PROJECTIONS)
        check_choice("similarity", config.similarity, SIMILARITIES)
        self.num_heads = config.num_heads
        self.attention = config.attention
        self.similarity = config.similarity
        self.shared = config.shared
        self.positions = config.positions
        make = PROJECTIONS[config.projection]
        self.q_proj = make(config.embed_dim, config.embed_dim, rngs=rngs)
        names = SHARED[config.shared].values()
        self.k_proj = make(config.embed_dim, config.embed_dim, rngs=rngs) if "k_proj" in names else None
        self.v_proj = make(config.embed_dim, config.embed_dim, rngs=rngs) if "v_proj" in names else None
        summed = WITHOUT_SCORES.get(config.attention)
        self.summed = None if summed is None else summed(config, rngs=rngs)
        self.weights_dropout = Dropout(config.dropout, rngs=rngs)
        self.out_proj = NormalLinear(config.embed_dim, config.embed_dim, config.residual_deviation, rngs=rngs)
        self.out_dropout = Dropout(config.dropout, rngs=rngs)

    def __call__(self, x: Float[Array, "B T E"]) -> Float[Array, "B T E"]:
        positions = jnp.arange(x.shape[1])[None]
        return self.attend(x, self.keys_and_values(x, positions), positions)

    def project(self, name: str, x: Float[Array, "B T E"]) -> Float[Array, "B m T d"]:
        """The queries, keys or values ("q", "k", "v") of each head, by the projection that gives them."""
        return attention.split_heads(getattr(self, SHARED[self.shared][name])(x), self.num_heads)

    def turn(self, x: Float[Array, "B m T d"], positions: Int[Array, "C T"]) -> Float[Array, "B m T d"]:
        """Queries or keys with their positions, where these are told so."""
        return TURNED.get(self.positions, attention_variants.leave)(x, positions)

    def keys_and_values(self, x: Float[Array, "B T E"], positions: Int[Array, "C T"]) -> KeysAndValues:
        """What later queries read: (B, m, T, d) of each."""
        keys, values = self.project("k", x), self.project("v", x)
        return self.turn(keys, positions), values

    def attend(
        self, x: Float[Array, "B T E"], past: KeysAndValues, positions: Int[Array, "C T"]
    ) -> Float[Array, "B T E"]:
        """Queries at these positions over keys that begin at position 0."""
        y = attention.merge_heads(self.average(x, past, positions))
        return self.out_dropout(self.out_proj(y))

    def average(
        self, x: Float[Array, "B T E"], past: KeysAndValues, positions: Int[Array, "C T"]
    ) -> Float[Array, "B m T d"]:
        """The values of each head, weighted by what the queries attend to."""
        keys, values = past
        if self.summed is not None:
            return self.summed(self.queries(x, positions), keys, values, positions)
        weights = self.weigh(x, keys, positions)
        return attention.compute_outputs(self.weights_dropout(weights), values)

    def queries(self, x: Float[Array, "B T E"], positions: Int[Array, "C T"]) -> Float[Array, "B m T d"]:
        """The queries of each head, with their positions where these are told so."""
        return self.turn(self.project("q", x), positions)

    def weigh(
        self, x: Float[Array, "B T E"], keys: Float[Array, "B m S d"], positions: Int[Array, "C T"]
    ) -> Float[Array, "B m T S"]:
        """How much each query at these positions attends to each key, of which the first is at position 0."""
        queries = self.queries(x, positions)
        scores = SIMILARITIES[self.similarity](queries, keys)
        scores = attention.attn_scaled(scores, x.shape[-1], self.num_heads)
        return ATTENTIONS[self.attention](scores, attention.visible_keys(positions, keys.shape[2]))


class FeedForward(nnx.Module):
    """Linear, GELU by tanh, Linear, dropout: x (B, T, E) -> (B, T, E) through `feed_forward_dim`."""

    def __init__(self, config: GPTConfig, *, rngs: nnx.Rngs):
        self.in_proj = NormalLinear(config.embed_dim, config.feed_forward_dim, rngs=rngs)
        self.out_proj = NormalLinear(config.feed_forward_dim, config.embed_dim, config.residual_deviation, rngs=rngs)
        self.out_dropout = Dropout(config.dropout, rngs=rngs)

    def __call__(self, x: Float[Array, "B T E"]) -> Float[Array, "B T E"]:
        hidden = self.in_proj(x)
        hidden = jax.nn.gelu(at_least_float32(hidden), approximate=True).astype(hidden.dtype)
        return self.out_dropout(self.out_proj(hidden))


class GPTBlock(nnx.Module):
    """y = x + attention(norm(x)), y + feed_forward(norm(y)): x (B, T, E) -> (B, T, E)."""

    def __init__(self, config: GPTConfig, *, rngs: nnx.Rngs):
        self.attention_norm = LayerNorm(config.embed_dim, rngs=rngs)
        self.causal_attention = CausalSelfAttention(config, rngs=rngs)
        self.feed_forward_norm = LayerNorm(config.embed_dim, rngs=rngs)
        self.feed_forward = FeedForward(config, rngs=rngs)

    def __call__(self, x: Float[Array, "B T E"]) -> Float[Array, "B T E"]:
        x = x + self.causal_attention(self.attention_norm(x))
        return x + self.feed_forward(self.feed_forward_norm(x))

    def advance(
        self, x: Float[Array, "B T E"], positions: Int[Array, "B T"], past: KeysAndValues
    ) -> tuple[Float[Array, "B T E"], KeysAndValues]:
        """The same for new tokens alone, whose keys and values join those of the past."""
        normed = self.attention_norm(x)
        keys, values = self.causal_attention.keys_and_values(normed, positions)
        past = write_keys(past[0], positions, keys), write_keys(past[1], positions, values)
        x = x + self.causal_attention.attend(normed, past, positions)
        return x + self.feed_forward(self.feed_forward_norm(x)), past

    def look(self, x: Float[Array, "B T E"]) -> Float[Array, "B m T T"]:
        """How much each token attends to each, in every head."""
        normed = self.attention_norm(x)
        positions = jnp.arange(x.shape[1])[None]
        keys, _ = self.causal_attention.keys_and_values(normed, positions)
        return self.causal_attention.weigh(normed, keys, positions)


class GPT(nnx.Module):
    """Token and position embeddings, blocks, a norm and a head: ids (B, T) -> logits of the next token (B, T, V).

    Raises IsogradError for more tokens than the context holds.
    """

    def __init__(self, config: GPTConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.token_embedding = NormalEmbedding(config.vocabulary_size, config.embed_dim, rngs=rngs)
        self.position_embedding = (
            NormalEmbedding(config.sequence_length, config.embed_dim, rngs=rngs)
            if config.positions == "learned"
            else None
        )
        self.dropout = Dropout(config.dropout, rngs=rngs)
        self.blocks = nnx.List([GPTBlock(config, rngs=rngs) for _ in range(config.num_layers)])
        self.norm = LayerNorm(config.embed_dim, rngs=rngs)
        self.lm_head = None if config.tied else NormalEmbedding(config.vocabulary_size, config.embed_dim, rngs=rngs)

    def __call__(self, inputs: Int[Array, "B T"]) -> Float[Array, "B T V"]:
        check_context(inputs.shape[1], self.config.sequence_length)
        x = self.embed(inputs, jnp.arange(inputs.shape[1])[None])
        for block in self.blocks:
            x = block(x)
        return self.logits(self.norm(x))

    def states(self, inputs: Int[Array, "B T"]) -> States:
        """The embedded tokens and every block's output, the last one normed, and the weights of every attention."""
        check_context(inputs.shape[1], self.config.sequence_length)
        positions = jnp.arange(inputs.shape[1])
        x, states, attentions = self.embed(inputs, positions[None]), [], []
        for block in self.blocks:
            states.append(x)
            attentions += [] if self.config.attention in WITHOUT_SCORES else [block.look(x)]
            x = block(x)
        return [*states, self.norm(x)], attentions

    def look(self, inputs: Int[Array, "B T"]) -> Float[Array, "L B m T T"] | None:
        """How much each token attends to each, in every head of every block; None where no weights are computed."""
        attentions = self.states(inputs)[1]
        return jnp.stack(attentions) if attentions else None

    def embed(self, inputs: Int[Array, "B T"], positions: Int[Array, "C T"]) -> Float[Array, "B T E"]:
        """The vectors of tokens, plus those of their positions."""
        if self.position_embedding is None:
            add = ADDED.get(self.config.positions, attention_variants.leave)
            return self.dropout(add(self.token_embedding(inputs), positions))
        return self.dropout(self.token_embedding(inputs) + self.position_embedding(positions))

    def logits(self, x: Float[Array, "*B E"]) -> Float[Array, "*B V"]:
        """The head: the table of the tokens again if it is tied."""
        table = self.token_embedding if self.lm_head is None else self.lm_head
        return table.attend(x)

    def empty_cache(self, batch_size: int, size: int) -> list[KeysAndValues]:
        """Zeros for the keys and values of this many positions, of each block."""
        heads, dtype = self.config.num_heads, self.token_embedding.weight.dtype
        shape = (2, batch_size, heads, size, self.config.embed_dim // heads)
        zeros = jnp.zeros((len(self.blocks), *shape), dtype=dtype)
        return [(keys, values) for keys, values in zeros]

    def advance(
        self, inputs: Int[Array, "B T"], positions: Int[Array, "B T"], cache: list[KeysAndValues]
    ) -> tuple[Float[Array, "B T E"], list[KeysAndValues]]:
        """The normed outputs of new tokens, which `logits` reads, and the cache with their keys and values."""
        x, grown = self.embed(inputs, positions), []
        for block, past in zip(self.blocks, cache, strict=True):
            x, past = block.advance(x, positions, past)
            grown.append(past)
        return self.norm(x), grown
