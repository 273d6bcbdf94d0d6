"""Nested arguments and results of any framework: traversal, naming and conversion to numpy."""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from shared.arrays import Arrays
from shared.errors import IsogradError


def is_array(value: Any) -> bool:
    """True for a tensor of any framework, except JAX's random keys."""
    if _is_torch_tensor(type(value)):  # whose properties pass every context that replaces functions: dearly
        return True
    return hasattr(value, "dtype") and hasattr(value, "shape") and not str(value.dtype).startswith("key<")


@functools.cache
def _is_torch_tensor(kind: type) -> bool:
    return any((each.__module__, each.__name__) == ("torch", "Tensor") for each in kind.__mro__)


def is_float(dtype: Any) -> bool:
    """True for numpy's floating and complex types and for bfloat16."""
    return np.issubdtype(dtype, np.inexact) or np.dtype(dtype) == ml_dtypes.bfloat16


def real_dtype(dtype: Any) -> np.dtype:
    """The dtype of a complex number's parts; any other dtype as it is."""
    dtype = np.dtype(dtype)
    return np.zeros((), dtype).real.dtype if dtype.kind == "c" else dtype


def in_dtype(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An array of floats in this dtype, one of complex numbers with its parts in it, and any other as it is."""
    if array.dtype.kind == "c":
        return array.astype(np.result_type(dtype, np.complex64))
    return array.astype(dtype) if is_float(array.dtype) else array


def as_call(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of one call: a dict gives keywords, a tuple or list positions, else one array.

    Tensors of any framework and lists of numbers become numpy arrays; other values (None, bool, str) are unchanged.
    """
    if isinstance(inputs, Mapping):
        return (), {str(name): to_host(value) for name, value in inputs.items()}
    values = inputs if isinstance(inputs, tuple | list) else (inputs,)
    return tuple(to_host(value) for value in values), {}


def to_host(value: Any) -> Any:
    """The value with every tensor inside converted to numpy."""
    if isinstance(value, list) and not any(map(is_array, value)):
        return np.asarray(value)
    return map_arrays(lambda _, array: _to_numpy(array), value)


def _to_numpy(array: Any) -> np.ndarray:
    if not hasattr(array, "detach"):  # anything but a torch tensor
        return np.asarray(array)
    host = array.detach().cpu()
    return host.float().numpy().astype(ml_dtypes.bfloat16) if "bfloat16" in str(host.dtype) else host.numpy()


def named_arrays(arguments: tuple[tuple[Any, ...], Mapping[str, Any]]) -> Arrays:
    """The arrays among a call's arguments, by name if they have one, else by position."""
    found: Arrays = {}
    map_arguments(lambda name, array: found.setdefault(name, array), *arguments)
    return found


def map_arguments(
    function: Callable[[str, Any], Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with function(name, array) in place of every array."""
    positional = tuple(map_arrays(function, value, str(index)) for index, value in enumerate(args))
    return positional, {name: map_arrays(function, value, name) for name, value in kwargs.items()}


def map_arrays(function: Callable[[str, Any], Any], tree: Any, name: str = "") -> Any:
    """The same nesting of tuples, lists, dicts and dataclasses with function(name, array) in place of arrays."""
    if is_array(tree):
        return function(name, tree)
    if isinstance(tree, Mapping):
        return rebuilt(tree, {key: map_arrays(function, value, f"{name}.{key}") for key, value in tree.items()})
    if isinstance(tree, tuple | list):
        items = [map_arrays(function, value, f"{name}[{index}]") for index, value in enumerate(tree)]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        fields = [field.name for field in dataclasses.fields(tree) if field.init]
        changed = {key: map_arrays(function, getattr(tree, key), f"{name}.{key}") for key in fields}
        return dataclasses.replace(tree, **changed)
    return tree


def rebuilt(tree: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """A mapping of the same type if it is mutable, else a dict."""
    if type(tree) is dict or not hasattr(tree, "__setitem__"):
        return items
    rebuilt: Any = copy.copy(tree)
    for key, value in items.items():
        rebuilt[key] = value
    return rebuilt


def flatten(output: Any, name: str = "output") -> Iterator[tuple[str, Any]]:
    """Tensors of nested tuples, lists, dicts and dataclasses, named output[0], output.key, ...; None is skipped.

    Raises IsogradError for anything else.
    """
    if output is None:
        return
    if is_array(output):
        yield name, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from flatten(value, f"{name}.{key}")
    elif isinstance(output, tuple | list):
        for index, value in enumerate(output):
            yield from flatten(value, f"{name}[{index}]")
    elif dataclasses.is_dataclass(output):
        for field in dataclasses.fields(output):
            yield from flatten(getattr(output, field.name), f"{name}.{field.name}")
    else:
        raise IsogradError(f"{name} must be a tensor or a tuple, list or dict of tensors, got {type(output).__name__}")


def flat_outputs(result: Any) -> dict[str, Any]:
    """The tensors that a module returns, by name: a lone one is "output", however it is wrapped.

    Raises IsogradError if there are none.
    """
    outputs = dict(flatten(result))
    if not outputs:
        raise IsogradError("expected a tensor among the outputs, got none")
    return dict(zip(["output"], outputs.values(), strict=True)) if len(outputs) == 1 else outputs
