"""Masks and windows: off by one, forgotten, causal or padding alone."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.flips.flip import Flip, Functions
from crosscheck.causes.flips.mistakes.functions import ADD, FILL, HIDING, MULTIPLY, is_additive_mask, is_floats, is_mask

TRIANGLES = (torch.tril, Tensor.tril, torch.triu, Tensor.triu)
COMPARED = (torch.lt, Tensor.lt, Tensor.__lt__, torch.le, Tensor.le, Tensor.__le__,
            torch.gt, Tensor.gt, Tensor.__gt__, torch.ge, Tensor.ge, Tensor.__ge__)  # fmt: skip
ATTEND = F.scaled_dot_product_attention
Change = Callable[[Tensor], Tensor | None]


def _diagonal(shift: int) -> Callable[..., Tensor]:
    def triangle(function: Any, x: Tensor, diagonal: int = 0) -> Tensor:
        return function(x, diagonal=diagonal + shift)

    return triangle


def _threshold(shift: int) -> Callable[..., Tensor]:
    return lambda function, x, other: function(x, other + shift)


def _of_integers(x: Any, other: Any = None, *_: Any, **__: Any) -> bool:
    return isinstance(x, Tensor) and not x.is_floating_point() and x.ndim > 1 and isinstance(other, int)


def _later(mask: Tensor, shift: int) -> Tensor:
    """The mask with every query seeing what the query `shift` places later sees."""
    if mask.shape[-2] == 1:
        return mask
    moved = mask.roll(-shift, -2)
    rows = slice(-shift, None) if shift > 0 else slice(0, -shift)
    moved[..., rows, :] = mask[..., rows, :]
    return moved


def _joined(mask: Tensor, shift: int, is_hiding: bool) -> Tensor:
    """What a query sees, or the query `shift` places later."""
    later = _later(mask, shift)
    if mask.dtype != torch.bool:
        return torch.maximum(mask, later)
    return mask & later if is_hiding else mask | later


def _met(mask: Tensor, shift: int, is_hiding: bool) -> Tensor:
    """What a query sees, and the query `shift` places later too."""
    later = _later(mask, shift)
    if mask.dtype != torch.bool:
        return torch.minimum(mask, later)
    return mask | later if is_hiding else mask & later


def _most(mask: Tensor, axis: int, is_hiding: bool) -> Tensor:
    """What any row along the axis sees: a padding mask differs by row of the batch, a causal one by query."""
    seen = mask.amax(axis, keepdim=True) if mask.is_floating_point() else (
        mask.all(axis, keepdim=True) if is_hiding else mask.any(axis, keepdim=True)
    )  # fmt: skip
    return seen.expand_as(mask)


MASKS: dict[str, Callable[[Tensor, bool], Tensor | None]] = {
    "no mask": lambda mask, is_hiding: None,
    "no padding mask": lambda mask, is_hiding: _most(mask, 0, is_hiding),
    "no causal mask": lambda mask, is_hiding: _most(mask, -2, is_hiding),
    "a window one place wider": lambda mask, is_hiding: _joined(mask, -1, is_hiding),
    "a window one place narrower": lambda mask, is_hiding: _met(mask, 1, is_hiding),
    "a mask that is one place ahead": lambda mask, is_hiding: _joined(mask, 1, is_hiding),
    "a mask that is one place behind": lambda mask, is_hiding: _met(mask, -1, is_hiding),
    "a window that is one place ahead, with both ends": lambda mask, is_hiding: _later(mask, 1),
    "a window that is one place behind, with both ends": lambda mask, is_hiding: _later(mask, -1),
}


def _in_sum(change: Callable[[Tensor, bool], Tensor | None]) -> Callable[..., Tensor]:
    def add(function: Any, x: Tensor, mask: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        new = change(mask, False)
        return x.clone() if new is None else function(x, new, *args, **kwargs)

    return add


def _in_fill(change: Callable[[Tensor, bool], Tensor | None]) -> Callable[..., Tensor]:
    def fill(function: Any, x: Tensor, mask: Tensor, value: Any) -> Tensor:
        new = change(mask.expand(*mask.shape[:-2], x.shape[-2], mask.shape[-1]).clone(), True)
        return x.clone() if new is None else function(x, new, value)

    return fill


def _in_attention(change: Callable[[Tensor, bool], Tensor | None]) -> Callable[..., Tensor]:
    def attend(
        function: Any, q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, dropout_p: float = 0.0,
        is_causal: bool = False, **kwargs: Any,
    ) -> Tensor:  # fmt: skip
        if attn_mask is None and is_causal:
            attn_mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
        new = None if attn_mask is None else change(attn_mask, False)
        return function(q, k, v, new, dropout_p, False, **kwargs)

    return attend


def _in_where(change: Callable[[Tensor, bool], Tensor | None]) -> Callable[..., Tensor]:
    def choose(function: Any, mask: Tensor, x: Any, other: Any) -> Tensor:
        is_hiding = _is_hiding(x)
        new = change(mask, is_hiding)
        if new is None:
            return (other if is_hiding else x).clone()
        return function(new, x, other)

    return choose


def _is_hiding(value: Any) -> bool:
    """True for what a mask puts in the place of a score: a very negative number."""
    if isinstance(value, Tensor):
        return value.is_floating_point() and value.ndim == 0 and float(value) <= HIDING
    return isinstance(value, float) and value <= HIDING


def _has_mask(x: Any, other: Any = None, *rest: Any, **kwargs: Any) -> bool:
    if kwargs.get("is_causal") or any(rest[2:4]) and any(each is True for each in rest):
        return True
    if isinstance(x, Tensor) and x.dtype == torch.bool:  # torch.where, of scores and what hides them
        chosen = [other, *rest]
        return x.ndim > 1 and any(map(_is_hiding, chosen)) and any(is_floats(each) for each in chosen)
    given = [other, *rest, *kwargs.values()]
    return not is_additive_mask(x) and any(is_mask(each) for each in given)


def _everywhere(change: Callable[[Tensor, bool], Tensor | None]) -> Functions:
    functions: Functions = {**dict.fromkeys(ADD, _in_sum(change)), **dict.fromkeys(FILL, _in_fill(change))}
    return {**functions, torch.where: _in_where(change), ATTEND: _in_attention(change)}


def _adds_causal_mask(
    function: Any, q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, **kwargs: Any,
) -> Tensor:  # fmt: skip
    return function(q, k, v, None, dropout_p, not is_causal, **kwargs)


def _hides(condition: Any, x: Any = None, other: Any = None) -> bool:
    return isinstance(condition, Tensor) and condition.dtype == torch.bool and condition.ndim > 1


def _is_zeros_and_ones(x: Any) -> bool:
    return isinstance(x, Tensor) and x.ndim > 1 and bool(((x == 0) | (x == 1)).all()) and bool((x == 0).any())


def _multiplies_by_mask(x: Any, other: Any = None, *_: Any, **__: Any) -> bool:
    """True for a product with a mask, or a sum over one."""
    return _is_zeros_and_ones(x) or _is_zeros_and_ones(other)


def _unmasked(function: Any, x: Any, other: Any, *_: Any, **__: Any) -> Any:
    return (other if _is_zeros_and_ones(x) else x).clone()


def _count_all(function: Any, mask: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return function(torch.ones_like(mask), *args, **kwargs)


MASK_FLIPS = (
    Flip("D79", "no mask of zeros and ones, in products and in what is counted", {
        **dict.fromkeys(MULTIPLY, _unmasked),
        **dict.fromkeys((torch.sum, Tensor.sum), _count_all),
    }, only=_multiplies_by_mask),
    *(Flip("D78", f"a triangle with its diagonal moved by {shift:+d}", dict.fromkeys(TRIANGLES, _diagonal(shift)))
      for shift in (1, -1)),
    *(Flip("D78", f"a threshold of positions (a window) moved by {shift:+d}",
           dict.fromkeys(COMPARED, _threshold(shift)), only=_of_integers) for shift in (1, -1)),
    *(Flip("D79" if what.startswith("no ") else "D78", f"{what} on the scores", _everywhere(change), only=_has_mask)
      for what, change in MASKS.items()),
    Flip("D79", "a causal mask added (or left out)", {ATTEND: _adds_causal_mask}),
    Flip("D79", "the values themselves where a mask chooses", {torch.where: lambda where, condition, x, other: (
        x if isinstance(x, Tensor) and x.ndim > 0 else other).clone()}, only=_hides),
)  # fmt: skip
