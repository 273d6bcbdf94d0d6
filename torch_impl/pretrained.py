"""Models from folders of Hugging Face, and folders from models. Twin: jax_impl/pretrained.py."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn

from shared.errors import IsogradError
from shared.lazy.arrays import LazyArrays, lazy
from shared.lazy.begun import begun
from shared.pretrained.folder import Pretrained, cast, write_folder
from shared.process import without_collection
from shared.registry import TWINS
from shared.weight_rules import check_arrays
from torch_impl.build import build_twin
from torch_impl.weight_files import read_tensors
from torch_impl.weights import parameter_shapes, to_arrays, to_tensor


def from_pretrained(folder: str | Path, *, dtype: str | None = "float32", twin: str | None = None) -> nn.Module:
    """The model of a folder with config.json and its weights: BERT, RoBERTa, DistilBERT, GPT-2 or CLIP.

    `dtype` None keeps that of the file. `twin` chooses another model than the config names, such as "BertModel" for
    the encoder of a model with a head. Raises IsogradError for anything that is missing, damaged or not supported.
    """
    with without_collection():
        found = Pretrained(Path(folder), twin, _read_pickled)
        arrays = cast(found.arrays, dtype)
        pages = {name: _of_pages(array.mapped()) for name, array in arrays.items() if array.mapped is not None}
        with begun(_copied, {name: array for name, array in arrays.items() if name not in pages}) as copies:
            module = build_twin(TWINS[found.twin], found.arguments, abstract=True)  # meanwhile
            check_arrays(parameter_shapes(module), arrays, found.twin)
            for path, owner in module.named_modules():
                for own_name in owner._parameters:
                    name = f"{path}.{own_name}" if path else own_name
                    tensor = pages[name] if name in pages else copies.pop(name).result()
                    owner._parameters[own_name] = nn.Parameter(tensor)
        return module.eval()


def _copied(name: str, array: np.ndarray) -> Tensor:
    return to_tensor(array)


def _of_pages(array: np.ndarray) -> Tensor:
    """A tensor in the memory of the array itself."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


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
