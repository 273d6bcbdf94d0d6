"""Another number, axis, mode or switch in a call, the other side's numbers first."""

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from crosscheck.causes.flips.mistakes.functions import DIVIDE, MULTIPLY
from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region

Place = tuple[str | int, ...]  # of a value in (args, kwargs): (0, 2) or ("dim",), deeper in tuples
SIZES = (  # whose numbers are shapes
    "view", "reshape", "expand", "zeros", "ones", "empty", "repeat", "unsqueeze", "squeeze", "to", "size",
    "__getitem__", "__setitem__", "new_zeros", "new_ones", "flatten", "unflatten",
)  # fmt: skip
FAMILIES: tuple[tuple[str | None, ...], ...] = (
    ("constant", "reflect", "replicate", "circular"), ("zeros", "border", "reflection"), ("floor", "trunc", None),
    ("ij", "xy"), ("backward", "ortho", "forward"), ("valid", "same"), ("linear", "nearest", "area"),
    ("bilinear", "bicubic", "nearest", "nearest-exact", "area"), ("fro", "nuc"), ("mean", "sum", "none"),
)  # fmt: skip
WHOLE = (torch.int64, torch.int32)
MOST_TURNED = 4  # numbers of a tuple that are tried in every order
LONGEST = 6  # of a tuple whose numbers are tried one by one
NEAR = 1e-6  # derived: JAX holds its numbers in float32 where a program has them so


def numbers(operation: Operation, region: Region) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Calls with one value changed, or with all ids or places that they are given one more or one less."""
    if operation.name in SIZES:
        return
    for number, each in enumerate(operation.args if operation.result.dtype.kind == "f" else ()):
        if isinstance(each, Tensor) and each.ndim and each.dtype in WHOLE:
            for shift, words in ((1, "plus 1"), (-1, "minus 1")):
                yield "D99", f"operand {number + 1} of {operation.words} {words}", _shifted(number, shift)
    row = "D81" if operation.function in (*MULTIPLY, *DIVIDE) else "D99"
    for place, value in _values(operation):
        for new in _others(value, operation, region):
            where = f"{place[0]}=" if isinstance(place[0], str) else ""
            what = f"{operation.words} with {where}{_words(new)}, not {_words(value)}"
            yield row, what, _with(place, new)


def _shifted(number: int, shift: int) -> Callable[..., Any]:
    return lambda function, *args, **kwargs: function(
        *args[:number], args[number] + shift, *args[number + 1 :], **kwargs
    )


def _words(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _values(operation: Operation) -> Iterator[tuple[Place, Any]]:
    """The numbers and words of a call, those left to their defaults included."""
    for number, value in enumerate(operation.args):
        if number or not isinstance(value, Tensor):  # a function's own operand is no setting of its
            yield from _within((number,), value)
    for name, value in operation.kwargs.items():
        yield from _within((name,), value)
    try:
        signature = inspect.signature(operation.function) if operation.function else None
        given = signature.bind(*operation.args, **operation.kwargs).arguments if signature else {}
    except (TypeError, ValueError):
        return
    for name, parameter in signature.parameters.items() if signature else ():
        if name not in given and isinstance(parameter.default, bool | float | str):
            yield (name,), parameter.default


def _within(place: Place, value: Any) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, bool | int | float | str):
        yield place, value
    elif isinstance(value, Tensor) and value.ndim == 0 and value.dtype.is_floating_point and not value.requires_grad:
        yield place, float(value)
    elif isinstance(value, tuple | list) and len(value) <= LONGEST:
        if len(value) > 1 and all(type(each) is int for each in value):
            yield place, value
        for number, each in enumerate(value):
            yield from _within((*place, number), each)


def _others(value: Any, operation: Operation, region: Region) -> Iterable[Any]:
    """What a value of a call may be on the other side.

    Equal numbers of a tuple, such as strides, are others together; unlike ones, such as paddings, in another order.
    """
    if isinstance(value, tuple | list) and len(set(value)) > 1:
        turned = itertools.permutations(value) if len(value) <= MOST_TURNED else [tuple(reversed(value))]
        return _once(type(value)(each) for each in turned if tuple(each) != tuple(value))
    if isinstance(value, tuple | list):
        return [type(value)([each] * len(value)) for each in _others(value[0], operation, region)]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, str):
        return [each for family in FAMILIES if value in family for each in family if each != value]
    theirs = [each for operation in region.theirs for each in operation.numbers]
    if isinstance(value, int):
        axes = [axis for each in operation.args[:1] if isinstance(each, Tensor) for axis in range(-each.ndim, 0)]
        whole = [int(each) for each in theirs if math.isfinite(each) and each == int(each)]
        near = [value + 1, value - 1, -value]
        found = [*whole, *(axes if -len(axes) <= value < len(axes) else ()), *near, *_floats(value, theirs, operation)]
    else:
        found = _floats(value, theirs, operation)
    return _once(each for each in found if not _is_near(each, value))


def _floats(value: float, theirs: list[float], operation: Operation) -> list[float]:
    finite = [each for each in theirs if math.isfinite(each)]
    sizes = {size for each in operation.args if isinstance(each, Tensor) for size in each.shape if size > 1}
    own = [1 - value, 1 + value, value / 2, 2 * value, value * value, 10 * value, value / 10, -value]
    own += [1 / value, math.copysign(math.sqrt(abs(value)), value)] if value else []
    of_sizes = [number for size in sorted(sizes) for number in (size**0.5, size**-0.5, float(size), 1 / size)]
    inverse = [1 / each for each in finite if each]
    return [*finite, *inverse, *(-each for each in finite), *own, 1.0, 0.0, *of_sizes]


def _is_near(number: float, value: float) -> bool:
    return abs(number - value) <= NEAR * abs(value)


def _once(found: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(found))


def _with(place: Place, new: Any) -> Callable[..., Any]:
    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        first, *rest = place
        if isinstance(first, str):
            return function(*args, **{**kwargs, first: _set(kwargs.get(first), rest, new)})
        changed = list(args)
        changed[first] = _set(changed[first], rest, new)
        return function(*changed, **kwargs)

    return call


def _set(value: Any, rest: list[Any], new: Any) -> Any:
    if not rest:
        return torch.as_tensor(new, dtype=value.dtype) if isinstance(value, Tensor) else new
    changed = list(value)
    changed[rest[0]] = _set(changed[rest[0]], rest[1:], new)
    return type(value)(changed)
