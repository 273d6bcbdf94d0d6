"""Every twin once, as data: where it lives, how it is built, and the shapes of its inputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.configs.bert import BertConfig
from shared.configs.clip import CLIPConfig
from shared.configs.encoder import EncoderConfig
from shared.configs.gpt import GPTConfig
from shared.configs.translation import TranslationConfig
from shared.configs.validation import check_choice

# No two axes of an array have the same size, so that a transposed square can't hide.
BATCH, STEPS, KEYS = 5, 11, 13  # B, T and S
VOCABULARY, LENGTH, INPUT, HIDDEN, MLP_WIDTH = 37, 13, 23, 17, 19
HEADS, HEAD = 3, 7
EVEN_HEAD = 8  # a width that can be turned in pairs
WIDTH = HEADS * HEAD
CLASSES = 3
RANK = 6


@dataclass(frozen=True)
class Twin:
    """A pair of classes or functions with one name; `name` may carry a variant after a colon.

    `inputs` describes the arrays of one call: "ids", "mask", "lengths", "causal mask", "labels" (classes), "weights"
    (0 to 1 per row), "token types", "token labels" and "token weights" (the same per token), "source ids" and "source
    mask" (over S), "positions" (0, 1, ...), or the axes of a float array, by B, T, S (keys), the name of an argument,
    or a number; "visible" before the axes makes a mask of them. Those named in `optional` may be left out.
    `arguments` build a class, or are bound to a function.
    """

    name: str
    module: str
    inputs: Mapping[str, str]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    function: bool = False
    also: tuple[str, ...] = ()  # cases of shared/example_inputs.py beyond those that its inputs imply
    task: str | None = None  # a row of shared/tasks/table.py, for a model that a backend can train
    config: type | None = None  # a frozen dataclass that holds the arguments; the class takes it alone

    @property
    def public_name(self) -> str:
        return self.name.split(":")[0]

    @property
    def reads_lengths(self) -> bool:
        """True if padding changes the outputs unless the lengths are given."""
        return "lengths" in self.inputs.values()

    def call_with(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords that the class is called with."""
        return dict(arguments) if self.config is None else {"config": self.config(**arguments)}


_CELL_SIZES = {"input_size": INPUT, "hidden_size": HIDDEN}
_LAYER_SIZES = {**_CELL_SIZES, "implementation": "reference"}
_TWO_LAYERS, _THREE_LAYERS = ({**_LAYER_SIZES, "num_layers": number} for number in (2, 3))
_FUSED_LAYERS = {**_TWO_LAYERS, "implementation": "fused"}
_LINEAR_SIZES = {**_CELL_SIZES, "num_classes": CLASSES}
_GRU_SIZES = {
    "vocabulary_size": VOCABULARY,
    "embedding_size": INPUT,
    "hidden_size": HIDDEN,
    "dropout": 0.3,
    "implementation": "reference",
}
_FUSED_SIZES = {**_GRU_SIZES, "implementation": "fused"}
_HEAD_SIZES, _ALL_HEADS = {"head_size": HEAD, "num_heads": HEADS}, "B T head_size*num_heads"
_BLOCK_SIZES = {"embed_dim": WIDTH, "hidden_dim": MLP_WIDTH, "num_heads": HEADS, "dropout": 0.3}
_TRANSFORMER_SIZES = {"vocabulary_size": VOCABULARY, "sequence_length": LENGTH, **_BLOCK_SIZES}

_GPT_SIZES = {
    "vocabulary_size": VOCABULARY,
    "sequence_length": LENGTH,
    "embed_dim": WIDTH,
    "num_heads": HEADS,
    "num_layers": 2,
    "hidden_dim": MLP_WIDTH,
    "dropout": 0.3,
}

