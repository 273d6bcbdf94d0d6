"""Small models of transformers with random weights of the sizes that a test draws, in folders."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers

SIZES = {
    "vocab_size": 37,
    "hidden_size": 15,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 14,
    "max_position_embeddings": 19,
    "type_vocab_size": 3,
}
DISTILLED = {"vocab_size": 37, "dim": 15, "n_layers": 2, "n_heads": 3, "hidden_dim": 14, "max_position_embeddings": 19}
GPT_SIZES = {"vocab_size": 37, "n_positions": 19, "n_embd": 15, "n_layer": 2, "n_head": 3}
TEXTS = {name: size for name, size in SIZES.items() if name != "type_vocab_size"}
IMAGES = {**{name: TEXTS[name] for name in list(TEXTS)[2:5]}, "hidden_size": 21, "image_size": 10, "patch_size": 3}
CLIP_SIZES = {"text_config": {**TEXTS, "eos_token_id": 5}, "vision_config": IMAGES, "projection_dim": 11}
MODELS = {  # a class of transformers -> (its config, sizes)
    "BertModel": ("BertConfig", SIZES),
    "BertForSequenceClassification": ("BertConfig", {**SIZES, "num_labels": 5}),
    "BertForMaskedLM": ("BertConfig", SIZES),
    "RobertaModel": ("RobertaConfig", SIZES),
    "RobertaForMaskedLM": ("RobertaConfig", SIZES),
    "RobertaForSequenceClassification": ("RobertaConfig", {**SIZES, "num_labels": 5}),
    "DistilBertModel": ("DistilBertConfig", DISTILLED),
    "DistilBertForMaskedLM": ("DistilBertConfig", DISTILLED),
    "DistilBertForSequenceClassification": ("DistilBertConfig", {**DISTILLED, "num_labels": 5}),
    "GPT2LMHeadModel": ("GPT2Config", GPT_SIZES),
    "CLIPModel": ("CLIPConfig", CLIP_SIZES),
}
CHUNKED = ("bert", "roberta", "distilbert")


def model_of_transformers(name: str, seed: int = 0, **changes: Any) -> torch.nn.Module:
    """A model in float64 with normal weights, so that no norm and no bias is trivial."""
    config, sizes = MODELS[name]
    made = getattr(transformers, config)(**{**sizes, **changes}, attn_implementation="eager")
    model = getattr(transformers, name)(made).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 3)
    return model


def folder_of_transformers(folder: Path, name: str, seed: int = 0, **changes: Any) -> torch.nn.Module:
    """The same model, saved to a folder."""
    model = model_of_transformers(name, seed, **changes)
    model.save_pretrained(folder)
    return model


@contextmanager
def as_published() -> Iterator[None]:
    """Transformers without a cast of CLIP's softmax to float32 in every dtype, and without chunks of a forward pass.

    The latter counts the arguments of methods, which a recording wraps.
    """
    softmax = F.softmax
    F.softmax = lambda x, dim, dtype=None, **rest: softmax(x, dim=dim)
    chunking = [importlib.import_module(f"transformers.models.{name}.modeling_{name}") for name in CHUNKED]
    whole = [module.apply_chunking_to_forward for module in chunking]
    for module in chunking:
        module.apply_chunking_to_forward = lambda function, size, axis, *inputs: function(*inputs)
    try:
        yield
    finally:
        F.softmax = softmax
        for module, function in zip(chunking, whole, strict=True):
            module.apply_chunking_to_forward = function
