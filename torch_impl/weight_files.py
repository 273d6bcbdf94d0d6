"""Weights in PyTorch's own files, as canonical arrays, and back, to the byte. Twin: jax_impl/weight_files.py.

A file is a plain `state_dict`, as `torch.save(module.state_dict(), path)` writes it.
"""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shared.atomic import new_file
from shared.errors import IsogradError
from shared.weight_rules import check_names
from torch_impl.weights import parameter_shapes, to_numpy, to_tensor

READABLE = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
}
ZIP = b"PK"  # the start of a file, unless it is an old one
WRAPPERS = ("module.", "_orig_mod.")  # what DistributedDataParallel and torch.compile put before every name


def read_weights(path: str | Path, module: nn.Module) -> dict[str, np.ndarray]:
    """The canonical arrays of a file that fits `module` (an abstract one will do); no pickled code is ever run.

    Raises IsogradError if the file is missing, damaged, foreign or dangerous, WeightsError if its weights do not fit.
    """
    tensors = _unwrapped(_state_dict(Path(path)))
    check_names(parameter_shapes(module), tensors, type(module).__name__)
    return {name: to_numpy(tensors[name]) for name in parameter_shapes(module)}


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Every array of a file under its own name, in the layout of the file; no pickled code is ever run."""
    return {name: to_numpy(tensor) for name, tensor in _unwrapped(_state_dict(Path(path))).items()}


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Metadata of the file: none, since a plain state dict has no place for any."""
    return {}


def write_weights(
    path: str | Path, arrays: Mapping[str, np.ndarray], module: nn.Module, metadata: Mapping[str, Any]
) -> None:
    """Write the canonical arrays of `module` atomically; the metadata is left out, a plain state dict stays plain.

    Raises WeightsError if the arrays do not fit, IsogradError if the disk is full.
    """
    shapes = parameter_shapes(module)
    check_names(shapes, arrays, type(module).__name__)
    write_tensors(path, {name: arrays[name] for name in shapes})


def write_tensors(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write any arrays by their names, atomically; raises IsogradError if the disk is full."""
    with new_file(path) as temporary, temporary.open("wb") as file:  # of a path, torch hides why it can't be written
        try:
            torch.save({name: to_tensor(array) for name, array in arrays.items()}, file)
        except RuntimeError as error:  # what torch makes of the system's error, such as a full disk
            reason = error.__context__
            raise reason if isinstance(reason, OSError) else OSError(str(error).partition("\n")[0]) from None


def _state_dict(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise IsogradError(f"can't read {path}: expected a torch state dict file, there is none")
    _check_sums(path)
    try:
        # the warnings are of old protocols, whose losses are errors anyway; of a path, torch.load trusts the suffix
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise IsogradError(
            f"refused to read {path}: it is damaged or holds more than tensors, which could run code when loaded: "
            "expected a file written by torch.save(module.state_dict(), path)"
        ) from error
    except Exception as error:  # damaged bytes end in errors of many kinds, struct.error among them
        reason = str(error).partition("\n")[0]
        raise IsogradError(f"can't read {path} as a torch state dict, it is truncated or foreign: {reason}") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    return _only_tensors(path, content)


def _check_sums(path: Path) -> None:
    """Raise IsogradError if a part of the file does not have its checksum, which `torch.load` ignores.

    An old file, no zip, has none; in one that was written with `set_crc32_options(False)`, all are 0.
    """
    with path.open("rb") as file:
        if file.read(len(ZIP)) != ZIP:
            return
    try:
        with zipfile.ZipFile(path) as parts:
            has_sums = any(part.CRC for part in parts.infolist())
            changed = parts.testzip() if has_sums else None
    except Exception as error:  # damaged bytes end in errors of many kinds
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise IsogradError(f"{path} is damaged: {reason}: write it again from its source") from error
    if changed is not None:
        raise IsogradError(
            f"{path} is damaged: its part {changed} changed since it was written: write it again from its source"
        )


def _only_tensors(path: Path, content: Any) -> Mapping[str, Tensor]:
    entries = content if isinstance(content, Mapping) else {"the whole file": content}
    others = [str(name) for name, value in entries.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others:
        raise IsogradError(
            f"{path} is not a plain state dict: expected tensors by name, got something else at {', '.join(others)}: "
            "save module.state_dict() alone"
        )
    if unusual := [f"{name} ({kind})" for name, tensor in entries.items() if (kind := _unusual(tensor))]:
        raise IsogradError(f"can't read {path}: expected dense tensors with their numbers, got {', '.join(unusual)}")
    return entries


def _unusual(tensor: Tensor) -> str:
    """Why a tensor can't become an array; empty if it can."""
    if tensor.layout is not torch.strided or tensor.is_nested:
        return "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
    if tensor.is_meta or tensor.is_quantized:
        return "without numbers, on the device meta" if tensor.is_meta else "quantised"
    return "" if tensor.dtype in READABLE else str(tensor.dtype).removeprefix("torch.")


def _unwrapped(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    for wrapper in WRAPPERS * 2:
        if tensors and all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return tensors
