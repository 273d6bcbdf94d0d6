"""Models from folders of Hugging Face, and folders from models. Twin: torch_impl/pretrained.py."""

from pathlib import Path
from typing import Any

from flax import nnx

from jax_impl.build import empty_twin
from jax_impl.weights import load_arrays, to_arrays
from shared.errors import IsogradError
from shared.lazy.arrays import lazy
from shared.pretrained.folder import Pretrained, cast, write_folder
from shared.process import without_collection
from shared.registry import TWINS


def from_pretrained(folder: str | Path, *, dtype: str | None = "float32", twin: str | None = None) -> nnx.Module:
    """The model of a folder with config.json and its weights: BERT, RoBERTa, DistilBERT, GPT-2 or CLIP.

    `dtype` None keeps that of the file. `twin` chooses another model than the config names, such as "BertModel" for
    the encoder of a model with a head. Raises IsogradError for anything that is missing, damaged or not supported.
    """
    with without_collection():
        found = Pretrained(Path(folder), twin)
        module = empty_twin(TWINS[found.twin], found.arguments)
        load_arrays(module, cast(found.arrays, dtype))
        module.eval()
        return module


def save_pretrained(module: nnx.Module, folder: str | Path) -> None:
    """Write config.json and model.safetensors, which transformers loads without a warning.

    Raises IsogradError if transformers has no such model.
    """
    write_folder(Path(folder), type(module).__name__, _arguments(module), lazy(to_arrays(module)))


def _arguments(module: nnx.Module) -> dict[str, Any]:
    if not hasattr(module, "config"):
        raise IsogradError(f"transformers has no model for {type(module).__name__}")
    return vars(module.config)
