"""Operations as those that they are made of, so that random rounding reaches what is rounded inside, and no more.

Moving the operands of a softmax alone cancels: the gradient of its scores adds up to 0 in each row, whatever comes in,
and what shifts all scores alike (the bias of the keys) would have a gradient without the noise of the sums.
Moving beta, an operand of Adam's fused kernel, moves 1 - beta by 1 / (1 - beta) times as much, which nobody rounds so.
"""

from collections.abc import Callable, Sequence
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


def adamw(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    averages: Sequence[Tensor],
    squares: Sequence[Tensor],
    largest: Sequence[Tensor],
    steps: Sequence[Tensor],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    eps: float,
    **options: Any,
) -> None:
    """m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w = w - lr decay w - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) +
    eps), in place."""
    for w, g, m, v, step in zip(weights, gradients, averages, squares, steps, strict=True):
        m.mul_(beta1).add_(g * (1 - beta1))
        v.mul_(beta2).add_(g * g * (1 - beta2))
        corrected = m / (1 - beta1 ** step.item())
        root = (v / (1 - beta2 ** step.item())).sqrt()
        w.sub_(w * (lr * weight_decay)).sub_(corrected / (root + eps) * lr)


APART: dict[Any, Callable[..., Any]] = {
    torch.ops.aten._softmax.default: softmax,
    torch.ops.aten._softmax_backward_data.default: softmax_backward,
    torch.ops.aten._log_softmax.default: log_softmax,
    torch.ops.aten._log_softmax_backward_data.default: log_softmax_backward,
    torch.ops.aten._fused_adamw_.default: adamw,
}
OTHERWISE = ("amsgrad", "maximize", "grad_scale", "found_inf")  # options that the parts leave out


def parts_of(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any] | None:
    """The function that does the same in parts; None for other operations, and where there is nothing to sum over."""
    if operation not in APART or any(kwargs.get(name) for name in OTHERWISE):
        return None
    is_empty = isinstance(args[0], Tensor) and not args[0].numel()
    return None if is_empty else APART[operation]
