"""Models from folders of Hugging Face, and folders from models. Twin: jax_impl/pretrained.py."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from shared.errors import IsogradError
from shared.lazy.arrays import LazyArrays, lazy
from shared.lazy.begun import begun
from shared.pretrained.folder import Pretrained, cast, write_folder
from shared.registry import TWINS
from shared.weight_rules import check_arrays
from torch_impl.build import empty_twin
from torch_impl.weight_files import read_tensors
from torch_impl.weights import parameter_shapes, to_arrays, to_tensor


def from_pretrained(folder: str | Path, *, dtype: str | None = "float32", twin: str | None = None) -> nn.Module:
    """The model of a folder with config.json and its weights: BERT, RoBERTa, DistilBERT, GPT-2 or CLIP.

    `dtype` None keeps that of the file. `twin` chooses another model than the config names, such as "BertModel" for
    the encoder of a model with a head. Raises IsogradError for anything that is missing, damaged or not supported.
    """
    found = Pretrained(Path(folder), twin, _read_pickled)
    with begun(_copied, cast(found.arrays, dtype)) as tensors:  # while the module is built
        module = empty_twin(TWINS[found.twin], found.arguments)
        check_arrays(parameter_shapes(module), found.arrays, found.twin)
        for name, parameter in module.named_parameters():
            parameter.data = tensors.pop(name).result()
    return module.eval()


def _copied(name: str, array: np.ndarray) -> Tensor:
    return to_tensor(array)


def save_pretrained(module: nn.Module, folder: str | Path) -> None:
    """Write config.json and model.safetensors, which transformers loads without a warning.

    Raises IsogradError if transformers has no such model.
    """
    write_folder(Path(folder), type(module).__name__, _arguments(module), lazy(to_arrays(module)))


def _arguments(module: nn.Module) -> dict[str, Any]:
    if not hasattr(module, "config"):
        raise IsogradError(f"transformers has no model for {type(module).__name__}")
    return vars(module.config)


def _read_pickled(path: Path) -> LazyArrays:
    return lazy(read_tensors(path))
