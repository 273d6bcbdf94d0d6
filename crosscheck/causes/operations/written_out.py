"""The formulas of a region: what torch computes there, and what JAX does."""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from crosscheck.causes.operations.changes.slices import index_in_words
from crosscheck.causes.operations.in_torch import BUFFER
from crosscheck.causes.operations.formula import Formula, difference
from crosscheck.causes.operations.operation import Given, Operation
from crosscheck.causes.operations.region import TOLERANCE, Region, is_same
from crosscheck.causes.operations.relation import relation

Read = tuple[list[Formula], str]
BOUNDS = ("0", "-inf")
DEPTH = 2  # to which what both sides have is written out where it has no name
SAYS = "torch computes "
MOST = 14  # operations that a formula may have
LONGEST = 16  # of what is one setting, in numbers
SAME = (  # whose result holds the numbers of the first operand, in its order
    "unsqueeze", "squeeze", "expand", "expand_as", "to", "double", "float", "type_as", "clone", "detach", "contiguous",
    "broadcast_in_dim", "convert_element_type", "expand_dims", "copy", "copy_p", "stop_gradient", "as_tensor",
    "lift_fresh", "optimization_barrier", "reduce_precision", "broadcast_to",
)  # fmt: skip
NAMES = {
    "truediv": "div", "true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub", "rmul": "mul",
    "radd": "add", "mm": "matmul", "bmm": "matmul", "rmatmul": "matmul", "reduce_sum": "sum", "reduce_max": "amax",
    "reduce_min": "amin", "reduce_prod": "prod", "logistic": "sigmoid", "integer_pow": "pow", "square": "pow", "concatenate": "cat",
    "concat": "cat", "permute": "transpose", "swapaxes": "transpose", "T": "transpose", "mT": "transpose",
    "maximum": "max", "minimum": "min", "select_n": "where", "masked_fill": "where", "rev": "flip", "invert": "not",
    "view": "reshape", "flatten": "reshape", "unflatten": "reshape", "getitem": "part",
    "slice": "part", "rem": "remainder", "clamp_min": "max", "clamp_max": "min", "dot_general": "matmul",
    "linear": "matmul", **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv_general_dilated"), "conv"),
}  # fmt: skip
SETTINGS = ("stride", "padding", "dilation", "groups")
PADDING = 4  # its place among the arguments of torch's convolutions
BIASED = ("linear", "conv1d", "conv2d", "conv3d")
RESHAPES = tuple(name for name, known in NAMES.items() if known == "reshape") + ("reshape",)
AXES = ("sum", "mean", "amax", "amin", "prod", "var", "std", "logsumexp", "softmax", "log_softmax", "cumsum",
        "cumprod", "cat", "flip", "argmax", "argmin", "sort", "norm")  # fmt: skip
TURNED = ("rsub", "rtruediv", "rdiv", "rpow", "rmatmul")  # whose operands stand the other way round
UNSAID = ("precision", "preferred_element_type", "out_sharding", "sharding", "accuracy", "out_dtype", "is_stable",
          "indices_are_sorted", "unique_indices", "fill_value", "weak_type", "new_dtype", "dimension_numbers",
          "batch_group_count", "lhs_shape", "rhs_shape", "dtype")  # fmt: skip


def formulas(region: Region, ours: Operation, theirs: Operation) -> tuple[Formula, Formula] | None:
    """What torch computes as one operation of a region and JAX as another, where they differ; None if they don't, or
    if that takes too many operations."""
    for has_calls in (True, False):
        left, right = (_Side(region, each, run, has_calls) for each, run in (
            (region.ours, region.run), (region.theirs, region.their_run)))  # fmt: skip
        mine, other = difference(left.formula(ours), right.formula(theirs))
        if mine != other:
            return (mine, other) if max(mine.size, other.size) <= MOST else None
    return None


def in_words(region: Region, ours: Operation, theirs: Operation) -> tuple[str, tuple[str, str]] | None:
    """The two formulas and what one result is of the other, in words, and how to change the JAX side and torch's."""
    both = formulas(region, ours, theirs)
    if both is None:
        return None
    mine, other = map(str, both)
    lines = (f" ({each.line})" if each.line else "" for each in (ours, region.made(theirs)))
    how = relation(ours.result, theirs.result)
    words = SAYS + "{}{}, JAX {}{}".format(mine, next(lines), other, next(lines))
    return f"{words}{f'; of the results {how}' if how else ''}", (f"compute {mine}, not {other}", f"compute {other}, not {mine}")