_IDS = {"inputs": "ids", "mask": "mask"}
_IDS_AND_LENGTHS = {**_IDS, "lengths": "lengths"}
_ENCODED = {"inputs": "ids", "hidden_states": "2*num_layers B hidden_size", "lengths": "lengths"}
_SEQUENCE = {"inputs": "B T input_size", "hidden_states": "num_layers B hidden_size", "lengths": "lengths"}
_LINEAR_SEQUENCE = {"inputs": "B T input_size", "hidden_states": "1 B hidden_size"}
_BOTH_WAYS = {**_SEQUENCE, "hidden_states": "2*num_layers B hidden_size"}
_ATTENDED = {"inputs": "B T hidden_size", "hidden_states": "2 B hidden_size", "mask": "mask"}
_DECODED = {**_ATTENDED, "hidden_states": "num_layers B hidden_size", "lengths": "lengths"}
_BLOCK = {"x": "B T embed_dim", "mask": "mask"}
_PROJECTED = {"Q": f"B T {WIDTH}", "K": f"B S {WIDTH}", "V": f"B S {HEAD}", "C": f"{RANK} S", "D": f"{RANK} S"}
_THREE_WIDE = dict.fromkeys("QKV", f"B T {WIDTH}")

_OF_NORMS = ("mean_5000", "equal_entries")
_OF_SCORES = ("large_scores", "far_scores", "equal_entries")
_SATURATED = ("far_scores",)

_STATE_AND_LENGTHS = ("hidden_states", "lengths")
_MASK_AND_LENGTHS = ("mask", "lengths")

_LAYERS = (
    Twin("Linear", "layers.linear", {"inputs": "B T in_features"}, {"in_features": INPUT, "out_features": WIDTH}),
    Twin(
        "Embedding",
        "layers.embedding",
        {"ids": "ids"},
        {"vocabulary_size": VOCABULARY, "embedding_size": INPUT, "padding_idx": 0},
    ),
    Twin("LayerNorm", "layers.layer_norm", {"inputs": "B T hidden_size"}, {"hidden_size": HIDDEN}, also=_OF_NORMS),
    Twin(
        "LearnedPositions",
        "layers.positions",
        {"x": "B T embed_dim"},
        {"sequence_length": LENGTH, "embed_dim": WIDTH},
    ),
    Twin("GRUCell", "layers.gru", {"x": "B input_size", "h": "B hidden_size"}, _CELL_SIZES, also=_SATURATED),
    Twin("GRU", "layers.gru", _SEQUENCE, _LAYER_SIZES, _STATE_AND_LENGTHS, also=_SATURATED),
    Twin("GRU:two_layers", "layers.gru", _SEQUENCE, _TWO_LAYERS, _STATE_AND_LENGTHS),
    Twin("GRU:three_layers", "layers.gru", _SEQUENCE, _THREE_LAYERS, _STATE_AND_LENGTHS),
    Twin("GRU:fused", "layers.gru", _SEQUENCE, _FUSED_LAYERS, _STATE_AND_LENGTHS, also=_SATURATED),
    Twin("BidirectionalGRU", "layers.gru", _BOTH_WAYS, _LAYER_SIZES, _STATE_AND_LENGTHS, also=_SATURATED),
    Twin("BidirectionalGRU:two_layers", "layers.gru", _BOTH_WAYS, _TWO_LAYERS, _STATE_AND_LENGTHS),
    Twin("BidirectionalGRU:three_layers", "layers.gru", _BOTH_WAYS, _THREE_LAYERS, _STATE_AND_LENGTHS),
    Twin("BidirectionalGRU:fused", "layers.gru", _BOTH_WAYS, _FUSED_LAYERS, _STATE_AND_LENGTHS, also=_SATURATED),
    Twin("LinearRNN", "layers.linear_rnn", _LINEAR_SEQUENCE, _LINEAR_SIZES, ("hidden_states",)),
    Twin(
        "LinearRNN:automatic",
        "layers.linear_rnn",
        _LINEAR_SEQUENCE,
        {**_LINEAR_SIZES, "backward": "automatic"},
        ("hidden_states",),
    ),
    Twin(
        "Attn",
        "layers.soft_attention",
        _ATTENDED,
        {"hidden_size": HIDDEN, "dropout": 0.3},
        ("mask",),
        also=_SATURATED,
    ),
    Twin("Attn:context", "layers.soft_attention", _ATTENDED, {"hidden_size": HIDDEN, "pooling": "context"}, ("mask",)),
    Twin("Encoder", "layers.encoder", _ENCODED, _GRU_SIZES, _STATE_AND_LENGTHS),
    Twin("Encoder:two_layers", "layers.encoder", _ENCODED, {**_GRU_SIZES, "num_layers": 2}, _STATE_AND_LENGTHS),
    Twin("Encoder:fused", "layers.encoder", _ENCODED, _FUSED_SIZES, _STATE_AND_LENGTHS),
    Twin("DecoderAttn", "layers.decoder", _DECODED, _GRU_SIZES, _MASK_AND_LENGTHS),
    Twin(
        "DecoderAttn:no_attention",
        "layers.decoder",
        _DECODED,
        {**_GRU_SIZES, "with_attention": False},
        _MASK_AND_LENGTHS,
    ),
    Twin("DecoderAttn:fused", "layers.decoder", _DECODED, _FUSED_SIZES, _MASK_AND_LENGTHS),
    Twin(
        "MultiHeadedAttention",
        "layers.multi_headed_attention",
        {"hidden_states": _ALL_HEADS, "mask": "mask"},
        _HEAD_SIZES,
        ("mask",),
        also=_SATURATED,
    ),
    Twin(
        "MultiHeadedAttention:mask_of_3_axes",
        "layers.multi_headed_attention",
        {"hidden_states": _ALL_HEADS, "mask": "visible num_heads T T"},
        _HEAD_SIZES,
    ),
    Twin(
        "MultiHeadedAttention:mask_of_4_axes",
        "layers.multi_headed_attention",
        {"hidden_states": _ALL_HEADS, "mask": "visible B 1 T T"},
        _HEAD_SIZES,
    ),
    Twin(
        "RelativeAttention",
        "layers.relative_attention",
        {"x": "B T embed_dim"},
        {"embed_dim": WIDTH, "head_size": HEAD, "sequence_length": LENGTH},
        also=_SATURATED,
    ),
    Twin(
        "MLP",
        "layers.attention_blocks",
        {"x": "B T embed_dim"},
        {"embed_dim": WIDTH, "hidden_dim": MLP_WIDTH, "dropout": 0.3},
    ),
    Twin("PreNormAttentionBlock", "layers.attention_blocks", _BLOCK, _BLOCK_SIZES, ("mask",)),
    Twin("PostNormAttentionBlock", "layers.attention_blocks", _BLOCK, _BLOCK_SIZES, ("mask",)),
)

