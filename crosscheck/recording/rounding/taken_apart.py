"""Softmax and its backward passes as the operations that they are made of, so that random rounding reaches the sum of
each row.

Moving their operands alone cancels: the gradient of a softmax's scores adds up to 0 in each row, whatever comes in, and
what shifts all scores alike (the bias of the keys) would have a gradient without the noise of the sums.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    """exp(x - m) / sum(exp(x - m)) along an axis, with the largest entry m."""
    powers = (x - x.amax(dim, keepdim=True)).exp()
    return powers / powers.sum(dim, keepdim=True)


def softmax_backward(gradient: Tensor, output: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """g y - y sum(g y)."""
    product = gradient * output
    return product - output * product.sum(dim, keepdim=True)


def log_softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    """x - m - log(sum(exp(x - m)))."""
    shifted = x - x.amax(dim, keepdim=True)
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


def log_softmax_backward(gradient: Tensor, output: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """g - exp(y) sum(g)."""
    return gradient - output.exp() * gradient.sum(dim, keepdim=True)


APART: dict[Any, Callable[..., Tensor]] = {
    torch.ops.aten._softmax.default: softmax,
    torch.ops.aten._softmax_backward_data.default: softmax_backward,
    torch.ops.aten._log_softmax.default: log_softmax,
    torch.ops.aten._log_softmax_backward_data.default: log_softmax_backward,
}


def parts_of(operation: Any, args: tuple[Any, ...]) -> Callable[..., Tensor] | None:
    """The function that does the same in parts; None for other operations, and where there is nothing to sum over."""
    return APART.get(operation) if operation in APART and args[0].dim() and args[0].numel() else None
