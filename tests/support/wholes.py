"""Twins made of others that are checked by themselves: checking them whole, too, is exhaustive."""

WHOLES = frozenset({
    "RNNAttentionDecoder:additive", "TransformerEncoder", "PostNormEncoder", "PostNormTransformer",
    "MultiHeadedEncoder", "MultiHeadedDecoder", "Translator:plain", "Translator:additive", "Translator:transformer",
    "DecoderOnlyTranslator",
})  # fmt: skip
