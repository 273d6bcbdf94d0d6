"""Checkpoints of the Flax models of transformers 4, written by it in a process of its own: see `make ports`.

`python old_flax.py FOLDER` writes a folder for each model, in float64, with inputs and outputs in outputs.npz.
"""

import sys
from pathlib import Path

import numpy as np

LENGTH, ROWS, VOCABULARY, SIZE, CHANNELS = 7, 3, 37, 10, 3
STACK = {"num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 14}
TEXT = {**STACK, "hidden_size": 15, "vocab_size": VOCABULARY, "max_position_embeddings": 19}
GPT2 = {"n_embd": 15, "n_layer": 2, "n_head": 3, "vocab_size": VOCABULARY, "n_positions": 19}
DISTILLED = {"dim": 15, "n_layers": 2, "n_heads": 3, "hidden_dim": 14, "vocab_size": VOCABULARY}
IMAGE = {**STACK, "hidden_size": 21, "image_size": SIZE, "patch_size": 3}
MODELS = {  # a class of transformers -> (the class of its config, sizes, the output that is compared)
    "BertModel": ("BertConfig", {**TEXT, "type_vocab_size": 3}, "pooler_output"),
    "BertForMaskedLM": ("BertConfig", {**TEXT, "type_vocab_size": 3}, "logits"),
    "BertForSequenceClassification": ("BertConfig", {**TEXT, "num_labels": 5}, "logits"),
    "RobertaModel": ("RobertaConfig", TEXT, "pooler_output"),
    "RobertaForMaskedLM": ("RobertaConfig", TEXT, "logits"),
    "DistilBertModel": ("DistilBertConfig", {**DISTILLED, "max_position_embeddings": 19}, "last_hidden_state"),
    "GPT2LMHeadModel": ("GPT2Config", {**GPT2, "use_cache": False}, "logits"),
    "CLIPModel": (
        "CLIPConfig",
        {"text_config": {**TEXT, "eos_token_id": 5}, "vision_config": IMAGE, "projection_dim": 11},
        "logits_per_image",
    ),
}


def inputs(name: str) -> dict[str, np.ndarray]:
    """Ids, a mask of padding, and images for CLIP, channels first."""
    random = np.random.default_rng(0)
    mask = np.ones((ROWS, LENGTH), np.int64)
    mask[0, 4:] = 0
    found = {"input_ids": random.integers(6, VOCABULARY, (ROWS, LENGTH)), "attention_mask": mask}
    if name == "CLIPModel":
        found["input_ids"][:, 3] = 5  # where a text is read
        found["pixel_values"] = random.normal(size=(ROWS, CHANNELS, SIZE, SIZE))
    return found


def write(folder: Path) -> None:
    """Every model with random weights, norms included, and what it makes of its inputs."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import transformers

    for name, (config, sizes, output) in MODELS.items():
        made = getattr(transformers, config)(**sizes)
        model = getattr(transformers, f"Flax{name}")(made, dtype=jax.numpy.float64)
        random = np.random.default_rng(1)
        model.params = jax.tree.map(lambda array, draw=random: draw.normal(size=array.shape) / 3, model.params)
        given = inputs(name)
        found = model(**given)[output]
        model.save_pretrained(folder / name)
        np.savez(folder / name / "outputs.npz", output=np.asarray(found))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
