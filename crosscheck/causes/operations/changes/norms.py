"""A norm over other axes, without its mean, its weight or its bias, or with its epsilon elsewhere, written out."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region

NORMS = (F.layer_norm, F.rms_norm, F.group_norm, F.batch_norm, F.instance_norm)
MOST_AXES = 5


def norms(operation: Operation, region: Region) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """The norm over every choice of axes, then with one of its parts left out or moved."""
    if operation.function not in NORMS or not isinstance(operation.args[0], Tensor):
        return
    x, words = operation.args[0], operation.words
    for number in range(1, min(x.ndim, MOST_AXES) + 1):
        for axes in itertools.combinations(range(x.ndim), number):
            for is_centred, how in ((True, ""), (False, ", of mean squares")):
                yield "D99", f"{words} over axes {axes}{how}", _over(axes, is_centred)
    for part, change in PARTS.items():
        yield "D99", f"{words} {part}", change


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, float]:
    """The weight, the bias and the epsilon of a call of any norm."""
    tensors = [each for each in (*args[1:], *kwargs.values()) if isinstance(each, Tensor) and each.requires_grad]
    numbers = [each for each in (*args[1:], *kwargs.values()) if isinstance(each, float)]
    return tensors[0] if tensors else None, tensors[1] if len(tensors) > 1 else None, min(numbers, default=1e-5)


def _over(axes: tuple[int, ...], is_centred: bool) -> Callable[..., Any]:
    def norm(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        weight, bias, eps = _given((x, *args), kwargs)
        centred = x - x.mean(axes, keepdim=True) if is_centred else x
        found = centred * (centred.square().mean(axes, keepdim=True) + eps).rsqrt()
        return _affine(found, weight, bias, function)

    return norm


def _affine(x: Tensor, weight: Any, bias: Any, function: Any) -> Tensor:
    shape = (1, -1, *[1] * (x.ndim - 2)) if function in NORMS[2:] else None
    for each, apply in ((weight, torch.mul), (bias, torch.add)):
        if each is not None:
            x = apply(x, each.view(shape) if shape else each)
    return x


def _without(*lost: str) -> Callable[..., Any]:
    def norm(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        weight, bias, _ = _given((x, *args), kwargs)
        gone = {id(each) for name, each in (("weight", weight), ("bias", bias)) if name in lost and each is not None}
        kept = [None if id(each) in gone else each for each in args]
        return function(x, *kept, **{name: None if id(each) in gone else each for name, each in kwargs.items()})

    return norm


def _outside(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    weight, bias, eps = _given((x, *args), kwargs)
    centred = x - x.mean(-1, keepdim=True) if function is F.layer_norm else x
    return _affine(centred / (centred.square().mean(-1, keepdim=True).sqrt() + eps), weight, bias, function)


def _unbiased(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    weight, bias, eps = _given((x, *args), kwargs)
    return _affine((x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + eps), weight, bias, function)


PARTS: dict[str, Callable[..., Any]] = {
    "without its weight": _without("weight"),
    "without its bias": _without("bias"),
    "without its weight and bias": _without("weight", "bias"),
    "with its epsilon added to the root": _outside,
    "by the deviation of a sample, with its epsilon added": _unbiased,
}
