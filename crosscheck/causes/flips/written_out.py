"""Flips of hand-written code: an epsilon next to a variance, positions, a tied head, 1 - mask.

Each applies only to calls of torch functions whose arguments reveal their purpose.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.flips.flip import EPSILONS, Flip

LARGEST_EPS = 1e-2  # derived: ten times the largest library default, Keras's 1e-3
PASSED = ("Clone", "Div", "ToCopy", "Unsqueeze")  # operations allowed between a mean of squares and the addition
ADD = (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__)
SUBTRACT_FROM = (torch.rsub, Tensor.__rsub__)
CAST = (Tensor.to, Tensor.float, Tensor.double, Tensor.type_as)
MATMUL = (F.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__)
SHIFTS = {1: "one place later", 2: "two places later", -1: "one place earlier"}


# Epsilons


def _is_centred(x: Tensor) -> bool | None:
    """True for a variance, False for a mean of squares, None for anything else, judged by its autograd graph."""
    node = x.grad_fn
    while node is not None and node.name().startswith(PASSED):
        node = node.next_functions[0][0]
    if node is None or node.name().startswith("Var"):
        return None if node is None else True
    squared = node.next_functions[0][0] if node.name().startswith(("Mean", "Sum")) else None
    if squared is None or not squared.name().startswith(("Pow", "Mul")):
        return None
    inside = squared.next_functions[0][0]
    is_difference = inside is not None and inside.name().startswith("Sub")
    return is_difference and "Mean" in (inside.next_functions[1][0] or inside).name()


def _adds_eps(is_centred: bool) -> Callable[..., bool]:
    def only(x: Any, other: Any, *_: Any, **__: Any) -> bool:
        is_small = isinstance(other, float) and 0 < other <= LARGEST_EPS
        return is_small and isinstance(x, Tensor) and _is_centred(x) is is_centred

    return only


def _with_eps(eps: float) -> Callable[..., Tensor]:
    return lambda add, x, other, *args, **kwargs: add(x, eps, *args, **kwargs)


# Positions


def _are_positions(x: Any, *_: Any, **__: Any) -> bool:
    """True for consecutive integers."""
    is_whole = isinstance(x, Tensor) and not x.is_floating_point() and x.dtype != torch.bool
    return is_whole and x.ndim > 0 and x.shape[-1] > 1 and bool((x.diff(dim=-1) == 1).all())


def _become_floats(x: Any, *args: Any, **kwargs: Any) -> bool:
    """True for positions cast to floats, to become angles; positions compared to make a mask stay integers."""
    to = [*args, *kwargs.values()]
    dtypes = [each.dtype if isinstance(each, Tensor) else each for each in to if isinstance(each, torch.dtype | Tensor)]
    return _are_positions(x) and (not to or any(dtype.is_floating_point for dtype in dtypes))


def _counts(*args: Any, **kwargs: Any) -> bool:
    """True for an arange of floats in steps of one."""
    return len(args) < 3 and "step" not in kwargs and getattr(kwargs.get("dtype"), "is_floating_point", False)


def _cuts_table(x: Any, index: Any) -> bool:
    """True for the first rows of a table: a weight or buffer indexed by x[:n] or x[:, :n]."""
    whole = index if isinstance(index, tuple) else (index,)
    is_table = isinstance(x, Tensor) and x.is_floating_point() and x.grad_fn is None and x.ndim > 1
    return is_table and sum(_is_start(part) for part in whole) == 1 and all(isinstance(p, slice) for p in whole)


def _is_start(part: Any) -> bool:
    return isinstance(part, slice) and part.stop is not None and not part.start and part.step is None


def _later_rows(shift: int) -> Callable[..., Tensor]:
    def getitem(take: Any, x: Tensor, index: Any) -> Tensor:
        whole = index if isinstance(index, tuple) else (index,)
        axis = next(axis for axis, part in enumerate(whole) if _is_start(part))
        return take(x.roll(-shift, axis), index)

    return getitem


def _later_ids(shift: int) -> Callable[..., Tensor]:
    def embedding(look_up: Any, ids: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return look_up((ids + shift).clamp(0, len(weight) - 1), weight, *args, **kwargs)

    return embedding


def _later(shift: int) -> Callable[..., Tensor]:
    return lambda function, *args, **kwargs: function(*args, **kwargs) + shift


def _rounded_rows(take: Any, x: Tensor, index: Any) -> Tensor:
    return take(x, index).float().to(x.dtype)


# Tied weights and masks


def _is_table_again(x: Any, weight: Any = None, *_: Any, **__: Any) -> bool:
    """True for a product with a table that an embedding has used before, which marks it."""
    if not isinstance(x, Tensor) or not isinstance(weight, Tensor):
        return False
    if not x.is_floating_point():
        weight.is_table = True  # type: ignore[attr-defined]
        return False
    return hasattr(weight if weight._base is None else weight._base, "is_table")


def _cut_off(function: Any, x: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return function(x, weight.detach(), *args, **kwargs)


def _is_inverted_mask(x: Any, other: Any = None, *_: Any, **__: Any) -> bool:
    return isinstance(x, Tensor) and other == 1 and bool(((x == 0) | (x == 1)).all())


def _mask_itself(function: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x.clone()


BY_HAND_FLIPS = (
    *(Flip(row, f"{norm} written out with eps {eps:g}", dict.fromkeys(ADD, _with_eps(eps)), only=_adds_eps(is_centred))
      for row, norm, is_centred in (("D18", "a norm", True), ("D19", "RMSNorm", False)) for eps in EPSILONS),
    *(flip for shift, where in SHIFTS.items() for flip in (
        Flip("D35", f"positions {where}", {F.embedding: _later_ids(shift)}, only=_are_positions),
        Flip("D35", f"positions read {where}", {Tensor.__getitem__: _later_rows(shift)}, only=_cuts_table),
        Flip("D35", f"positions {where}", dict.fromkeys(CAST, _later(shift)), only=_become_floats),
        Flip("D35", f"positions {where}", {torch.arange: _later(shift)}, only=_counts))),
    Flip("D53", "position table in float32", {Tensor.__getitem__: _rounded_rows}, only=_cuts_table),
    Flip("D13", "no gradient from the head to its tied embedding",
         {F.embedding: _cut_off, **dict.fromkeys(MATMUL, _cut_off)}, only=_is_table_again),
    Flip("D38", "the mask itself, not 1 - mask", dict.fromkeys(SUBTRACT_FROM, _mask_itself), only=_is_inverted_mask),
)  # fmt: skip