class _Side:
    """One side of a region, whose own operations are written out and all others by name."""

    def __init__(self, region: Region, own: Sequence[Operation], run: Sequence[Operation], has_calls: bool):
        self.region, self.run, self.has_calls = region, run, has_calls
        self.own = {id(each) for each in own if not _is_shared(each, own[-1], region)}
        self.left = 4 * MOST  # operations that are still written out

    def formula(self, operation: Operation) -> Formula:
        """The operation as a formula."""
        if id(operation) not in self.own or self.left <= 0:
            return self.named(operation)
        self.left -= 1
        return self._written(operation, self.formula)

    def named(self, operation: Operation, depth: int = DEPTH) -> Formula:
        """What both sides have: torch's parameter, input, variable or module; else as a formula of such, or its
        line."""
        if operation.result.size == 1 and not operation.inputs and operation.result.dtype.kind in "fiub":
            return Formula(f"{operation.result.item():.6g}")
        mine = self._in_torch(operation)
        if mine is None:
            return Formula(f"JAX's {_seen(operation)}")
        if operation.name in RESHAPES and _sizes(operation) != _sizes(mine):
            return Formula("reshape", (self.named(self.run[operation.inputs[0]], depth),), str(operation.result.shape))
        path = mine.site[0].removeprefix("@")
        if mine.name.startswith(BUFFER):
            return Formula(mine.name.removeprefix(BUFFER))
        if mine.variable or (mine.line and not mine.inputs):
            return Formula(mine.variable or mine.line)
        if path and path != self.region.path:
            return Formula(f"{path}(...)")
        if not mine.inputs or not depth:
            return Formula(mine.words if mine.inputs else _seen(mine))
        ours = self if self.run is self.region.run else _Side(self.region, self.region.ours, self.region.run, True)
        return ours._written(mine, lambda each: ours.named(each, depth - 1))

    def _in_torch(self, operation: Operation) -> Operation | None:
        """Torch's operation with the same numbers, one with a name before others; None if there is none."""
        if self.run is self.region.run and (operation.variable or operation.line):
            return operation
        tolerance = TOLERANCE.get(np.dtype(operation.result.real.dtype), 0.0)
        alike = [each for each in self.region.run if is_same(operation.result, each.result, tolerance)]
        return next((each for each in alike if each.variable or each.line), alike[0] if alike else None)

    def _written(self, operation: Operation, inner: Callable[[Operation], Formula]) -> Formula:
        name = operation.name.strip("_") if operation.name.startswith("__") else operation.name
        if self.has_calls and operation.called:
            name, *operands = operation.called
            parts = [inner(self.run[each.place]) if isinstance(each, Given) else Formula(str(each)) for each in operands]
            return _simplified(Formula(NAMES.get(name, name), tuple(parts)), "")
        parts, said = self._operands(operation, inner)
        if parts and (name in SAME or (name in RESHAPES and _only_ones_differ(operation, self.run))):
            return parts[0]
        if name in TURNED:
            name, parts = name.removeprefix("r"), parts[::-1]
        shape = self.run[operation.inputs[0]].result.shape if operation.inputs else ()
        known = NAMES.get(name, name)
        if known in AXES:
            return _simplified(Formula(known, tuple(parts[: 9 if known == "cat" else 1]), _axis(operation, shape)),
                               self._terms(operation))  # fmt: skip
        bias = parts[2:] if name in BIASED else []
        if name in RESHAPES:
            parts, settings = parts[:1], str(operation.result.shape)
        elif known == "transpose":
            axes = _flat_numbers((operation.args[1:], operation.kwargs.get("permutation", ())))
            parts, settings = parts[:1], f"axes {_said(tuple(axes))}" if axes else ""
        elif name in READ:
            parts, settings = READ[name](operation, parts, shape)
        else:
            settings = ", ".join(_settings(operation, said))
        found = _simplified(Formula(known, tuple(parts[:2] if name in BIASED else parts), settings),
                            self._terms(operation))  # fmt: skip
        return Formula("add", (found, *bias)) if bias else found

    def _operands(self, operation: Operation, inner: Callable[[Operation], Formula]) -> tuple[list[Formula], list[Any]]:
        """The tensors and the first numbers of a call as formulas, and its other arguments."""
        parts: list[Formula] = []
        said: list[Any] = []
        places = iter(operation.inputs)
        for each in _flat(operation.args):
            if isinstance(each, Tensor | Given):
                place = each.place if isinstance(each, Given) else next(places, None)
                parts.append(inner(self.run[place]) if place is not None else Formula("..."))
            elif isinstance(each, int | float) and not isinstance(each, bool) and len(parts) < 2:
                parts.append(Formula(f"{each:.6g}"))
            else:
                said.append(each)
        return parts, said

    def _terms(self, operation: Operation) -> str:
        """How many terms a sum that the operation divides has in each place, as it is written."""
        total = self.run[operation.inputs[0]] if operation.inputs else operation
        while total.name in SAME and total.inputs:
            total = self.run[total.inputs[0]]
        terms = self.run[total.inputs[0]].result.size if total.inputs else 0
        return f"{terms / max(total.result.size, 1):.6g}"


