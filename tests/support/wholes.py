"""Twins made of others that are checked by themselves: what else of them is checked whole is exhaustive."""

WHOLES = frozenset({  # in any case and dtype
    "RNNAttentionDecoder:additive", "TransformerEncoder", "PostNormEncoder", "PostNormTransformer",
    "MultiHeadedEncoder", "MultiHeadedDecoder", "Translator:plain", "Translator:additive", "Translator:transformer",
    "DecoderOnlyTranslator",
})  # fmt: skip
LAYERS_OF_LAYERS = frozenset({  # below float64
    "BidirectionalGRU", "Encoder", "DecoderAttn", "PostNormAttentionBlock", "PostNormLayer",
})  # fmt: skip
MODELS_OF_LAYERS = frozenset({  # in cases that their layers are checked in
    "EncoderDecoder", "Transformer", "ReviewClassifierGRU", "ReviewClassifierGRU:fused", "ReviewClassifierTransformer",
    "GPT", "Translator", "BertModel", "BertForSentenceClassification", "BertForMaskedLM", "CLIPTextModel",
    "CLIPVisionModel", "CLIPModel",
})  # fmt: skip
