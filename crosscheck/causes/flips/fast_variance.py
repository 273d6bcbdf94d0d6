"""Replaces torch's normalisation functions by ones with variance E[x^2] - E[x]^2, Flax's default."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.flips.flip import Functions


def _moments(x: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean and variance over some axes, keeping them with length 1."""
    mean = x.mean(tuple(axes), keepdim=True)
    return mean, ((x * x).mean(tuple(axes), keepdim=True) - mean * mean).clamp(min=0)


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]) -> Tensor:
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _layer_norm(norm: Any, x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    mean, variance = _moments(x, range(-len(shape), 0))
    return _scaled((x - mean) * torch.rsqrt(variance + eps), weight, bias, shape)


def _group_norm(norm: Any, x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    grouped = x.reshape(len(x), groups, -1)
    mean, variance = _moments(grouped, [-1])
    normed = ((grouped - mean) * torch.rsqrt(variance + eps)).reshape(x.shape)
    return _scaled(normed, weight, bias, _of_channels(x))


def _batch_norm(
    norm: Any,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    mean, variance = _moments(x, (0, *range(2, x.ndim)))
    if running_mean is not None and running_var is not None:
        number = x.numel() // x.shape[1]
        with torch.no_grad():
            running_mean.lerp_(mean.flatten(), momentum)
            running_var.lerp_(variance.flatten() * number / (number - 1), momentum)
    return _scaled((x - mean) * torch.rsqrt(variance + eps), weight, bias, _of_channels(x))


def _of_channels(x: Tensor) -> tuple[int, ...]:
    return (-1, *(1 for _ in x.shape[2:]))


FAST_VARIANCE: Functions = {F.layer_norm: _layer_norm, F.group_norm: _group_norm, F.batch_norm: _batch_norm}