def _is_shared(operation: Operation, last: Operation, region: Region) -> bool:
    """True of the tensor that differs, if the other side has it elsewhere."""
    if operation is not last:
        return False
    other = region.their_run if operation is region.ours[-1] else region.run
    tolerance = TOLERANCE.get(np.dtype(operation.result.real.dtype), 0.0)
    return any(is_same(operation.result, each.result, tolerance) for each in other)


def _flat(args: Any) -> Iterator[Any]:
    for each in args:
        if isinstance(each, tuple | list) and any(isinstance(one, Tensor | Given) for one in each):
            yield from each
        else:
            yield each


def _settings(operation: Operation, said: Sequence[Any]) -> Iterator[str]:
    """The settings of a call in words, without those that are left to their defaults."""
    defaults = _defaults(operation.function)
    yield from (_said(each) for each in said if each is not None)
    for name, value in operation.kwargs.items():
        is_short = isinstance(value, str | int | float) or (isinstance(value, tuple) and len(value) <= LONGEST)
        if name not in UNSAID and is_short and value not in ((), "", False, defaults.get(name)):
            yield f"{'axis' if name in ('axes', 'dim', 'dimension') else name}={_said(value)}"


@functools.lru_cache(maxsize=512)
def _defaults(function: Callable[..., Any] | None) -> dict[str, Any]:
    try:
        return {name: each.default for name, each in inspect.signature(function).parameters.items()} if function else {}
    except (TypeError, ValueError):
        return {}


def _said(value: Any) -> str:
    value = value[0] if isinstance(value, tuple | list) and len(value) == 1 else value
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace("torch.", "")


def _seen(operation: Operation) -> str:
    """A table by its numbers, or its kind and shape."""
    array = operation.result
    if array.ndim <= 1 and 0 < array.size <= LONGEST // 2:
        return np.array2string(array, precision=4, separator=", ", max_line_width=200)
    return f"{operation.words} of shape {array.shape}"


def _flat_numbers(tree: Any) -> list[int]:
    return [n for each in tree for n in _flat_numbers(each)] if isinstance(tree, tuple | list) else [tree]


def _sizes(operation: Operation) -> list[int]:
    return sorted(size for size in operation.result.shape if size > 1)


def _only_ones_differ(operation: Operation, run: Sequence[Operation]) -> bool:
    before = run[operation.inputs[0]].result if operation.inputs else operation.result
    return [n for n in before.shape if n > 1] == [n for n in operation.result.shape if n > 1]


def _axis(operation: Operation, shape: Sequence[int]) -> str:
    """The axes of a reduction, counted from the front; nothing if they are all."""
    given = [operation.kwargs[name] for name in ("axes", "axis", "dim", "dimension") if name in operation.kwargs]
    given += [each for each in operation.args[1:2] if isinstance(each, int | tuple | list)]
    if not given or given[0] is None:
        return ""
    axes = sorted(each % max(len(shape), 1) for each in (given[0] if isinstance(given[0], tuple | list) else given[:1]))
    return f"axis={_said(tuple(axes))}" if len(axes) < len(shape) or len(axes) == 1 < len(shape) else ""


def _part(operation: Operation, parts: list[Formula], shape: Sequence[int]) -> Read:
    index = operation.args[1]
    return parts[:1], index_in_words(index) if "tensor" not in repr(index) else f"[{', '.join(map(str, parts[1:]))}]"


def _slice(operation: Operation, parts: list[Formula], shape: Sequence[int]) -> Read:
    start, stop, steps = (operation.kwargs[f"{each}"] for each in ("start_indices", "limit_indices", "strides"))
    bounds = zip(start, stop, steps or (None,) * len(start), shape, strict=True)
    return parts[:1], index_in_words(tuple(slice(a or None, b if b < n else None, c) for a, b, c, n in bounds))