_MODELS = (
    Twin("EncoderDecoder", "models.encoder_decoder", _IDS_AND_LENGTHS, _GRU_SIZES, _MASK_AND_LENGTHS),
    Twin("Transformer", "models.transformer", _IDS, _TRANSFORMER_SIZES, ("mask",)),
    Twin("Transformer:postnorm", "models.transformer", _IDS, {**_TRANSFORMER_SIZES, "block": "postnorm"}, ("mask",)),
    Twin(
        "ReviewClassifierGRU",
        "models.review_classifiers",
        _IDS_AND_LENGTHS,
        _GRU_SIZES,
        _MASK_AND_LENGTHS,
        task="classification",
    ),
    Twin(
        "ReviewClassifierGRU:encoder_only",
        "models.review_classifiers",
        _IDS_AND_LENGTHS,
        {**_GRU_SIZES, "encoder_only": True},
        _MASK_AND_LENGTHS,
        task="classification",
    ),
    Twin(
        "ReviewClassifierGRU:no_attention",
        "models.review_classifiers",
        _IDS_AND_LENGTHS,
        {**_GRU_SIZES, "with_attention": False, "num_layers": 2, "num_classes": CLASSES},
        _MASK_AND_LENGTHS,
        task="classification",
    ),
    Twin(
        "ReviewClassifierGRU:fused",
        "models.review_classifiers",
        _IDS_AND_LENGTHS,
        _FUSED_SIZES,
        _MASK_AND_LENGTHS,
        task="classification",
    ),
    Twin(
        "ReviewClassifierTransformer",
        "models.review_classifiers",
        _IDS,
        _TRANSFORMER_SIZES,
        ("mask",),
        task="classification",
    ),
    Twin(
        "ReviewClassifierTransformer:postnorm",
        "models.review_classifiers",
        _IDS,
        {**_TRANSFORMER_SIZES, "block": "postnorm", "num_layers": 3, "dropout": 0.2, "num_classes": CLASSES},
        ("mask",),
        task="classification",
    ),
)


def _of_gpt(
    name: str,
    inputs: Mapping[str, str],
    also: tuple[str, ...] = (),
    task: str | None = None,
    module: str = "models.gpt",
    **arguments: Any,
) -> Twin:
    return Twin(name, module, inputs, {**_GPT_SIZES, **arguments}, also=also, task=task, config=GPTConfig)


