"""The arguments of a call as JSON text plus arrays, so that a recording can repeat the call."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from crosscheck.recording.nesting import is_array, map_arguments, named_arrays
from shared.arrays import Arrays

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]
KINDS = {"tuple": tuple, "list": list, "dict": dict}


class _Slot(NamedTuple):
    """Placeholder for an array."""

    name: str


def to_json(arguments: Arguments) -> Any:
    """The nesting with array names in place of arrays; None if it holds anything JSON can't represent."""
    args, kwargs = map_arguments(lambda name, _: _Slot(name), *arguments)
    try:
        return _encoded([list(args), dict(kwargs)])
    except TypeError:
        return None


def from_json(content: Any, arrays: Arrays) -> Arguments:
    """The inverse of `to_json`, for any content but None."""
    args, kwargs = _decoded(content, arrays)
    return tuple(args), kwargs


def differing(expected: Arguments, got: Arguments) -> list[str]:
    """Names of arrays whose values differ between the two, including arrays that only one of them has."""
    ours, theirs = named_arrays(expected), named_arrays(got)
    return [name for name in {**ours, **theirs} if not _same(ours.get(name), theirs.get(name))]


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is not None and b is not None and a.shape == b.shape and a.tobytes() == b.astype(a.dtype).tobytes()


def _encoded(value: Any) -> Any:
    if isinstance(value, _Slot):
        return {"array": value.name}
    if value is None or type(value) in (bool, int, float, str):
        return {"value": value}
    kind = type(value).__name__
    if type(value) not in KINDS.values() or is_array(value):
        raise TypeError(kind)
    items = list(value.items()) if kind == "dict" else list(enumerate(value))
    return {kind: [[key, _encoded(item)] for key, item in items]}


def _decoded(content: Mapping[str, Any], arrays: Arrays) -> Any:
    ((kind, inner),) = content.items()
    if kind == "array":
        return arrays[inner]
    if kind == "value":
        return inner
    items = {key: _decoded(item, arrays) for key, item in inner}
    return items if kind == "dict" else KINDS[kind](items.values())