def _product(operation: Operation, parts: list[Formula], shape: Sequence[int]) -> Read:
    (mine, other), (alike, _) = operation.kwargs["dimension_numbers"]
    if mine == (len(shape) - 1,) and other == (len(alike),):
        return parts, ""
    return parts, f"over axes {_said(mine)} and {_said(other)}{f' for each of {_said(alike)}' if alike else ''}"


def _convolution(operation: Operation, parts: list[Formula], shape: Sequence[int]) -> Read:
    """A convolution's settings, those that do nothing left out: a bias is what is added."""
    given = operation.kwargs
    if "window_strides" in given:
        paddings = [a if a == b else (a, b) for a, b in given["padding"]]
        values = given["window_strides"], paddings, given["rhs_dilation"], given["feature_group_count"]
    else:
        named = [given.get(name) for name in ("stride", "padding", "dilation", "groups")]
        values = tuple(
            name if name is not None else operation.args[n] if n < len(operation.args) else n != PADDING
            for n, name in enumerate(named, 3)
        )
    said = {name: _all_alike(value) for name, value in zip(SETTINGS, values, strict=True)}
    settings = ", ".join(f"{name}={value}" for name, value in said.items() if value != (name != "padding"))
    return parts[:2], settings


def _all_alike(value: Any) -> Any:
    if not isinstance(value, tuple | list):
        return int(value) if isinstance(value, bool) else value
    return value[0] if all(each == value[0] for each in value) else tuple(value)


def _chosen(operation: Operation, parts: list[Formula], shape: Sequence[int]) -> Read:
    return [parts[0], *parts[:0:-1]], ""


def _filled(operation: Operation, parts: list[Formula], shape: Sequence[int]) -> Read:
    new = [*parts[2:], *(Formula(_said(each)) for each in operation.args[2:] if not isinstance(each, Tensor))]
    return [parts[1], *new, parts[0]], ""


READ: dict[str, Callable[[Operation, list[Formula], Sequence[int]], Read]] = {
    "getitem": _part, "slice": _slice, "dot_general": _product, "select_n": _chosen, "masked_fill": _filled,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv_general_dilated"), _convolution),
    "integer_pow": lambda operation, parts, _: ([*parts, Formula(str(operation.kwargs["y"]))], ""),
    "square": lambda _, parts, __: ([*parts, Formula("2")], ""),
    "iota": lambda operation, _, __: ([Formula(_said(operation.result.shape))], ""),
}  # fmt: skip


def _simplified(formula: Formula, terms: str) -> Formula:
    """What JAX writes out by the name of what it computes, such as a mean, a softmax or an activation."""
    first, *more = formula.parts or (formula,)
    if formula.name == "div" and first.name == "sum" and [str(each) for each in more] == [terms]:
        return Formula("mean", first.parts, first.settings)
    if formula.name == "div" and first.name == "exp" and more[0].name == "sum" and more[0].parts == (first,):
        return Formula("softmax", (_unshifted(first.parts[0]),), more[0].settings)
    if formula.name == "add" and first.name == "log" and first.parts[0].name in ("abs", "sum"):
        inner = first.parts[0].parts[0] if first.parts[0].name == "abs" else first.parts[0]
        if inner.name == "sum" and inner.parts[0].name == "exp" and _is_shifted(inner.parts[0].parts[0]):
            return Formula("logsumexp", (_unshifted(inner.parts[0].parts[0]),), inner.settings)
    if formula.name == "max" and len(formula.parts) == 2 and (known := [p for p in formula.parts if p.name in BOUNDS]):
        other = tuple(each for each in formula.parts if each not in known)
        return other[0] if known[0].name == "-inf" else Formula("relu", other)
    if formula.name == "where" and first.name == "lt" and first.parts == (more[-1], Formula("0")):
        return more[-1]  # an index counted from the front
    if formula.name == "mul" and any(each == Formula("sigmoid", (first,)) for each in more):
        return Formula("silu", (first,))
    return formula


def _is_shifted(formula: Formula) -> bool:
    """True of what its largest number is taken from."""
    x, *other = formula.parts or (formula,)
    return formula.name == "sub" and any("amax" in str(each) for each in other)


def _unshifted(formula: Formula) -> Formula:
    return formula.parts[0] if _is_shifted(formula) else formula
