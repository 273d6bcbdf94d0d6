"""Factors: of embeddings, of attention scores, 1 + weight of a norm."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.flips.flip import Flip, Functions
from crosscheck.causes.flips.mistakes.functions import (
    ADD,
    DIVIDE,
    HIDING,
    MATMUL,
    MULTIPLY,
    is_floats,
    is_number,
    is_parameter,
    is_vector_parameter,
)

ATTEND = F.scaled_dot_product_attention
FACTORS: dict[str, Callable[[float], float]] = {
    "left out": lambda c: 1.0,
    "applied twice": lambda c: c * c,
    "inverted": lambda c: 1 / c,
    "rounded to an integer": lambda c: float(round(c)) or c,
    "rounded to bfloat16": lambda c: float(torch.tensor(c, dtype=torch.bfloat16)),
    "replaced by its square root": lambda c: math.copysign(abs(c) ** 0.5, c),
}


def _by_constant(x: Any, other: Any = None, *_: Any, **__: Any) -> bool:
    return is_floats(x) and not is_parameter(x) and is_number(other) and 0 < abs(float(other)) < -HIDING


def _times(change: Callable[[float], float]) -> Callable[..., Tensor]:
    return lambda function, x, other, *args, **kwargs: function(x, change(float(other)), *args, **kwargs)


def _power_of_width(power: float) -> Callable[..., Tensor]:
    def embedding(look_up: Any, ids: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return look_up(ids, weight, *args, **kwargs) * weight.shape[-1] ** power

    return embedding


def _part_times(place: int, power: float) -> Callable[..., Tensor]:
    """A concatenation with one part times a power of its width."""

    def join(function: Any, parts: Any, *args: Any, **kwargs: Any) -> Tensor:
        scaled = list(parts)
        scaled[place] = scaled[place] * scaled[place].shape[-1] ** power
        return function(scaled, *args, **kwargs)

    return join


def _has_two(parts: Any, *_: Any, **__: Any) -> bool:
    return isinstance(parts, tuple | list) and len(parts) > 1 and all(map(is_floats, parts))


def _of_scores(x: Any, other: Any = None, *_: Any, **__: Any) -> bool:
    """True for a product of queries and keys, not of probabilities and values."""
    both = is_floats(x) and is_floats(other) and min(x.ndim, other.ndim) > 2
    return both and not is_parameter(other) and bool((x < 0).any())


def _scores(factor: Callable[[int, int], float]) -> Callable[..., Tensor]:
    """A product of queries and keys times a factor of the head's size and the number of heads."""

    def product(function: Any, x: Tensor, other: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(x, other, *args, **kwargs) * factor(x.shape[-1], x.shape[1])

    return product


def _scores_of_einsum(factor: Callable[[int, int], float]) -> Callable[..., Tensor]:
    def einsum(function: Any, equation: str, *operands: Any) -> Tensor:
        size = operands[0].shape[-1]
        return function(equation, *operands) * factor(size, operands[0].shape[-2])

    return einsum


def _attend(factor: Callable[[int, int], float]) -> Callable[..., Tensor]:
    def attend(function: Any, q: Tensor, k: Tensor, v: Tensor, *args: Any, scale: Any = None, **kwargs: Any) -> Tensor:
        old = q.shape[-1] ** -0.5 if scale is None else scale
        return function(q, k, v, *args, scale=old * factor(q.shape[-1], q.shape[1]), **kwargs)

    return attend


SCORES: dict[str, Callable[[int, int], float]] = {
    "without 1/sqrt(size of a head)": lambda size, heads: size**0.5,
    "scaled by 1/sqrt(size of a head) once more": lambda size, heads: size**-0.5,
    "scaled by 1/sqrt(width of all heads)": lambda size, heads: heads**-0.5,
    "scaled by 1/size of a head": lambda size, heads: 1 / size,
    "multiplied by the size of a head": lambda size, heads: float(size),
    "scaled for one head instead of all": lambda size, heads: heads**0.5,
}


def _in_scores(factor: Callable[[int, int], float]) -> Functions:
    return {**dict.fromkeys(MATMUL, _scores(factor)), ATTEND: _attend(factor), torch.einsum: _scores_of_einsum(factor)}


def _adds_one(x: Any, other: Any = None, *_: Any, **__: Any) -> bool:
    return is_vector_parameter(x) and other == 1


def _by_weight(x: Any, other: Any = None, *_: Any, **__: Any) -> bool:
    return is_vector_parameter(other) or (is_vector_parameter(x) and is_floats(other))


def _one_more(function: Any, x: Tensor, other: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    x, other = (x, 1 + other) if is_vector_parameter(other) else (1 + x, other)
    return function(x, other, *args, **kwargs)


def _norm_with_one_more(function: Any, x: Tensor, shape: Any, weight: Any = None, *args: Any, **kwargs: Any) -> Tensor:
    return function(x, shape, None if weight is None else 1 + weight, *args, **kwargs)


def _is_attention(*args: Any, **kwargs: Any) -> bool:
    if isinstance(args[0], str):  # the equation of an einsum
        return len(args) == 3 and _of_scores(*args[1:])
    return _of_scores(*args, **kwargs)


SCALE_FLIPS = (
    *(Flip("D80", f"attention scores {what}", _in_scores(factor), only=_is_attention)
      for what, factor in SCORES.items()),
    *(Flip("D81", f"a constant factor {what}", dict.fromkeys(MULTIPLY, _times(change)), only=_by_constant)
      for what, change in FACTORS.items()),
    *(Flip("D81", f"a constant divisor {what}", dict.fromkeys(DIVIDE, _times(change)), only=_by_constant)
      for what, change in FACTORS.items()),
    *(Flip("D81", f"an embedding {what}", {F.embedding: _power_of_width(power)})
      for what, power in (("multiplied by sqrt(width)", 0.5), ("divided by sqrt(width)", -0.5),
                          ("multiplied by its width", 1.0))),
    *(Flip("D81", f"part {place + 1} of a concatenation {what} sqrt(width)",
           dict.fromkeys((torch.cat, torch.concat), _part_times(place, power)), only=_has_two)
      for place in (0, 1) for power, what in ((0.5, "multiplied by"), (-0.5, "divided by"))),
    Flip("D82", "a weight itself, not 1 + weight", dict.fromkeys(ADD, lambda add, x, one: x.clone()),
         only=_adds_one),
    Flip("D82", "1 + weight in place of a norm's weight", dict.fromkeys(MULTIPLY, _one_more), only=_by_weight),
    Flip("D82", "1 + weight in place of a norm's weight",
         {F.rms_norm: _norm_with_one_more, F.layer_norm: _norm_with_one_more}),
)  # fmt: skip
