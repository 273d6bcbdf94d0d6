"""Weights of a module as numpy arrays with canonical names and layouts, and back, to the byte.
Twin: jax_impl/weights.py.
"""

from collections.abc import Mapping

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn

from shared.arrays import fill
from shared.lazy.arrays import LazyArray
from shared.weight_rules import check_arrays


def to_arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """Every parameter under its canonical name, in its own dtype; a copy."""
    return {name: to_numpy(parameter) for name, parameter in module.named_parameters()}


def load_arrays(module: nn.Module, arrays: Mapping[str, np.ndarray | LazyArray]) -> None:
    """Replace every parameter with the array of its name, which keeps its dtype.

    Raises one WeightsError that lists every name that is missing, unused, misshapen or not of floats; the module is
    then unchanged.
    """
    check_arrays(parameter_shapes(module), arrays, type(module).__name__)
    for name, parameter in module.named_parameters():
        parameter.data = to_tensor(np.asarray(arrays[name]), parameter.device)


def parameter_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Canonical name -> canonical shape of every parameter."""
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A copy on the host; bfloat16 stays bfloat16 (numpy's from ml_dtypes)."""
    host = tensor.detach().to("cpu").contiguous()
    if host.dtype == torch.bfloat16:
        return host.view(torch.int16).numpy().copy().view(ml_dtypes.bfloat16)
    return host.numpy().copy()


def to_tensor(array: np.ndarray, device: torch.device | str | None = None) -> Tensor:
    """A tensor that shares no memory with the array; bfloat16 stays bfloat16."""
    copy = np.empty(array.shape, array.dtype)
    fill(copy, array)
    if copy.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16).to(device=device)
    return torch.from_numpy(copy).to(device=device)
