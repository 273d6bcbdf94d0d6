"""Angles of positions and of time: frequencies, bases, sine and cosine; norms of Fourier transforms; conjugates."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from crosscheck.causes.flips.flip import Flip
from crosscheck.causes.flips.mistakes.functions import DIVIDE, MATMUL, MULTIPLY, is_floats, is_number

BASES = (1e4, 1e5, 5e5, 1e6, 1e3, 100.0)
POWER = (torch.pow, Tensor.pow, Tensor.__pow__, Tensor.__rpow__)
FREQUENCIES = (*POWER, *DIVIDE, *MULTIPLY, Tensor.__rdiv__, torch.exp, Tensor.exp, torch.reciprocal, Tensor.reciprocal)
SHORT = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
SIN, COS = (torch.sin, Tensor.sin), (torch.cos, Tensor.cos)
FOURIER = tuple(
    getattr(torch.fft, f"{inverse}{real}fft{axes}")
    for inverse in ("", "i") for real in ("", "r") for axes in ("", "2", "n")
)  # fmt: skip


def _is_evenly_spaced(x: Any) -> bool:
    """True for positions, or a multiple of them."""
    if (
        not isinstance(x, Tensor)
        or x.ndim != 1
        or len(x) < 3
        or x.is_complex()
        or x.dtype == torch.bool
        or x.requires_grad
    ):
        return False
    steps = x.double().diff()
    rounding = torch.finfo(torch.float32).eps * x.double().abs().max()
    return bool(steps[0] != 0) and bool((steps - steps[0]).abs().max() <= rounding)


def _of_positions(x: Any, other: Any = None, *_: Any, **__: Any) -> bool:
    return _is_evenly_spaced(x) and is_number(other) and float(other) != 0


def _has_base(x: Any, other: Any = None, *_: Any, **__: Any) -> bool:
    numbers = [each for each in (x, other) if is_number(each)]
    return len(numbers) == 1 and float(numbers[0]) > 2


def _with_base(base: float) -> Callable[..., Tensor]:
    def power(function: Any, x: Any, other: Any, *args: Any, **kwargs: Any) -> Tensor:
        return function(base, other, *args, **kwargs) if is_number(x) else function(x, base, *args, **kwargs)

    return power


def _with_log_base(base: float) -> Callable[..., Tensor]:
    def multiply(function: Any, x: Tensor, other: Any, *args: Any, **kwargs: Any) -> Tensor:
        old = min(BASES, key=lambda each: abs(abs(float(other) * len(x)) - abs(math.log(each))))
        return function(x, float(other) * math.log(base) / math.log(old), *args, **kwargs)

    return multiply


def _shifted(shift: int) -> Callable[..., Tensor]:
    return lambda function, x, other, *args, **kwargs: function(x, other + shift, *args, **kwargs)


def _negative(function: Any, x: Tensor) -> Tensor:
    return -function(x)


def _normed(norm: str | None) -> Callable[..., Tensor]:
    def transform(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(x, *args[:2], **{**kwargs, "norm": norm})

    return transform


def _makes_vector(*args: Any, **_: Any) -> bool:
    """True for constants along one axis, such as frequencies."""
    tensors = [each for each in args if isinstance(each, Tensor)]
    floats = [each for each in tensors if is_floats(each)]
    return bool(floats) and all(each.ndim < 2 and not each.requires_grad for each in tensors)


def _rounded(dtype: torch.dtype) -> Callable[..., Tensor]:
    def result(function: Any, *args: Any, **kwargs: Any) -> Tensor:
        found = function(*args, **kwargs)
        return found.to(dtype).to(found.dtype)

    return result


def _of_rounded(dtype: torch.dtype) -> Callable[..., Tensor]:
    return lambda function, x: function(x.to(dtype).to(x.dtype))


def _conjugate(function: Any, *args: Any, **kwargs: Any) -> Tensor:
    return function(*(each.conj() if _is_complex_leaf(each) else each for each in args), **kwargs)


def _is_complex_leaf(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_complex() and value.is_leaf


def _has_complex_leaf(*args: Any, **_: Any) -> bool:
    return any(map(_is_complex_leaf, args))


def _conjugate_result(function: Any, *args: Any, **kwargs: Any) -> Tensor:
    return function(*args, **kwargs).conj()


def _is_complex(*args: Any, **_: Any) -> bool:
    return any(isinstance(each, Tensor) and each.is_complex() for each in args)


ANGLE_FLIPS = (
    Flip("D86", "sine and cosine exchanged", {**dict.fromkeys(SIN, lambda sin, x: x.cos()),
                                              **dict.fromkeys(COS, lambda cos, x: x.sin())}, only=is_floats),
    Flip("D86", "the angles turned the other way", dict.fromkeys(SIN, _negative), only=is_floats),
    *(Flip("D86", f"frequencies of base {base:g}", dict.fromkeys(POWER, _with_base(base)), only=_has_base)
      for base in BASES),
    *(Flip("D86", f"frequencies of base {base:g}", dict.fromkeys(MULTIPLY, _with_log_base(base)), only=_of_positions)
      for base in BASES),
    *(Flip("D86", f"frequencies divided by their number {'less' if shift < 0 else 'plus'} one",
           dict.fromkeys(DIVIDE, _shifted(shift)), only=_of_positions) for shift in (-1, 1)),
    *(Flip("D86", f"{what} rounded to {name}", dict.fromkeys(functions, change(dtype)), only=only)
      for name, dtype in SHORT.items()
      for what, functions, change, only in (("frequencies", FREQUENCIES, _rounded, _makes_vector),
                                            ("angles", (*SIN, *COS), _of_rounded, is_floats),
                                            ("sines and cosines", (*SIN, *COS), _rounded, is_floats))),
    *(Flip("D91", f"a Fourier transform with norm={norm!r}", dict.fromkeys(FOURIER, _normed(norm)))
      for norm in ("ortho", "forward", "backward")),
    Flip("D90", "a complex weight conjugated",
         dict.fromkeys((*MATMUL, *MULTIPLY, torch.einsum), _conjugate), only=_has_complex_leaf),
    Flip("D90", "a complex result conjugated",
         dict.fromkeys((*MATMUL, *MULTIPLY, torch.einsum), _conjugate_result), only=_is_complex),
)  # fmt: skip