_WIDE = {"x": "B T embed_dim"}
_HEADS_OF_TOKENS = {**dict.fromkeys(("queries", "keys", "values"), f"B {HEADS} T {HEAD}"), "positions": "positions"}
_PROJECTION_SIZES = {"in_features": INPUT, "out_features": WIDTH}
_LANGUAGE_MODELS = (
    Twin(
        "NormalLinear",
        "layers.small_normal",
        {"inputs": "B T in_features"},
        {"in_features": INPUT, "out_features": WIDTH},
    ),
    Twin(
        "NormalEmbedding",
        "layers.small_normal",
        {"ids": "ids"},
        {"vocabulary_size": VOCABULARY, "embedding_size": INPUT},
    ),
    _of_gpt("CausalSelfAttention", _WIDE, _SATURATED),
    _of_gpt("CausalSelfAttention:zeroed", _WIDE, attention="zeroed"),
    _of_gpt("CausalSelfAttention:cosine", _WIDE, similarity="cosine"),
    _of_gpt("CausalSelfAttention:distance", _WIDE, similarity="distance"),
    _of_gpt("CausalSelfAttention:additive", _WIDE, similarity="additive"),
    _of_gpt("CausalSelfAttention:shared_kv", _WIDE, shared="kv"),
    _of_gpt("CausalSelfAttention:shared_qk", _WIDE, shared="qk"),
    _of_gpt("CausalSelfAttention:shared_qkv", _WIDE, shared="qkv"),
    _of_gpt("CausalSelfAttention:rotary", _WIDE, positions="rotary", embed_dim=HEADS * EVEN_HEAD),
    _of_gpt("CausalSelfAttention:nonlinear", _WIDE, projection="nonlinear"),
    _of_gpt("CausalSelfAttention:mlp", _WIDE, projection="mlp"),
    _of_gpt("CausalSelfAttention:attention_free", _WIDE, attention="attention_free"),
    _of_gpt("CausalSelfAttention:attention_free_simple", _WIDE, attention="attention_free_simple"),
    _of_gpt("CausalSelfAttention:random_features", _WIDE, attention="random_features"),
    Twin("NonlinearProjection", "layers.ablations.projections", {"x": "B T in_features"}, _PROJECTION_SIZES),
    Twin("MLPProjection", "layers.ablations.projections", {"x": "B T in_features"}, _PROJECTION_SIZES),
    _of_gpt("AttentionFree", _HEADS_OF_TOKENS, module="layers.ablations.linear_attention"),
    _of_gpt("SimpleAttentionFree", _HEADS_OF_TOKENS, module="layers.ablations.linear_attention"),
    _of_gpt("RandomFeatureAttention", _HEADS_OF_TOKENS, module="layers.ablations.linear_attention"),
    _of_gpt("FeedForward", _WIDE),
    _of_gpt("GPTBlock", _WIDE),
    _of_gpt("GPT", {"inputs": "ids"}, task="language_modelling"),
    _of_gpt("GPT:untied", {"inputs": "ids"}, tied=False),
    _of_gpt("GPT:sinusoidal", {"inputs": "ids"}, positions="sinusoidal"),
    _of_gpt("GPT:without_positions", {"inputs": "ids"}, positions="none"),
)

_ENCODER_SIZES = {
    "embed_dim": WIDTH,
    "num_heads": HEADS,
    "num_layers": 2,
    "hidden_dim": MLP_WIDTH,
    "dropout": 0.3,
    "attention_dropout": 0.2,
    "eps": 1e-7,
}
_BERT_SIZES = {**_ENCODER_SIZES, "vocabulary_size": VOCABULARY, "sequence_length": LENGTH, "token_types": 2}
_OF_ROBERTA: dict[str, Any] = {"positions": "after_padding", "padding_idx": 1, "token_types": 1}
_OF_DISTILBERT: dict[str, Any] = {"token_types": 0, "pooler": False, "activation": "relu"}
_AS_ROBERTA = {**_OF_ROBERTA, "dropout_before_pooler": True}
_AS_DISTILBERT = {**_OF_DISTILBERT, "pooler": True, "pooler_activation": "relu", "classifier_dropout": 0.2}
_CLIP_SIZES = {
    "vocabulary_size": VOCABULARY,
    "sequence_length": LENGTH,
    "end_token": 4,
    "text_embed_dim": WIDTH,
    "text_num_heads": HEADS,
    "text_num_layers": 1,
    "text_hidden_dim": MLP_WIDTH,
    "text_activation": "gelu_new",
    "text_attention_dropout": 0.2,
    "text_eps": 1e-7,
    "image_size": 10,
    "patch_size": 3,
    "channels": 2,
    "vision_embed_dim": 15,
    "vision_num_heads": 5,
    "vision_num_layers": 2,
    "vision_hidden_dim": 14,
    "vision_activation": "silu",
    "vision_attention_dropout": 0.1,
    "vision_eps": 1e-6,
    "projection_dim": 12,
}


