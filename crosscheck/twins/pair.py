"""Builds both twins of a registry entry with equal weights."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import ml_dtypes  # noqa: F401  (registers bfloat16 with numpy)
import numpy as np
import torch

import jax_impl
import torch_impl
from crosscheck.recording.nesting import is_float
from jax_impl import build as jax_build
from jax_impl import weights as jax_weights
from shared.example_inputs import Inputs, example_inputs
from shared.initial_weights import initial_weights
from shared.registry import Twin, find_twin
from torch_impl import build as torch_build
from torch_impl import weights as torch_weights

SIDES: dict[str, tuple[Any, Any, Any]] = {
    "torch": (torch_impl, torch_build, torch_weights),
    "jax": (jax_impl, jax_build, jax_weights),
}


@dataclass(frozen=True)
class Pair:
    """Two modules (or functions) with equal weights, and numpy example inputs by argument name."""

    name: str
    torch: Any
    jax: Any
    inputs: Inputs


def build_pair(
    twin_name: str, *, dtype: str = "float64", seed: int = 0, case: str = "odd_sizes", device: str = "cpu"
) -> Pair:
    """Both twins of a registry entry, with weights drawn by (seed, parameter name).

    float64 turns on JAX's x64 mode for the process, since JAX has no float64 otherwise.
    """
    twin = find_twin(twin_name)
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    inputs = {
        name: array.astype(dtype) if is_float(array.dtype) else array
        for name, array in example_inputs(twin, case, seed).items()
    }
    make = _functions if twin.function else _modules
    torch_side, jax_side = make(twin, seed, np.dtype(dtype), device)
    return Pair(twin.name, torch_side, jax_side, inputs)


def build_side(side: str, twin_name: str, weights: Mapping[str, np.ndarray], *, device: str = "cpu") -> Any:
    """One side of a pair ("torch" or "jax"), with these weights."""
    twin = find_twin(twin_name)
    package, build, loading = SIDES[side]
    if twin.function:
        return functools.partial(getattr(package, twin.public_name), **twin.arguments)
    module = build.empty_twin(twin, twin.arguments, device)
    with jax.default_device(jax.devices(device)[0]):
        loading.load_arrays(module, weights)
    return module


def _functions(twin: Twin, seed: int, dtype: np.dtype, device: str) -> tuple[Any, Any]:
    sides = (getattr(package, twin.public_name) for package in (torch_impl, jax_impl))
    torch_function, jax_function = (functools.partial(side, **twin.arguments) for side in sides)
    return torch_function, jax_function


def _modules(twin: Twin, seed: int, dtype: np.dtype, device: str) -> tuple[Any, Any]:
    torch_module = torch_build.empty_twin(twin, twin.arguments, device)
    jax_module = jax_build.empty_twin(twin, twin.arguments, device)
    weights = _weights(torch_module, seed, dtype)
    torch_weights.load_arrays(torch_module, weights)
    with jax.default_device(jax.devices(device)[0]):
        jax_weights.load_arrays(jax_module, weights)
    return torch_module, jax_module


def _weights(module: torch.nn.Module, seed: int, dtype: np.dtype) -> dict[str, np.ndarray]:
    """Randomly perturbed initial weights, so that no norm weight is 1 and no bias 0, where a fault could hide.

    A single number stands for all of its kind, so it is moved far: CLIP's scale beyond 100.
    """
    shapes = torch_weights.parameter_shapes(module)
    drawn = initial_weights(shapes, seed, np.float64)
    generator = np.random.default_rng([seed, len(shapes)])
    return {
        name: np.asarray(array + (0.1 * generator.standard_normal(array.shape) if array.ndim else 2.0), dtype)
        for name, array in drawn.items()
    }
