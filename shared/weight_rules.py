"""Weight rules: how a JAX parameter's path and axes become PyTorch's canonical name and layout, and back.

Rules only rename and permute, so one table serves weights, gradients and optimiser moments, and its inverse is free.
"""

from collections.abc import Iterable, Mapping

import ml_dtypes
import numpy as np

from shared.errors import WeightsError
from shared.lazy.arrays import LazyArrays

LAST_PART = {"kernel": "weight", "embedding": "weight", "scale": "weight"}  # Flax's word -> PyTorch's; others stay
KERNEL_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1), 5: (4, 3, 0, 1, 2)}  # (in, out) -> (out, in); HWIO -> OIHW
FLOATS = {np.dtype(dtype) for dtype in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16)}

Path = tuple[str | int, ...]
Shape = tuple[int, ...]


def canonical_name(path: Path) -> str:
    """The PyTorch name of a JAX path: ("mlp", "kernel") -> "mlp.weight"."""
    *modules, last = (str(part) for part in path)
    return ".".join([*modules, LAST_PART.get(last, last)])


def to_canonical(path: Path, array: np.ndarray) -> np.ndarray:
    """Permute a JAX array into PyTorch's layout; contiguous, since safetensors silently writes other memory wrong."""
    return np.asarray(array.transpose(_axes(path, array.ndim)), order="C")


def from_canonical(path: Path, array: np.ndarray) -> np.ndarray:
    """A view of a canonical array in the layout of the JAX parameter at `path`; the inverse of `to_canonical`."""
    axes = _axes(path, array.ndim)
    return array.transpose([axes.index(axis) for axis in range(array.ndim)])


def canonical_shape(path: Path, shape: Shape) -> Shape:
    """The shape that `to_canonical` gives an array of `shape`."""
    return tuple(shape[axis] for axis in _axes(path, len(shape)))


def check_names(expected: Mapping[str, Shape], arrays: Mapping[str, np.ndarray] | LazyArrays, owner: str) -> None:
    """Raise one `WeightsError` that lists every missing, unused and misshapen name."""
    _refuse(owner, _misfits(expected, arrays))


def check_arrays(expected: Mapping[str, Shape], arrays: Mapping[str, np.ndarray], owner: str) -> None:
    """Like `check_names`; the same error also lists every array that does not hold floats, as weights must."""
    others = [f"{name} ({array.dtype})" for name, array in arrays.items() if array.dtype not in FLOATS]
    _refuse(owner, {**_misfits(expected, arrays), "not floats": others})


def _axes(path: Path, ndim: int) -> Shape:
    own = tuple(range(ndim))
    return KERNEL_AXES.get(ndim, own) if path[-1] == "kernel" else own


def _misfits(expected: Mapping[str, Shape], arrays: Mapping[str, np.ndarray] | LazyArrays) -> dict[str, list[str]]:
    return {
        "missing": [name for name in expected if name not in arrays],
        "unused": [name for name in arrays if name not in expected],
        "wrong shape": [
            f"{name} (expected {tuple(shape)}, got {tuple(arrays[name].shape)})"
            for name, shape in expected.items()
            if name in arrays and tuple(arrays[name].shape) != tuple(shape)
        ],
    }


def _refuse(owner: str, misfits: Mapping[str, list[str]]) -> None:
    if any(misfits.values()):
        listed = "; ".join(f"{kind} {_listed(names)}" for kind, names in misfits.items())
        raise WeightsError(f"weights do not fit {owner}: {listed}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
