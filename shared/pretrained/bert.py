"""BERT, RoBERTa and DistilBERT in transformers: their configs and the names of their weights."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.foreign_tables import Row
from shared.pretrained.family import Family
from shared.pretrained.rows import Rows, modules

LAYER = {
    "attention.self.query": "self_attention.q_proj",
    "attention.self.key": "self_attention.k_proj",
    "attention.self.value": "self_attention.v_proj",
    "attention.output.dense": "self_attention.out_proj",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "activated_mlp.in_proj",
    "output.dense": "activated_mlp.out_proj",
    "output.LayerNorm": "mlp_norm",
}
DISTILLED_LAYER = {
    "attention.q_lin": "self_attention.q_proj",
    "attention.k_lin": "self_attention.k_proj",
    "attention.v_lin": "self_attention.v_proj",
    "attention.out_lin": "self_attention.out_proj",
    "sa_layer_norm": "attention_norm",
    "ffn.lin1": "activated_mlp.in_proj",
    "ffn.lin2": "activated_mlp.out_proj",
    "output_layer_norm": "mlp_norm",
}
TABLES = {"word_embeddings": "token_embedding", "position_embeddings": "position_embedding"}
TYPES = {"token_type_embeddings": "token_type_embedding"}
MASKED = {"cls.predictions.transform.dense": "head", "cls.predictions.transform.LayerNorm": "head_norm"}
MASKED_BY_ROBERTA = {"lm_head.dense": "head", "lm_head.layer_norm": "head_norm"}
MASKED_BY_DISTILBERT = {"vocab_transform": "head", "vocab_layer_norm": "head_norm"}
BY_TANH = {"pooler_activation": "tanh"}
ONE_LABEL = {"problem_type": (None, "single_label_classification")}  # others have another loss
TIED = {"tie_word_embeddings": (True,)}


def _base(layers: str, layer: Mapping[str, str], arguments: Mapping[str, Any], theirs: str, ours: str) -> Rows:
    tables = {**TABLES, **(TYPES if arguments["token_types"] else {})}
    return (
        *modules(tables, f"{theirs}embeddings.", f"{ours}embeddings.", parts=("weight",)),
        *modules({"LayerNorm": "norm"}, f"{theirs}embeddings.", f"{ours}embeddings."),
        *modules(layer, f"{theirs}{layers}.{{}}.", f"{ours}layers.{{}}."),
        *(modules({"pooler.dense": "pooler"}, theirs, ours) if arguments["pooler"] else ()),
    )


def _bert(twin: str, arguments: Mapping[str, Any]) -> Rows:
    if twin == "BertModel":
        return _base("encoder.layer", LAYER, arguments, "", "")
    base = _base("encoder.layer", LAYER, arguments, "bert.", "bert.")
    if twin == "BertForMaskedLM":
        return (*base, *modules(MASKED), Row("cls.predictions.bias", "head_bias"))
    return (*base, *modules({"classifier": "head"}))


def _roberta(twin: str, arguments: Mapping[str, Any]) -> Rows:
    if twin == "BertModel":
        return _base("encoder.layer", LAYER, arguments, "", "")
    base = _base("encoder.layer", LAYER, {**arguments, "pooler": False}, "roberta.", "bert.")
    if twin == "BertForMaskedLM":
        return (*base, *modules(MASKED_BY_ROBERTA), Row("lm_head.bias", "head_bias"))
    return (*base, *modules({"classifier.dense": "bert.pooler", "classifier.out_proj": "head"}))


def _distilbert(twin: str, arguments: Mapping[str, Any]) -> Rows:
    without_pooler = {**arguments, "pooler": False}
    if twin == "BertModel":
        return _base("transformer.layer", DISTILLED_LAYER, without_pooler, "", "")
    base = _base("transformer.layer", DISTILLED_LAYER, without_pooler, "distilbert.", "bert.")
    if twin == "BertForMaskedLM":
        return (*base, *modules(MASKED_BY_DISTILBERT), Row("vocab_projector.bias", "head_bias"))
    return (*base, *modules({"pre_classifier": "bert.pooler", "classifier": "head"}))


BERT = Family(
    model_type="bert",
    architectures={
        "BertModel": "BertModel",
        "BertForMaskedLM": "BertForMaskedLM",
        "BertForPreTraining": "BertForMaskedLM",
        "BertForSequenceClassification": "BertForSentenceClassification",
    },
    fields={
        "vocab_size": ("vocabulary_size", 30522),
        "hidden_size": ("embed_dim", 768),
        "num_hidden_layers": ("num_layers", 12),
        "num_attention_heads": ("num_heads", 12),
        "intermediate_size": ("hidden_dim", 3072),
        "hidden_act": ("activation", "gelu"),
        "hidden_dropout_prob": ("dropout", 0.1),
        "attention_probs_dropout_prob": ("attention_dropout", 0.1),
        "max_position_embeddings": ("sequence_length", 512),
        "type_vocab_size": ("token_types", 2),
        "layer_norm_eps": ("eps", 1e-12),
        "pad_token_id": ("padding_idx", 0),
        "classifier_dropout": ("classifier_dropout", None),
    },
    rows=_bert,
    prefix="bert.",
    fixed={
        "position_embedding_type": ("absolute", None),
        "is_decoder": (False,),
        "add_cross_attention": (False,),
        "pruned_heads": ({}, None),
    },
    fixed_for={
        "BertForMaskedLM": TIED,
        "BertForSentenceClassification": ONE_LABEL,
    },
    own={"positions": "absolute", "dropout_before_pooler": False, **BY_TANH},
    own_for={
        "BertForMaskedLM": {"pooler": False, "head_activation": None},
        "BertForSentenceClassification": {"pooler": True},
    },
    found={"pooler": "pooler.dense.bias"},
    dropped=r"^(cls\.|classifier\.|qa_outputs\.|bert\.pooler\.)",
    tied={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    labels="num_classes",
)
ROBERTA = replace(
    BERT,
    model_type="roberta",
    architectures={
        "RobertaModel": "BertModel",
        "RobertaForMaskedLM": "BertForMaskedLM",
        "RobertaForSequenceClassification": "BertForSentenceClassification",
    },
    fields={**BERT.fields, "vocab_size": ("vocabulary_size", 50265), "pad_token_id": ("padding_idx", 1)},
    rows=_roberta,
    prefix="roberta.",
    own={"positions": "after_padding", **BY_TANH},
    own_for={
        "BertModel": {"dropout_before_pooler": False},
        "BertForMaskedLM": {"pooler": False, "dropout_before_pooler": False, "head_activation": "gelu"},
        "BertForSentenceClassification": {"pooler": True, "dropout_before_pooler": True},
    },
    dropped=r"^(lm_head\.|classifier\.|qa_outputs\.|roberta\.pooler\.)",
    tied={
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
)
DISTILBERT = Family(
    model_type="distilbert",
    architectures={
        "DistilBertModel": "BertModel",
        "DistilBertForMaskedLM": "BertForMaskedLM",
        "DistilBertForSequenceClassification": "BertForSentenceClassification",
    },
    fields={
        "vocab_size": ("vocabulary_size", 30522),
        "dim": ("embed_dim", 768),
        "n_layers": ("num_layers", 6),
        "n_heads": ("num_heads", 12),
        "hidden_dim": ("hidden_dim", 3072),
        "activation": ("activation", "gelu"),
        "dropout": ("dropout", 0.1),
        "attention_dropout": ("attention_dropout", 0.1),
        "max_position_embeddings": ("sequence_length", 512),
        "pad_token_id": ("padding_idx", 0),
        "seq_classif_dropout": ("classifier_dropout", 0.2),
    },
    rows=_distilbert,
    prefix="distilbert.",
    fixed={"pruned_heads": ({}, None), "sinusoidal_pos_embds": (False, True)},  # a file holds the sinusoids themselves
    fixed_for={"BertForMaskedLM": TIED, "BertForSentenceClassification": ONE_LABEL},
    own={"positions": "absolute", "token_types": 0, "eps": 1e-12, "dropout_before_pooler": False},
    own_for={
        "BertModel": {"pooler": False, **BY_TANH},
        "BertForMaskedLM": {"pooler": False, "head_activation": None, **BY_TANH},
        "BertForSentenceClassification": {"pooler": True, "pooler_activation": "relu"},
    },
    tied={"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"},
    dropped=r"^(vocab_|pre_classifier\.|classifier\.|qa_outputs\.)",
    labels="num_classes",
)
