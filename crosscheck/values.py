"""What one side computes, as numpy arrays under names that both sides share."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from shared.errors import IsogradError

Arrays = dict[str, np.ndarray]


@dataclass
class Values:
    """Everything of one side that is compared, in canonical names and layouts."""

    parameters: Arrays = field(default_factory=dict)
    outputs: Arrays = field(default_factory=dict)
    input_gradients: Arrays = field(default_factory=dict)
    parameter_gradients: Arrays = field(default_factory=dict)


def named_inputs(inputs: Any) -> tuple[list[str | int], list[np.ndarray]]:
    """Names (positions for a tuple) and arrays of the inputs of one call: a dict, a tuple or list, or one array."""
    if isinstance(inputs, Mapping):
        return list(inputs), [np.asarray(array) for array in inputs.values()]
    arrays = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    return list(range(len(arrays))), [np.asarray(array) for array in arrays]


def as_call(names: list[str | int], values: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments of a call from the names of `named_inputs`."""
    pairs = list(zip(names, values, strict=True))
    return [v for n, v in pairs if isinstance(n, int)], {n: v for n, v in pairs if isinstance(n, str)}


def flatten(output: Any, name: str = "output") -> Iterator[tuple[str, Any]]:
    """Tensors of nested tuples, lists and dicts, named output[0], output.key, ..."""
    if output is None:
        return
    if isinstance(output, Mapping):
        for key, value in output.items():
            yield from flatten(value, f"{name}.{key}")
    elif isinstance(output, tuple | list):
        for index, value in enumerate(output):
            yield from flatten(value, f"{name}[{index}]")
    elif hasattr(output, "dtype") and hasattr(output, "shape"):
        yield name, output
    else:
        raise IsogradError(f"{name} must be a tensor or a tuple, list or dict of tensors, got {type(output).__name__}")


def is_float(dtype: Any) -> bool:
    """True for numpy's floating types and for bfloat16."""
    return np.issubdtype(dtype, np.floating) or np.dtype(dtype) == ml_dtypes.bfloat16


def cotangent(name: str, shape: tuple[int, ...], dtype: np.dtype, rounded_to: np.dtype) -> np.ndarray:
    """Fixed random numbers by output name, rounded to the dtype under test, so that no direction is blind."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return generator.standard_normal(shape).astype(rounded_to).astype(dtype)
