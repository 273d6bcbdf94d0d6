"""GPT-2 in transformers: its config and the names of its weights."""

from collections.abc import Mapping
from typing import Any

from shared.foreign_tables import LAYOUTS
from shared.pretrained.family import Family
from shared.pretrained.rows import Rows

NAME = "transformers.GPT2LMHeadModel"


def _gpt2(twin: str, arguments: Mapping[str, Any]) -> Rows:
    return LAYOUTS[NAME if arguments["tied"] else f"{NAME}(tie_word_embeddings=False)"]


GPT2 = Family(
    model_type="gpt2",
    architectures={"GPT2LMHeadModel": "GPT", "GPT2Model": "GPT"},
    fields={
        "vocab_size": ("vocabulary_size", 50257),
        "n_positions": ("sequence_length", 1024),
        "n_embd": ("embed_dim", 768),
        "n_head": ("num_heads", 12),
        "n_layer": ("num_layers", 12),
        "n_inner": ("hidden_dim", None),
        "resid_pdrop": ("dropout", 0.1),
        "embd_pdrop": ("dropout", 0.1),
        "attn_pdrop": ("dropout", 0.1),
        "tie_word_embeddings": ("tied", True),
    },
    rows=_gpt2,
    prefix="transformer.",
    fixed={
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "layer_norm_epsilon": (1e-5,),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "reorder_and_upcast_attn": (False,),
        "add_cross_attention": (False,),
        "pruned_heads": ({}, None),
    },
    own={"attention": "softmax"},
    ends={"bos_token_id": 50256, "eos_token_id": 50256},
    tied={"lm_head.weight": "transformer.wte.weight"},
)
