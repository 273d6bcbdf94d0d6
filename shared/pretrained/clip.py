"""CLIP in transformers: its config and the names of its weights."""

from collections.abc import Mapping
from typing import Any

from shared.foreign_tables import Row
from shared.pretrained.family import Family
from shared.pretrained.rows import Rows, modules

LAYER = {
    **{f"self_attn.{name}": f"self_attention.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")},
    "layer_norm1": "attention_norm",
    "mlp.fc1": "activated_mlp.in_proj",
    "mlp.fc2": "activated_mlp.out_proj",
    "layer_norm2": "mlp_norm",
}
TEXTS, IMAGES = "text_model.", "vision_model."


def _clip(twin: str, arguments: Mapping[str, Any]) -> Rows:
    tables = {"token_embedding": "token_embedding", "position_embedding": "position_embedding"}
    patches = {"patch_embedding": "patch_embedding", "position_embedding": "position_embedding"}
    projections = {"text_projection": "text_projection", "visual_projection": "visual_projection"}
    return (
        *modules(tables, f"{TEXTS}embeddings.", "text.", parts=("weight",)),
        *modules(LAYER, f"{TEXTS}encoder.layers.{{}}.", "text.layers.{}."),
        *modules({"final_layer_norm": "norm"}, TEXTS, "text."),
        Row(f"{IMAGES}embeddings.class_embedding", "vision.class_embedding"),
        *modules(patches, f"{IMAGES}embeddings.", "vision.", parts=("weight",)),
        *modules({"pre_layrnorm": "input_norm"}, IMAGES, "vision."),
        *modules(LAYER, f"{IMAGES}encoder.layers.{{}}.", "vision.layers.{}."),
        *modules({"post_layernorm": "norm"}, IMAGES, "vision."),
        *modules(projections, parts=("weight",)),
        Row("logit_scale", "logit_scale"),
    )


def _tower(config: str, ours: str, defaults: tuple[int, int, int]) -> dict[str, tuple[str, Any]]:
    width, heads, hidden = defaults
    return {
        f"{config}.hidden_size": (f"{ours}_embed_dim", width),
        f"{config}.num_attention_heads": (f"{ours}_num_heads", heads),
        f"{config}.num_hidden_layers": (f"{ours}_num_layers", 12),
        f"{config}.intermediate_size": (f"{ours}_hidden_dim", hidden),
        f"{config}.hidden_act": (f"{ours}_activation", "quick_gelu"),
        f"{config}.attention_dropout": (f"{ours}_attention_dropout", 0.0),
        f"{config}.layer_norm_eps": (f"{ours}_eps", 1e-5),
    }


CLIP = Family(
    model_type="clip",
    architectures={"CLIPModel": "CLIPModel"},
    fields={
        **_tower("text_config", "text", (512, 8, 2048)),
        "text_config.vocab_size": ("vocabulary_size", 49408),
        "text_config.max_position_embeddings": ("sequence_length", 77),
        "text_config.eos_token_id": ("end_token", 49407),
        **_tower("vision_config", "vision", (768, 12, 3072)),
        "vision_config.image_size": ("image_size", 224),
        "vision_config.patch_size": ("patch_size", 32),
        "vision_config.num_channels": ("channels", 3),
        "projection_dim": ("projection_dim", 512),
    },
    rows=_clip,
    prefix="clip.",
    fixed={"pruned_heads": ({}, None)},
    translated={"text_config.eos_token_id": {2: None}},  # the first checkpoints: the token with the highest id
    ends={"text_config.bos_token_id": 49406},
    nested=("text_config", "vision_config"),
)
