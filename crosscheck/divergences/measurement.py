"""Helpers shared by the catalogue's measurements: seeded inputs, loaded layers, the size of a gap."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from crosscheck.recording.precision import full_precision

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@contextmanager
def measurement() -> Iterator[None]:
    """Allow float64, use full float32 products, seed torch's CPU generator; restores everything afterwards."""
    with full_precision(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


def draw(*shape: int, mean: float = 0.0, std: float = 1.0, seed: int = 0) -> np.ndarray:
    """Normal float64 numbers from a fixed seed."""
    return np.random.default_rng(seed).normal(mean, std, shape)


def load(module: ModuleT, arrays: Mapping[str, np.ndarray]) -> ModuleT:
    """The torch module in float64 with these weights."""
    module = module.double()
    module.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    return module


def as_float64(array: Tensor | ArrayLike) -> np.ndarray:
    """A tensor or array of either framework, in float64."""
    if isinstance(array, Tensor):
        array = array.detach().cpu().double().numpy()
    return np.asarray(array, np.float64)


def largest_gap(ours: Tensor | ArrayLike, theirs: Tensor | ArrayLike) -> float:
    """The largest absolute difference; NaN if either side has one."""
    a, b = as_float64(ours), as_float64(theirs)
    if a.shape != b.shape:  # broadcasting would hide a mismatch
        raise ValueError(f"expected two arrays of the same shape, got {a.shape} and {b.shape}")
    return float(np.abs(a - b).max())


def relative_gap(array: Tensor | ArrayLike, exact: Tensor | ArrayLike) -> float:
    """The L2 norm of the difference relative to that of `exact`."""
    return float(np.linalg.norm(as_float64(array) - as_float64(exact)) / np.linalg.norm(as_float64(exact)))
