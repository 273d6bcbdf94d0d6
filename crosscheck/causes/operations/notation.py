"""How one operation of either framework is written: its name, its parts in order, and its settings."""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from crosscheck.causes.operations.changes.slices import index_in_words
from crosscheck.causes.operations.formula import Formula
from crosscheck.causes.operations.operation import Given, Operation

Parts = list[Formula]
Read = tuple[Parts, str]
LONGEST = 16  # of what is one setting, in numbers
SAME = (  # whose result holds the numbers of the first operand, in its order
    "unsqueeze", "squeeze", "expand", "expand_as", "to", "double", "float", "type_as", "clone", "detach", "contiguous",
    "broadcast_in_dim", "convert_element_type", "expand_dims", "copy", "copy_p", "stop_gradient", "as_tensor",
    "lift_fresh", "optimization_barrier", "reduce_precision", "broadcast_to",
)  # fmt: skip
NAMES = {
    "truediv": "div", "true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub", "rmul": "mul",
    "radd": "add", "mm": "matmul", "bmm": "matmul", "rmatmul": "matmul", "reduce_sum": "sum", "reduce_max": "amax",
    "reduce_min": "amin", "reduce_prod": "prod", "logistic": "sigmoid", "integer_pow": "pow", "square": "pow",
    "concatenate": "cat",
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


def written(operation: Operation, name: str, parts: Parts, said: Sequence[Any], shape: Sequence[int]) -> Formula:
    """An operation of parts, with what else its call says and the shape of its first operand, as a formula."""
    if name in TURNED:
        name, parts = name.removeprefix("r"), parts[::-1]
    known, bias = NAMES.get(name, name), parts[2:] if name in BIASED else []
    if known in AXES:
        parts, settings = parts if known == "cat" else parts[:1], _axis(operation, shape)
    elif name in RESHAPES:
        parts, settings = parts[:1], str(operation.result.shape)
    elif known == "transpose":
        axes = _flat_numbers((operation.args[1:], operation.kwargs.get("permutation", ())))
        parts, settings = parts[:1], f"axes {_said(tuple(axes))}" if axes else ""
    elif name in READ:
        parts, settings = READ[name](operation, parts, shape)
    else:
        settings = ", ".join(_settings(operation, said))
    found = Formula(known, tuple(parts[:2] if bias else parts), settings)
    return Formula("add", (found, *bias)) if bias else found


def flat(args: Any) -> Iterator[Any]:
    """The arguments of a call, with the tensors of a list among them in its place."""
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
    if isinstance(value, tuple):
        return f"({', '.join(map(_said, value))})"
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace("torch.", "")


def _flat_numbers(tree: Any) -> list[int]:
    return [n for each in tree for n in _flat_numbers(each)] if isinstance(tree, tuple | list) else [tree]


def _axis(operation: Operation, shape: Sequence[int]) -> str:
    """The axes of a reduction, counted from the front; nothing if they are all."""
    given = [operation.kwargs[name] for name in ("axes", "axis", "dim", "dimension") if name in operation.kwargs]
    given += [each for each in operation.args[1:2] if isinstance(each, int | tuple | list)]
    if not given or given[0] is None:
        return ""
    axes = sorted(each % max(len(shape), 1) for each in (given[0] if isinstance(given[0], tuple | list) else given[:1]))
    return f"axis={_said(tuple(axes))}" if len(axes) < len(shape) or len(axes) == 1 < len(shape) else ""


def _part(operation: Operation, parts: Parts, shape: Sequence[int]) -> Read:
    index = operation.args[1]
    return parts[:1], index_in_words(index) if "tensor" not in repr(index) else f"[{', '.join(map(str, parts[1:]))}]"


def _slice(operation: Operation, parts: Parts, shape: Sequence[int]) -> Read:
    start, stop, steps = (operation.kwargs[f"{each}"] for each in ("start_indices", "limit_indices", "strides"))
    bounds = zip(start, stop, steps or (None,) * len(start), shape, strict=True)
    return parts[:1], index_in_words(tuple(slice(a or None, b if b < n else None, c) for a, b, c, n in bounds))


def _product(operation: Operation, parts: Parts, shape: Sequence[int]) -> Read:
    (mine, other), (alike, _) = operation.kwargs["dimension_numbers"]
    if mine == (len(shape) - 1,) and other == (len(alike),):
        return parts, ""
    return parts, f"over axes {_said(mine)} and {_said(other)}{f' for each of {_said(alike)}' if alike else ''}"


def _convolution(operation: Operation, parts: Parts, shape: Sequence[int]) -> Read:
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


def _chosen(operation: Operation, parts: Parts, shape: Sequence[int]) -> Read:
    return [parts[0], *parts[:0:-1]], ""


def _filled(operation: Operation, parts: Parts, shape: Sequence[int]) -> Read:
    new = [*parts[2:], *(Formula(_said(each)) for each in operation.args[2:] if not isinstance(each, Tensor))]
    return [parts[1], *new, parts[0]], ""


READ: dict[str, Callable[[Operation, Parts, Sequence[int]], Read]] = {
    "getitem": _part, "slice": _slice, "dot_general": _product, "select_n": _chosen, "masked_fill": _filled,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv_general_dilated"), _convolution),
    "integer_pow": lambda operation, parts, _: ([*parts, Formula(str(operation.kwargs["y"]))], ""),
    "square": lambda _, parts, __: ([*parts, Formula("2")], ""),
    "iota": lambda operation, _, __: ([Formula(_said(operation.result.shape))], ""),
}  # fmt: skip
