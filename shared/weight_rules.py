"""Weight rules: how a JAX parameter's path and axes become PyTorch's canonical name and layout, and back.

Rules only rename and permute, so one table serves weights, gradients and optimiser moments, and its inverse is free.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from shared.errors import WeightsError

LAST_PART = {"kernel": "weight", "embedding": "weight", "scale": "weight"}  # Flax's word -> PyTorch's; others stay
KERNEL_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}  # (in, out) -> (out, in); HWIO -> OIHW

Path = tuple[str | int, ...]


def canonical_name(path: Path) -> str:
    """The PyTorch name of a JAX path: ("mlp", "kernel") -> "mlp.weight"."""
    *modules, last = (str(part) for part in path)
    return ".".join([*modules, LAST_PART.get(last, last)])


def to_canonical(path: Path, array: np.ndarray) -> np.ndarray:
    """Permute a JAX array into PyTorch's layout; contiguous, since safetensors writes other memory silently wrong."""
    return np.ascontiguousarray(array.transpose(KERNEL_AXES[array.ndim]) if path[-1] == "kernel" else array)


def from_canonical(path: Path, array: np.ndarray) -> np.ndarray:
    """Permute a canonical array into the layout of the JAX parameter at `path`; the inverse of `to_canonical`."""
    if path[-1] != "kernel":
        return array
    axes = KERNEL_AXES.get(array.ndim)
    return array if axes is None else np.ascontiguousarray(array.transpose(np.argsort(axes)))


def canonical_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that `to_canonical` gives an array of `shape`."""
    return tuple(shape[axis] for axis in KERNEL_AXES[len(shape)]) if path[-1] == "kernel" else tuple(shape)


def check_names(expected: Mapping[str, tuple[int, ...]], arrays: Mapping[str, np.ndarray], owner: str) -> None:
    """Raise one `WeightsError` that lists every missing, unused and misshapen name."""
    missing = [name for name in expected if name not in arrays]
    unused = [name for name in arrays if name not in expected]
    misshapen = [
        f"{name} (expected {tuple(shape)}, got {tuple(arrays[name].shape)})"
        for name, shape in expected.items()
        if name in arrays and tuple(arrays[name].shape) != tuple(shape)
    ]
    if missing or unused or misshapen:
        raise WeightsError(
            f"weights do not fit {owner}: missing {_listed(missing)}; unused {_listed(unused)}; "
            f"wrong shape {_listed(misshapen)}"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