def _of_bert(name: str, task: str | None = None, **arguments: Any) -> Twin:
    inputs = dict(_IDS) if task or arguments.get("token_types") == 0 else {**_IDS, "token_types": "token types"}
    sizes = {**_BERT_SIZES, **arguments}
    return Twin(name, "models.bert", inputs, sizes, tuple(inputs)[1:], task=task, config=BertConfig)


def _of_encoder(name: str, module: str, **arguments: Any) -> Twin:
    inputs = _WIDE if name.startswith("ActivatedMLP") else _BLOCK
    return Twin(name, module, inputs, {**_ENCODER_SIZES, **arguments}, tuple(inputs)[1:], config=EncoderConfig)


def _of_clip(name: str, inputs: Mapping[str, str], **arguments: Any) -> Twin:
    optional = tuple(key for key in inputs if key == "mask")
    return Twin(name, "models.clip", inputs, {**_CLIP_SIZES, **arguments}, optional, config=CLIPConfig)


_IMAGES = {"pixels": "7 channels image_size image_size"}
_EMBEDDED = {"inputs": "ids", "token_types": "token types"}
_PRETRAINED = (
    _of_encoder("SelfAttention", "layers.pretrained.self_attention"),
    _of_encoder("ActivatedMLP", "layers.pretrained.encoder_layers"),
    *(
        _of_encoder(f"ActivatedMLP:{name}", "layers.pretrained.encoder_layers", activation=name)
        for name in ("gelu_new", "gelu_fast", "quick_gelu", "relu", "silu", "tanh")
    ),
    _of_encoder("PostNormLayer", "layers.pretrained.encoder_layers"),
    _of_encoder("PreNormLayer", "layers.pretrained.encoder_layers"),
    Twin("BertEmbeddings", "models.bert", _EMBEDDED, _BERT_SIZES, ("token_types",), config=BertConfig),
    _of_bert("BertModel"),
    _of_bert("BertModel:roberta", **_OF_ROBERTA),
    _of_bert("BertModel:distilbert", **_OF_DISTILBERT),
    _of_bert("BertForSentenceClassification", task="classification", num_classes=CLASSES),
    _of_bert("BertForSentenceClassification:roberta", task="classification", num_classes=CLASSES, **_AS_ROBERTA),
    _of_bert("BertForSentenceClassification:distilbert", task="classification", num_classes=CLASSES, **_AS_DISTILBERT),
    _of_bert("BertForMaskedLM"),
    _of_bert("BertForMaskedLM:roberta", activation="relu", head_activation="gelu", **_OF_ROBERTA),
    Twin(
        "PatchEmbedding",
        "layers.pretrained.patch_embedding",
        {"pixels": "7 channels 10 14"},
        {"channels": 2, "patch_size": 3, "embed_dim": 15},
    ),
    _of_clip("CLIPTextModel", _IDS, text_num_layers=2),
    _of_clip("CLIPTextModel:highest_id", _IDS, end_token=None),
    _of_clip("CLIPVisionModel", _IMAGES),
    Twin("Projection", "models.clip", {"x": "B in_features"}, {"in_features": 15, "out_features": 12}),
    _of_clip("CLIPModel", {"inputs": "ids", **_IMAGES, "mask": "mask"}),
)


def _of_translation(
    name: str, module: str, inputs: Mapping[str, str], task: str | None = None, **arguments: Any
) -> Twin:
    sizes = {**_TRANSLATION_SIZES, **arguments}
    return Twin(name, f"models.{module}", inputs, sizes, task=task, config=TranslationConfig)


