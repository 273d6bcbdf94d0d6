"""Another operation in place of one, one left out, or its operands the other way round."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.flips.mistakes.activations import ACTIVATIONS
from crosscheck.causes.flips.mistakes.functions import ADD, is_additive_mask, is_floats
from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region

# JAX's primitives as torch has them
ONE: dict[str, Callable[..., Tensor]] = {
    "tanh": torch.tanh, "logistic": torch.sigmoid, "exp": torch.exp, "exp2": torch.exp2, "log": torch.log,
    "log1p": torch.log1p, "expm1": torch.expm1, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "erf": torch.erf,
    "sin": torch.sin, "cos": torch.cos, "tan": torch.tan, "abs": torch.abs, "sign": torch.sign, "floor": torch.floor,
    "ceil": torch.ceil, "round": torch.round, "neg": torch.neg, "square": torch.square, "erf_inv": torch.erfinv,
    "atan": torch.atan, "asin": torch.asin, "acos": torch.acos, "sinh": torch.sinh, "cosh": torch.cosh,
    "lgamma": torch.lgamma, "digamma": torch.digamma, "cbrt": lambda x: x.sign() * x.abs() ** (1 / 3),
}  # fmt: skip
TWO: dict[str, Callable[..., Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "max": torch.maximum,
    "min": torch.minimum, "pow": torch.pow, "atan2": torch.atan2, "rem": torch.fmod,
}  # fmt: skip
COMPARED: dict[str, Callable[..., Tensor]] = {
    "lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge, "eq": torch.eq, "ne": torch.ne,
    "and": torch.logical_and, "or": torch.logical_or,
}  # fmt: skip
REDUCED: dict[str, Callable[..., Tensor]] = {
    "sum": torch.sum, "mean": torch.mean, "amax": torch.amax, "amin": torch.amin, "prod": torch.prod,
    "logsumexp": torch.logsumexp, "var": torch.var, "std": torch.std, "median": torch.median,
    "norm": lambda x, *args, **kwargs: torch.linalg.vector_norm(x, 2, *args, **kwargs),
    "mean of absolute values": lambda x, *args, **kwargs: x.abs().mean(*args, **kwargs),
    "root of the mean of squares": lambda x, *args, **kwargs: x.square().mean(*args, **kwargs).sqrt(),
}  # fmt: skip
SCANNED: dict[str, Callable[..., Tensor]] = {
    "cumsum": torch.cumsum, "cumprod": torch.cumprod, "cummax": lambda x, dim: torch.cummax(x, dim).values,
    "logcumsumexp": torch.logcumsumexp,
}  # fmt: skip
ROUNDED: dict[str, Callable[..., Tensor]] = {
    "floor": torch.floor, "round": torch.round, "ceil": torch.ceil, "trunc": torch.trunc,
}  # fmt: skip
SHARES: dict[str, Callable[..., Tensor]] = {
    "softmax": lambda x, *args, **kwargs: torch.softmax(x, *args, **kwargs),
    "log_softmax": lambda x, *args, **kwargs: torch.log_softmax(x, *args, **kwargs),
    "sigmoid": lambda x, *_, **__: torch.sigmoid(x), "relu": lambda x, *_, **__: F.relu(x),
    "logsigmoid": lambda x, *_, **__: F.logsigmoid(x),
    "softmax with a zero among what is added": lambda x, dim=-1, *_, **__: F.pad(x.movedim(dim, -1), (0, 1)).softmax(
        -1)[..., :-1].movedim(-1, dim),
}  # fmt: skip
ROW = "D99"
MOST_AXES = 5
NAMES = {"sub": "sub", "__sub__": "sub", "rsub": "sub", "max": "amax", "min": "amin", "__rsub__": "sub"}


def row_of_sum(added: list[Tensor]) -> str:
    """What is added on one side alone: a mask, or a residual."""
    return "D79" if any(map(is_additive_mask, added)) else "D88"


def omissions(operation: Operation, region: Region) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """The operation left out: one of its operands in place of its result."""
    tensors = [each for each in operation.args[:3] if isinstance(each, Tensor)]
    for number, each in enumerate(operation.args[:3]):
        if isinstance(each, Tensor) and each.shape == operation.result.shape and each.dtype.is_floating_point:
            others = [other for other in tensors if other is not each]
            is_sum = operation.function in ADD and len(tensors) > 1
            row = row_of_sum(others) if is_sum else "D89" if operation.function in ACTIVATIONS else ROW
            kept = f", operand {number + 1} kept" if len(tensors) > 1 else ""
            yield row, f"{operation.words} left out{kept}", _operand(number)


def chains(region: Region) -> Iterator[tuple[list[Operation], str, str, Callable[..., Any]]]:
    """An operation left out together with the one that makes its first operand, as a factor and a shift."""
    place = {id(each): number for number, each in enumerate(region.run)}
    inside = {place[id(each)]: each for each in region.ours}
    for each in region.ours:
        before = inside.get(each.inputs[0]) if each.inputs else None
        if (
            before is not None
            and before.place is not None
            and each.place is not None
            and _keeps(each)
            and _keeps(before)
        ):
            added = [other for other in each.args[1:] if isinstance(other, Tensor)] if each.function in ADD else []
            row = row_of_sum(added) if added else ROW
            yield [before, each], row, f"{before.words} and {each.words} left out", _operand(0)


def _keeps(operation: Operation) -> bool:
    """True if the result has the shape of the first operand."""
    first = operation.args[0] if operation.args else None
    return is_floats(first) and first.shape == operation.result.shape


def exchanges(operation: Operation, region: Region) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """The operation as another of its family, or of those that JAX makes; over other axes; its operands exchanged."""
    args, name = operation.args, NAMES.get(operation.name, operation.name)
    if not args or not isinstance(args[0], Tensor):
        return
    for family in (REDUCED, SCANNED, ROUNDED, SHARES, COMPARED):
        for other, function in family.items() if name in family else ():
            if other != name:
                yield ROW, f"{other} in place of {operation.words}", _as(function)
    if name in REDUCED:
        yield from _over_other_axes(operation, args[0].ndim)
    row = "D89" if operation.function in ACTIVATIONS else ROW
    used = dict.fromkeys(each.name for each in region.theirs)
    is_of_one_shape = is_floats(args[0]) and args[0].shape == operation.result.shape
    for other in used:
        if is_of_one_shape and other in ONE and other != name:
            yield row, f"{other} in place of {operation.words}", _of_first(ONE[other])
        if len(args) > 1 and name in TWO and other in TWO and other != name:
            yield ROW, f"{other} in place of {operation.words}", _of_two(TWO[other])
    if len(args) > 1 and isinstance(args[1], Tensor | int | float):
        yield ROW, f"the operands of {operation.words} exchanged", _turned
    if is_of_one_shape:
        yield ROW, f"{operation.words} applied twice", _twice


def _over_other_axes(operation: Operation, axes: int) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    if axes > MOST_AXES:
        return
    is_kept = bool(operation.kwargs.get("keepdim")) or any(each is True for each in operation.args[2:])
    for number in range(axes, 0, -1):
        for chosen in itertools.combinations(range(axes), number):
            for keeps in (True, False):
                kept = "" if keeps == is_kept else ", kept as axes of 1" if keeps else ", which are not kept"
                yield ROW, f"{operation.words} over axes {chosen}{kept}", _over(chosen, keeps)


def _over(axes: tuple[int, ...], keeps: bool) -> Callable[..., Any]:
    def reduce(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        return REDUCED[NAMES.get(function.__name__, function.__name__)](x, axes, keepdim=keeps)

    return reduce


def _turned(function: Any, x: Any, y: Any, *rest: Any, **more: Any) -> Any:
    return function(torch.as_tensor(y), x, *rest, **more)


def _as(other: Callable[..., Any]) -> Callable[..., Any]:
    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        own = function(*args, **kwargs)
        found = other(*args, **kwargs)
        return type(own)((found, own[1])) if isinstance(own, tuple) else found  # a maximum and its places

    return call


def _of_first(other: Callable[..., Any]) -> Callable[..., Any]:
    return lambda function, x, *args, **kwargs: other(x)


def _of_two(other: Callable[..., Any]) -> Callable[..., Any]:
    return lambda function, x, y, *args, **kwargs: other(torch.as_tensor(x), torch.as_tensor(y, dtype=x.dtype))


def _operand(number: int) -> Callable[..., Any]:
    return lambda function, *args, **kwargs: args[number].clone()


def _twice(function: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    return function(function(x, *args, **kwargs), *args, **kwargs)
