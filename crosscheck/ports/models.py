"""The models that are compared: the public Flax ports of transformers 4, small and with random weights."""

from typing import Any

import numpy as np

from crosscheck.ports.model import BATCH, CHANNELS, DECODER, LENGTH, SIZE, VOCABULARY, Model

WIDTH, LAYERS, HEADS, INNER, POSITIONS, KV_HEADS = 24, 2, 3, 22, 19, 1
STACK = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER}
TEXT = STACK | {"vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "initializer_range": 0.3}
ROTARY = TEXT | {"num_key_value_heads": KV_HEADS, "use_cache": False, "pad_token_id": 0}
IMAGE = STACK | {"image_size": SIZE, "patch_size": SIZE // 2, "num_channels": CHANNELS, "initializer_range": 0.3}
GPT2 = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "vocab_size": VOCABULARY, "n_positions": POSITIONS}
NEO = {
    "hidden_size": WIDTH,
    "num_layers": LAYERS,
    "num_heads": HEADS,
    "intermediate_size": INNER,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": POSITIONS,
    "attention_types": [[["global", "local"], 1]],
    "window_size": LENGTH // 2,
    "use_cache": False,
}
DISTIL = {
    "dim": WIDTH,
    "n_layers": LAYERS,
    "n_heads": HEADS,
    "hidden_dim": INNER,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": POSITIONS,
}
ENCODER = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
GEMMA = {"head_dim": 8, "hidden_activation": "gelu_pytorch_tanh"}  # without it, Flax takes no other for a choice
ANGLES = "float32"  # of the tables that both sides keep
HEAD: dict[str, Any] = {"head_mask": None}
SMALL_PADDING = {"pad_token_id": 1}
SINUSOIDS: dict[str, str | None] = {r"^encoder\.embed_positions\.": None}

ROWS = (
    Model("bert", "bert", "BertModel", TEXT, ENCODER, of_jax=HEAD),
    Model("roberta", "roberta", "RobertaModel", TEXT | SMALL_PADDING, ENCODER, of_jax=HEAD),
    Model("electra", "electra", "ElectraModel", TEXT | {"embedding_size": WIDTH}, ENCODER, of_jax=HEAD),
    Model("albert", "albert", "AlbertModel", TEXT | {"embedding_size": WIDTH - 7}, ENCODER),
    Model("roformer", "roformer", "RoFormerModel", TEXT, ENCODER[:3], of_jax=HEAD, rules=SINUSOIDS, dtype=ANGLES),
    Model("distilbert", "distilbert", "DistilBertModel", DISTIL, ENCODER[:2]),
    Model("gpt2", "gpt2", "GPT2Model", GPT2 | {"use_cache": False}, DECODER),
    Model("gpt-neo", "gpt_neo", "GPTNeoModel", NEO, DECODER),
    Model("gpt-j", "gptj", "GPTJModel", GPT2 | {"rotary_dim": 4, "use_cache": False}, DECODER, dtype=ANGLES),
    Model("llama", "llama", "LlamaModel", ROTARY, DECODER, dtype=ANGLES),
    Model("mistral", "mistral", "MistralModel", ROTARY | {"sliding_window": POSITIONS}, DECODER, dtype=ANGLES),
    Model("gemma", "gemma", "GemmaModel", ROTARY | GEMMA, DECODER, dtype=ANGLES),
    Model("clip-text", "clip", "CLIPTextModel", TEXT | {"eos_token_id": 2}, DECODER),
    Model("clip-vision", "clip", "CLIPVisionModel", IMAGE, ("pixel_values",)),
    Model("vit", "vit", "ViTModel", IMAGE, ("pixel_values",)),
    Model("dinov2", "dinov2", "Dinov2Model", IMAGE | {"mlp_ratio": 2}, ("pixel_values",)),
)
BUGS = (
    Model(
        "mistral-no-window",
        "mistral",
        "MistralModel",
        ROTARY | {"sliding_window": None},
        DECODER,
        dtype=ANGLES,
        bug="without a sliding window every token of the Flax side sees itself alone",
    ),
    Model(
        "roberta-padding-row",
        "roberta",
        "RobertaModel",
        TEXT | SMALL_PADDING,
        ENCODER,
        given={"position_ids": np.broadcast_to(np.arange(LENGTH), (BATCH, LENGTH)).copy()},
        of_jax=HEAD,
        bug="the Flax side trains the embedding of the padding position, torch does not",
    ),
)
MODELS = {row.name: row for row in (*ROWS, *BUGS)}
