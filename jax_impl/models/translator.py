"""Translators: an encoder and a decoder of words, letter by letter. Twin: torch_impl/models/translator.py."""

from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int

from jax_impl.models.attention_is_all_you_need import MultiHeadedDecoder, MultiHeadedEncoder
from jax_impl.models.recurrent_translation import GRUEncoder, RNNAttentionDecoder, RNNDecoder
from jax_impl.models.transformer_translation import TransformerDecoder, TransformerEncoder
from shared.configs.translation import RECURRENT, TranslationConfig


def make_encoder(config: TranslationConfig, *, rngs: nnx.Rngs) -> nnx.Module:
    """source, mask -> annotations (B, S, H), state (B, H) or none."""
    if config.architecture in RECURRENT:
        return GRUEncoder(config.vocabulary_size, config.hidden_size, rngs=rngs)
    if config.architecture == "transformer":
        return TransformerEncoder(config.vocabulary_size, config.hidden_size, config.num_layers, rngs=rngs)
    return MultiHeadedEncoder(config, rngs=rngs)


def make_decoder(config: TranslationConfig, *, rngs: nnx.Rngs) -> nnx.Module:
    """targets, annotations, mask, state -> logits (B, T, V), weights (B, T, S) or none."""
    if config.architecture == "plain":
        return RNNDecoder(config.vocabulary_size, config.hidden_size, rngs=rngs)
    if config.architecture in RECURRENT:
        return RNNAttentionDecoder(config.vocabulary_size, config.hidden_size, config.architecture, rngs=rngs)
    if config.architecture == "transformer":
        return TransformerDecoder(config.vocabulary_size, config.hidden_size, config.num_layers, rngs=rngs)
    return MultiHeadedDecoder(config, rngs=rngs)


class Translator(nnx.Module):
    """source (B, S), its mask, targets (B, T) from the start mark on -> logits of the next letters (B, T, V)."""

    def __init__(self, config: TranslationConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.encoder = make_encoder(config, rngs=rngs)
        self.decoder = make_decoder(config, rngs=rngs)

    def __call__(
        self, source: Int[Array, "B S"], source_mask: Bool[Array, "B S"], targets: Int[Array, "B T"]
    ) -> Float[Array, "B T V"]:
        annotations, hidden = self.encoder(source, source_mask)
        logits, _ = self.decoder(targets, annotations, source_mask, hidden)
        return logits

    def look(
        self, source: Int[Array, "B S"], source_mask: Bool[Array, "B S"], targets: Int[Array, "B T"]
    ) -> Float[Array, "B T S"] | None:
        """What each letter of the target attends to; None without attention."""
        annotations, hidden = self.encoder(source, source_mask)
        _, weights = self.decoder(targets, annotations, source_mask, hidden)
        return weights