_TRANSLATION_SIZES = {
    "vocabulary_size": VOCABULARY,
    "hidden_size": WIDTH,
    "architecture": "multi_headed",
    "num_layers": 1,
    "num_heads": HEADS,
    "hidden_dim": MLP_WIDTH,
    "dropout": 0.3,
}
_LETTERS = {"vocabulary_size": VOCABULARY, "hidden_size": HIDDEN}
_LAYERS_OF_LETTERS = {**_LETTERS, "num_layers": 2}
_STACK = {"embed_dim": WIDTH, "hidden_dim": MLP_WIDTH, "num_heads": HEADS, "num_layers": 1, "dropout": 0.3}
_ONE_HEAD = {"queries": "B 7 hidden_size", "keys": "B T hidden_size", "values": "B T hidden_size"}
_ONE_QUERY = {**_ONE_HEAD, "queries": "B hidden_size"}
_SOURCE = {"source": "source ids", "source_mask": "source mask"}
_TARGETS = {"targets": "ids", "annotations": "B S hidden_size", "source_mask": "source mask"}
_TARGETS_AND_STATE = {**_TARGETS, "hidden": "B hidden_size"}
_TRANSLATED = {**_SOURCE, "targets": "ids"}
_WITHOUT_DROPOUT = {"hidden_size": HIDDEN, "dropout": 0.0}

_TRANSLATION = (
    Twin(
        "ResetBeforeGRUCell",
        "layers.reset_before_gru",
        {"x": "B input_size", "h": "B hidden_size"},
        _CELL_SIZES,
        also=_SATURATED,
    ),
    Twin(
        "AdditiveAttention",
        "layers.cross_attention",
        {**_ONE_QUERY, "mask": "mask"},
        {"hidden_size": HIDDEN},
        ("mask",),
        also=_SATURATED,
    ),
    Twin(
        "ScaledDotAttention",
        "layers.cross_attention",
        {**_ONE_HEAD, "mask": "mask"},
        {"hidden_size": HIDDEN},
        ("mask",),
        also=_SATURATED,
    ),
    Twin("ScaledDotAttention:one_query", "layers.cross_attention", _ONE_QUERY, {"hidden_size": HIDDEN}),
    Twin(
        "CausalScaledDotAttention",
        "layers.cross_attention",
        _ONE_HEAD,
        {"hidden_size": HIDDEN},
        also=_SATURATED,
    ),
    Twin("SinusoidalPositions", "layers.positions", {"x": "B T embed_dim"}, {"embed_dim": INPUT}),
    Twin("GRUEncoder", "models.recurrent_translation", _SOURCE, _LETTERS),
    Twin("RNNDecoder", "models.recurrent_translation", _TARGETS_AND_STATE, _LETTERS),
    Twin(
        "RNNAttentionDecoder",
        "models.recurrent_translation",
        _TARGETS_AND_STATE,
        {**_LETTERS, "attention_type": "scaled_dot"},
    ),
    Twin(
        "RNNAttentionDecoder:additive",
        "models.recurrent_translation",
        _TARGETS_AND_STATE,
        {**_LETTERS, "attention_type": "additive"},
    ),
    Twin("TransformerEncoder", "models.transformer_translation", _SOURCE, _LAYERS_OF_LETTERS),
    Twin("TransformerDecoder", "models.transformer_translation", _TARGETS, _LAYERS_OF_LETTERS),
    Twin(
        "PostNormFeedForward",
        "models.attention_is_all_you_need",
        {"x": "B T embed_dim"},
        {"embed_dim": WIDTH, "hidden_dim": MLP_WIDTH, "dropout": 0.3},
    ),
    Twin(
        "PostNormEncoder",
        "models.attention_is_all_you_need",
        {"x": "B S embed_dim", "source_mask": "source mask"},
        {**_STACK, "num_layers": 2},
    ),
    Twin(
        "PostNormDecoder",
        "models.attention_is_all_you_need",
        {"x": "B T embed_dim", "memory": "B S embed_dim", "source_mask": "source mask"},
        {**_STACK, "num_layers": 2},
    ),
    Twin(
        "PostNormTransformer",
        "models.attention_is_all_you_need",
        {"source": "B S embed_dim", "target": "B T embed_dim", "source_mask": "source mask"},
        _STACK,
    ),
    Twin(
        "PositionedLetters",
        "models.attention_is_all_you_need",
        {"ids": "ids"},
        {"vocabulary_size": VOCABULARY, "embed_dim": WIDTH, "dropout": 0.3},
    ),
    _of_translation("MultiHeadedEncoder", "attention_is_all_you_need", _SOURCE),
    _of_translation("MultiHeadedDecoder", "attention_is_all_you_need", _TARGETS),
    _of_translation("Translator", "translator", _TRANSLATED, "translation"),
    _of_translation(
        "Translator:plain", "translator", _TRANSLATED, "translation", architecture="plain", **_WITHOUT_DROPOUT
    ),
    _of_translation(
        "Translator:additive", "translator", _TRANSLATED, "translation", architecture="additive", **_WITHOUT_DROPOUT
    ),
    _of_translation(
        "Translator:transformer",
        "translator",
        _TRANSLATED,
        "translation",
        architecture="transformer",
        **_WITHOUT_DROPOUT,
    ),
    _of_translation(
        "DecoderOnlyTranslator",
        "transformer_translation",
        {"ids": "ids"},
        "translation",
        architecture="transformer",
        num_layers=2,
        **_WITHOUT_DROPOUT,
    ),
)


