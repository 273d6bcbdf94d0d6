"""Translators: an encoder and a decoder of words, letter by letter. Twin: jax_impl/models/translator.py."""

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.configs.translation import RECURRENT, TranslationConfig
from torch_impl.models.attention_is_all_you_need import MultiHeadedDecoder, MultiHeadedEncoder
from torch_impl.models.recurrent_translation import GRUEncoder, RNNAttentionDecoder, RNNDecoder
from torch_impl.models.transformer_translation import TransformerDecoder, TransformerEncoder


def make_encoder(config: TranslationConfig) -> nn.Module:
    """source, mask -> annotations (B, S, H), state (B, H) or none."""
    if config.architecture in RECURRENT:
        return GRUEncoder(config.vocabulary_size, config.hidden_size)
    if config.architecture == "transformer":
        return TransformerEncoder(config.vocabulary_size, config.hidden_size, config.num_layers)
    return MultiHeadedEncoder(config)


def make_decoder(config: TranslationConfig) -> nn.Module:
    """targets, annotations, mask, state -> logits (B, T, V), weights (B, T, S) or none."""
    if config.architecture == "plain":
        return RNNDecoder(config.vocabulary_size, config.hidden_size)
    if config.architecture in RECURRENT:
        return RNNAttentionDecoder(config.vocabulary_size, config.hidden_size, config.architecture)
    if config.architecture == "transformer":
        return TransformerDecoder(config.vocabulary_size, config.hidden_size, config.num_layers)
    return MultiHeadedDecoder(config)


class Translator(nn.Module):
    """source (B, S), its mask, targets (B, T) from the start mark on -> logits of the next letters (B, T, V)."""

    def __init__(self, config: TranslationConfig):
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config)
        self.decoder = make_decoder(config)

    def forward(
        self, source: Int[Tensor, "B S"], source_mask: Bool[Tensor, "B S"], targets: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T V"]:
        annotations, hidden = self.encoder(source, source_mask)
        logits, _ = self.decoder(targets, annotations, source_mask, hidden)
        return logits

    def look(
        self, source: Int[Tensor, "B S"], source_mask: Bool[Tensor, "B S"], targets: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T S"] | None:
        """What each letter of the target attends to; None without attention."""
        annotations, hidden = self.encoder(source, source_mask)
        _, weights = self.decoder(targets, annotations, source_mask, hidden)
        return weights
