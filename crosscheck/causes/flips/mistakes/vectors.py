"""Vectors that are divided by their norm or their sum, and the axis along which that is done."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.flips.flip import EPSILONS, Flip
from crosscheck.causes.flips.mistakes.functions import DIVIDE, SOFTMAX, is_floats

HALF_THE_DIGITS = {dtype: torch.finfo(dtype).eps ** (1 / 2)  # derived: no rounding of a sum is as large
                   for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)}  # fmt: skip
LARGEST_AXES = 4  # of what a softmax is taken of
TOP = (torch.topk, Tensor.topk)
LOG_SOFTMAX = (torch.log_softmax, Tensor.log_softmax, F.log_softmax)


def _length(x: Tensor, axes: Any, eps: float = 0.0) -> Tensor:
    return (x.square().sum(axes, keepdim=True) + eps).sqrt()


# Norms


def _weight_norm_with(eps: float) -> Callable[..., Tensor]:
    def weight(function: Any, v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
        axes = [axis for axis in range(v.ndim) if dim == -1 or axis != dim % v.ndim]
        return g * v / _length(v, axes, eps)

    return weight


def _weight_norm_along(axis: int) -> Callable[..., Tensor]:
    def weight(function: Any, v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
        return g * v / _length(v, [axis] if axis < v.ndim else list(range(v.ndim)))

    return weight


def _normalized(divisor: Callable[[Tensor, Any], Tensor]) -> Callable[..., Tensor]:
    def normalize(function: Any, x: Tensor, p: float = 2.0, dim: Any = 1, *_: Any, **__: Any) -> Tensor:
        return x / divisor(x, dim) if p == 2 else function(x, p, dim)

    return normalize


DIVISORS: dict[str, Callable[[float], Callable[[Tensor, Any], Tensor]]] = {
    "under the root": lambda eps: lambda x, axes: _length(x, axes, eps),
    "added to the norm": lambda eps: lambda x, axes: _length(x, axes) + eps,
    "as the least norm": lambda eps: lambda x, axes: _length(x, axes).clamp_min(eps),
}


# Sums


def _normalized_choice(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    values, ids = function(x, *args, **kwargs)
    return type(function(x, *args, **kwargs))((values / values.sum(-1, keepdim=True), ids))


def _softmax_of_choice(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    values, ids = function(x, *args, **kwargs)
    return type(function(x, *args, **kwargs))((values.softmax(-1), ids))


def _is_of_sum(x: Any, other: Any = None, *_: Any, **__: Any) -> bool:
    """True if a vector is divided by the sum of its entries."""
    if not (is_floats(x) and is_floats(other) and other.ndim == x.ndim and other.shape[-1] == 1):
        return False
    total = x.detach().sum(-1, keepdim=True)
    if other.shape != total.shape:
        return False
    return bool(((total - other.detach()).abs() <= total.abs() * HALF_THE_DIGITS[x.dtype]).all())


# Axes


def _along(axis: int) -> Callable[..., Tensor]:
    def softmax(function: Any, x: Tensor, dim: Any = None, *args: Any, **kwargs: Any) -> Tensor:
        kwargs.pop("dim", None)
        return function(x, axis, *args, **kwargs)

    return softmax


def _has_axis(axis: int) -> Callable[..., bool]:
    def only(x: Any, dim: Any = None, *_: Any, **kwargs: Any) -> bool:
        given = kwargs.get("dim", dim)
        return is_floats(x) and -axis <= x.ndim and isinstance(given, int) and given % x.ndim != x.ndim + axis

    return only


VECTOR_FLIPS = (
    *(Flip("D95", f"weight norm with {eps:g} under the root", {torch._weight_norm: _weight_norm_with(eps)})
      for eps in EPSILONS),
    *(Flip("D95", f"weight norm along {words}", {torch._weight_norm: _weight_norm_along(axis)})
      for axis, words in ((0, "axis 0"), (1, "axis 1"), (9, "all axes"))),
    *(Flip("D95", f"a vector normalised with {eps:g} {where}", {F.normalize: _normalized(divisor(eps))})
      for where, divisor in DIVISORS.items() for eps in EPSILONS),
    Flip("D96", "the largest values divided by their sum", dict.fromkeys(TOP, _normalized_choice)),
    Flip("D96", "the softmax of the largest values alone", dict.fromkeys(TOP, _softmax_of_choice)),
    Flip("D96", "values not divided by their sum", dict.fromkeys(DIVIDE, lambda divide, x, other, *_, **__: x.clone()),
         only=_is_of_sum),
    *(Flip("D96", f"{what} along axis {axis}", dict.fromkeys(functions, _along(axis)), only=_has_axis(axis))
      for axis in range(-1, -LARGEST_AXES - 1, -1)
      for what, functions in (("a softmax", SOFTMAX), ("a log-softmax", LOG_SOFTMAX))),
)  # fmt: skip
