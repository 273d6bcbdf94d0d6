"""BERT and its kin (RoBERTa, DistilBERT, MiniLM), with their heads. Twin: torch_impl/models/bert.py."""

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float, Int, Shaped

from jax_impl.dropout import Dropout
from jax_impl.layers.layer_norm import LayerNorm
from jax_impl.layers.pretrained.activations import ACTIVATIONS, activate
from jax_impl.layers.pretrained.encoder_layers import PostNormLayer
from jax_impl.layers.small_normal import NormalEmbedding, NormalLinear
from jax_impl.losses import cross_entropy
from shared.configs.bert import BertConfig
from shared.configs.validation import check_choice, check_context

States = tuple[list[Float[Array, "B T E"]], list[Float[Array, "B m T T"]]]


def absolute_positions(inputs: Int[Array, "B T"], padding_idx: int | None) -> Int[Array, "B T"]:
    """0, 1, 2, ... in every row, whatever the tokens are, as in BERT."""
    return jnp.broadcast_to(jnp.arange(inputs.shape[1]), inputs.shape)


def positions_after_padding(inputs: Int[Array, "B T"], padding_idx: int | None) -> Int[Array, "B T"]:
    """Tokens count from behind `padding_idx`, which is the position of all padding, as in RoBERTa."""
    is_token = inputs != padding_idx
    return is_token.cumsum(1) * is_token + padding_idx


POSITIONS = {"absolute": absolute_positions, "after_padding": positions_after_padding}


class BertEmbeddings(nnx.Module):
    """The vectors of tokens, their types and their positions, added up and normalised: ids (B, T) -> (B, T, E)."""

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        check_choice("positions", config.positions, POSITIONS)
        self.config = config
        width = config.embed_dim
        self.token_embedding = NormalEmbedding(config.vocabulary_size, width, config.padding_idx, rngs=rngs)
        self.position_embedding = NormalEmbedding(config.sequence_length, width, config.padded_position, rngs=rngs)
        has_types = config.token_types > 0
        self.token_type_embedding = NormalEmbedding(config.token_types, width, rngs=rngs) if has_types else None
        self.norm = LayerNorm(width, config.eps, rngs=rngs)
        self.dropout = Dropout(config.dropout, rngs=rngs)

    def __call__(
        self, inputs: Int[Array, "B T"], token_types: Int[Array, "B T"] | None = None
    ) -> Float[Array, "B T E"]:
        x = self.token_embedding(inputs)
        if self.token_type_embedding is not None:
            x = x + self.token_type_embedding(jnp.zeros_like(inputs) if token_types is None else token_types)
        positions = POSITIONS[self.config.positions](inputs, self.config.padding_idx)
        return self.dropout(self.norm(x + self.position_embedding(positions)))


class BertModel(nnx.Module):
    """Embeddings, layers and a pooler: ids (B, T), mask (B, T) -> states (B, T, E), pooled (B, E) (Devlin et al. 2019).

    Without a pooler the second output is the state at position 0. Raises IsogradError for more tokens than positions.
    """

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        check_choice("pooler_activation", config.pooler_activation, ACTIVATIONS)
        self.config = config
        self.embeddings = BertEmbeddings(config, rngs=rngs)
        self.layers = nnx.List([PostNormLayer(config, rngs=rngs) for _ in range(config.num_layers)])
        self.pooler_dropout = Dropout(config.head_dropout if config.dropout_before_pooler else 0.0, rngs=rngs)
        self.pooler = NormalLinear(config.embed_dim, config.embed_dim, rngs=rngs) if config.pooler else None

    def __call__(
        self,
        inputs: Int[Array, "B T"],
        mask: Shaped[Array, "B T"] | None = None,
        token_types: Int[Array, "B T"] | None = None,
    ) -> tuple[Float[Array, "B T E"], Float[Array, "B E"]]:
        states, _ = self.states(inputs, mask, token_types)
        return states[-1], self.pooled(states[-1])

    def states(
        self,
        inputs: Int[Array, "B T"],
        mask: Shaped[Array, "B T"] | None = None,
        token_types: Int[Array, "B T"] | None = None,
    ) -> States:
        """The embedded tokens and every layer's output, and the weights of every attention."""
        check_context(inputs.shape[1], self.config.context)
        states, attentions = [self.embeddings(inputs, token_types)], []
        for layer in self.layers:
            x, weights = layer(states[-1], mask)
            states.append(x)
            attentions.append(weights)
        return states, attentions

    def pooled(self, x: Float[Array, "B T E"]) -> Float[Array, "B E"]:
        """The state at position 0, through the pooler if there is one."""
        if self.pooler is None:
            return x[:, 0]
        return activate(self.pooler(self.pooler_dropout(x[:, 0])), self.config.pooler_activation)


class BertForSentenceClassification(nnx.Module):
    """A linear map of BERT's pooled output: ids (B, T), mask (B, T) -> logits (B, C).

    With labels (B,) the output is (mean cross-entropy, logits).
    """

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.bert = BertModel(config, rngs=rngs)
        self.dropout = Dropout(config.head_dropout, rngs=rngs)
        self.head = NormalLinear(config.embed_dim, config.num_classes, rngs=rngs)

    def __call__(
        self,
        inputs: Int[Array, "B T"],
        mask: Shaped[Array, "B T"] | None = None,
        token_types: Int[Array, "B T"] | None = None,
        labels: Int[Array, "B"] | None = None,
    ) -> Float[Array, "B C"] | tuple[Float[Array, ""], Float[Array, "B C"]]:
        logits = self.head(self.dropout(self.bert(inputs, mask, token_types)[1]))
        return logits if labels is None else (cross_entropy(logits, labels).mean(), logits)


class BertForMaskedLM(nnx.Module):
    """Logits of the token at every position, by the table of the tokens: ids (B, T), mask (B, T) -> (B, T, V)."""

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        self.activation = config.activation if config.head_activation is None else config.head_activation
        self.config = config
        self.bert = BertModel(config, rngs=rngs)
        check_choice("head_activation", self.activation, ACTIVATIONS)
        self.head = NormalLinear(config.embed_dim, config.embed_dim, rngs=rngs)
        self.head_norm = LayerNorm(config.embed_dim, config.eps, rngs=rngs)
        self.head_bias = nnx.Param(jnp.zeros(config.vocabulary_size))

    def __call__(
        self,
        inputs: Int[Array, "B T"],
        mask: Shaped[Array, "B T"] | None = None,
        token_types: Int[Array, "B T"] | None = None,
    ) -> Float[Array, "B T V"]:
        x = self.bert.states(inputs, mask, token_types)[0][-1]
        x = self.head_norm(activate(self.head(x), self.activation))
        return self.bert.embeddings.token_embedding.attend(x) + self.head_bias[...]