def _function(
    name: str,
    inputs: Mapping[str, str],
    module: str = "layers.attention",
    also: tuple[str, ...] = (),
    **arguments: Any,
) -> Twin:
    return Twin(name, module, inputs, arguments, function=True, also=also)


_FUNCTIONS = (
    _function("pairwise_similarities", {"Q": f"B T {WIDTH}", "K": f"B S {WIDTH}"}),
    _function("attn_scaled", {"A": "B T S"}, n_embd=WIDTH, n_heads=HEADS),
    _function("attn_softmax", {"A": "B T S"}, also=_OF_SCORES),
    _function("compute_outputs", {"A": "B T S", "V": f"B S {WIDTH}"}),
    _function("make_causal_mask", {}, n_tok=STEPS),
    _function("apply_causal_mask", {"mask": "causal mask", "A": "B T T"}),
    _function("masked_softmax", {"scores": "B T", "mask": "mask"}, also=_OF_SCORES, axis=1),
    _function("split_heads", {"x": f"B T {WIDTH}"}, n_heads=HEADS),
    _function("merge_heads", {"y": f"B {HEADS} T {HEAD}"}),
    _function("split_heads_qkv", _THREE_WIDE, n_heads=HEADS),
    _function("self_attention", _THREE_WIDE, also=_SATURATED, n_heads=HEADS, causal=True),
    _function("self_attention:not_causal", _THREE_WIDE, n_heads=1, causal=False),
    _function(
        "low_rank_attention",
        {"A": f"B {STEPS} {KEYS}", "V": f"B {KEYS} {WIDTH}"},
        "layers.efficient_attention",
        rank=RANK,
    ),
    _function("projected_attention", _PROJECTED, "layers.efficient_attention", _SATURATED),
    _function("projected_attention:not_normalised", _PROJECTED, "layers.efficient_attention", normalised=False),
    _function("cross_entropy", {"logits": "B num_classes", "labels": "labels"}, "losses", _OF_SCORES),
    _function("cross_entropy:tokens", {"logits": "B T num_classes", "labels": "token labels"}, "losses"),
    _function("contrastive_loss", {"logits": "7 7"}, "models.clip", _OF_SCORES),
    _function("predicted_classes", {"logits": "B num_classes"}, "losses", _OF_SCORES),
    _function("weighted_mean", {"values": "B", "weights": "weights"}, "losses"),
    _function("weighted_mean:tokens", {"values": "B T", "weights": "token weights"}, "losses"),
)

TWINS: dict[str, Twin] = {
    twin.name: twin for twin in (*_LAYERS, *_MODELS, *_LANGUAGE_MODELS, *_TRANSLATION, *_PRETRAINED, *_FUNCTIONS)
}


def find_twin(name: str) -> Twin:
    """The twin with this name; raises IsogradError with the closest names if there is none."""
    check_choice("twin", name, TWINS)
    return TWINS[name]
