"""Weights of a module as numpy arrays with canonical names and layouts, and back, to the byte.
Twin: torch_impl/weights.py.
"""

from collections.abc import Mapping

import jax
import numpy as np
from flax import nnx
from jax import Array

from shared.arrays import fill
from shared.errors import WeightsError
from shared.lazy.arrays import LazyArray
from shared.lazy.begun import begun
from shared.weight_rules import canonical_name, canonical_shape, check_arrays, from_canonical, to_canonical

ALIGNMENT = 64  # bytes


def to_arrays(module: nnx.Module) -> dict[str, np.ndarray]:
    """Every parameter under its canonical name, in its own dtype; a copy."""
    return {canonical_name(path): to_canonical(path, to_numpy(value)) for path, value in _parameters(module)}


def load_arrays(module: nnx.Module, arrays: Mapping[str, np.ndarray | LazyArray]) -> None:
    """Replace every parameter with the array of its name, which keeps its dtype.

    Raises one WeightsError that lists every name that is missing, unused, misshapen or not of floats; the module is
    then unchanged.
    """
    check_arrays(parameter_shapes(module), arrays, type(module).__name__)
    state = nnx.state(module, nnx.Param)
    variables = dict(nnx.to_flat_state(state))
    with begun(_turned, {path: arrays[canonical_name(path)] for path in variables}) as copies:
        for path, variable in variables.items():
            variable.set_value(_placed(copies.pop(path).result()))
    nnx.update(module, state)


def parameter_shapes(module: nnx.Module) -> dict[str, tuple[int, ...]]:
    """Canonical name -> canonical shape of every parameter."""
    return {canonical_name(path): canonical_shape(path, value.shape) for path, value in _parameters(module)}


def to_numpy(tensor: Array) -> np.ndarray:
    """A copy on the host; bfloat16 stays bfloat16 (numpy's from ml_dtypes)."""
    return np.array(tensor)


def to_tensor(array: np.ndarray, device: jax.Device | None = None) -> Array:
    """A jax array that shares no memory with the array; bfloat16 stays bfloat16, float64 needs x64 on."""
    return _placed(_copied(array), device)


def _turned(path: tuple[str | int, ...], array: np.ndarray) -> np.ndarray:
    return _copied(from_canonical(path, array))


def _placed(copy: np.ndarray, device: jax.Device | None = None) -> Array:
    """On a CPU the memory of the copy itself."""
    if copy.dtype.itemsize == 8 and not jax.config.jax_enable_x64:
        raise WeightsError(
            f"JAX would silently turn {copy.dtype} weights into 32 bits: call "
            'jax.config.update("jax_enable_x64", True) first, or cast the arrays to float32'
        )
    return jax.device_put(copy, device)


def _copied(array: np.ndarray) -> np.ndarray:
    """A copy in C order where JAX on a CPU takes it over as it is."""
    memory = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    fill(copy, array)
    return copy


def _parameters(module: nnx.Module) -> list[tuple[tuple[str | int, ...], Array | jax.ShapeDtypeStruct]]:
    return [(path, variable.get_value()) for path, variable in nnx.to_flat_state(nnx.state(module, nnx.Param))]
