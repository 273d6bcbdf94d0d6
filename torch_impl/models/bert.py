"""BERT and its kin (RoBERTa, DistilBERT, MiniLM), with their heads. Twin: jax_impl/models/bert.py."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from shared.configs.bert import BertConfig
from shared.configs.validation import check_choice, check_context
from torch_impl.dropout import Dropout
from torch_impl.layers.layer_norm import LayerNorm
from torch_impl.layers.pretrained.activations import ACTIVATIONS, activate
from torch_impl.layers.pretrained.encoder_layers import PostNormLayer
from torch_impl.layers.small_normal import NormalEmbedding, NormalLinear
from torch_impl.losses import cross_entropy

States = tuple[list[Float[Tensor, "B T E"]], list[Float[Tensor, "B m T T"]]]


def absolute_positions(inputs: Int[Tensor, "B T"], padding_idx: int | None) -> Int[Tensor, "B T"]:
    """0, 1, 2, ... in every row, whatever the tokens are, as in BERT."""
    return torch.arange(inputs.shape[1], device=inputs.device).expand(inputs.shape)


def positions_after_padding(inputs: Int[Tensor, "B T"], padding_idx: int | None) -> Int[Tensor, "B T"]:
    """Tokens count from behind `padding_idx`, which is the position of all padding, as in RoBERTa."""
    is_token = inputs != padding_idx
    return is_token.cumsum(1) * is_token + padding_idx


POSITIONS = {"absolute": absolute_positions, "after_padding": positions_after_padding}


class BertEmbeddings(nn.Module):
    """The vectors of tokens, their types and their positions, added up and normalised: ids (B, T) -> (B, T, E)."""

    def __init__(self, config: BertConfig):
        check_choice("positions", config.positions, POSITIONS)
        super().__init__()
        self.config = config
        width = config.embed_dim
        self.token_embedding = NormalEmbedding(config.vocabulary_size, width, config.padding_idx)
        self.position_embedding = NormalEmbedding(config.sequence_length, width, config.padded_position)
        has_types = config.token_types > 0
        self.token_type_embedding = NormalEmbedding(config.token_types, width) if has_types else None
        self.norm = LayerNorm(width, config.eps)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, inputs: Int[Tensor, "B T"], token_types: Int[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T E"]:
        x = self.token_embedding(inputs)
        if self.token_type_embedding is not None:
            x = x + self.token_type_embedding(torch.zeros_like(inputs) if token_types is None else token_types)
        positions = POSITIONS[self.config.positions](inputs, self.config.padding_idx)
        return self.dropout(self.norm(x + self.position_embedding(positions)))


class BertModel(nn.Module):
    """Embeddings, layers and a pooler: ids (B, T), mask (B, T) -> states (B, T, E), pooled (B, E) (Devlin et al. 2019).

    Without a pooler the second output is the state at position 0. Raises IsogradError for more tokens than positions.
    """

    def __init__(self, config: BertConfig):
        check_choice("pooler_activation", config.pooler_activation, ACTIVATIONS)
        super().__init__()
        self.config = config
        self.embeddings = BertEmbeddings(config)
        self.layers = nn.ModuleList([PostNormLayer(config) for _ in range(config.num_layers)])
        self.pooler_dropout = Dropout(config.head_dropout if config.dropout_before_pooler else 0.0)
        self.pooler = NormalLinear(config.embed_dim, config.embed_dim) if config.pooler else None

    def forward(
        self,
        inputs: Int[Tensor, "B T"],
        mask: Shaped[Tensor, "B T"] | None = None,
        token_types: Int[Tensor, "B T"] | None = None,
    ) -> tuple[Float[Tensor, "B T E"], Float[Tensor, "B E"]]:
        states, _ = self.states(inputs, mask, token_types)
        return states[-1], self.pooled(states[-1])

    def states(
        self,
        inputs: Int[Tensor, "B T"],
        mask: Shaped[Tensor, "B T"] | None = None,
        token_types: Int[Tensor, "B T"] | None = None,
    ) -> States:
        """The embedded tokens and every layer's output, and the weights of every attention."""
        check_context(inputs.shape[1], self.config.context)
        states, attentions = [self.embeddings(inputs, token_types)], []
        for layer in self.layers:
            x, weights = layer(states[-1], mask)
            states.append(x)
            attentions.append(weights)
        return states, attentions

    def pooled(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B E"]:
        """The state at position 0, through the pooler if there is one."""
        if self.pooler is None:
            return x[:, 0]
        return activate(self.pooler(self.pooler_dropout(x[:, 0])), self.config.pooler_activation)


class BertForSentenceClassification(nn.Module):
    """A linear map of BERT's pooled output: ids (B, T), mask (B, T) -> logits (B, C).

    With labels (B,) the output is (mean cross-entropy, logits).
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.bert = BertModel(config)
        self.dropout = Dropout(config.head_dropout)
        self.head = NormalLinear(config.embed_dim, config.num_classes)

    def forward(
        self,
        inputs: Int[Tensor, "B T"],
        mask: Shaped[Tensor, "B T"] | None = None,
        token_types: Int[Tensor, "B T"] | None = None,
        labels: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B C"] | tuple[Float[Tensor, ""], Float[Tensor, "B C"]]:
        logits = self.head(self.dropout(self.bert(inputs, mask, token_types)[1]))
        return logits if labels is None else (cross_entropy(logits, labels).mean(), logits)


class BertForMaskedLM(nn.Module):
    """Logits of the token at every position, by the table of the tokens: ids (B, T), mask (B, T) -> (B, T, V)."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.activation = config.activation if config.head_activation is None else config.head_activation
        self.config = config
        self.bert = BertModel(config)
        check_choice("head_activation", self.activation, ACTIVATIONS)
        self.head = NormalLinear(config.embed_dim, config.embed_dim)
        self.head_norm = LayerNorm(config.embed_dim, config.eps)
        self.head_bias = nn.Parameter(torch.zeros(config.vocabulary_size))

    def forward(
        self,
        inputs: Int[Tensor, "B T"],
        mask: Shaped[Tensor, "B T"] | None = None,
        token_types: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        x = self.bert.states(inputs, mask, token_types)[0][-1]
        x = self.head_norm(activate(self.head(x), self.activation))
        return self.bert.embeddings.token_embedding.attend(x) + self.head_bias
