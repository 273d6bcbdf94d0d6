"""Pools, convolutions, resizing and groups of channels."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.flips.flip import Flip
from crosscheck.causes.flips.mistakes.functions import CONV

TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
AVERAGES = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
LARGEST = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
GROUPS = (1, 2, 4, 8, 16, 32)


def _per_axis(value: Any, axes: int) -> list[int]:
    return [int(each) for each in value] if isinstance(value, tuple | list) else [int(value)] * axes


# Padding


def _same(sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """XLA's SAME as F.pad takes it, from the last axis: half before, the rest behind."""
    pads: list[int] = []
    for n, k, s, d in reversed(list(zip(sizes, kernel, stride, dilation, strict=True))):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        pads += [total // 2, total - total // 2]
    return pads


def _symmetric(kernel: Sequence[int]) -> list[int]:
    return [side for k in reversed(kernel) for side in (k // 2, k // 2)]


def _conv(pads: Callable[..., list[int]]) -> Callable[..., Tensor]:
    def conv(
        function: Any, x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1,
    ) -> Tensor:  # fmt: skip
        axes = weight.ndim - 2
        given = x.shape[-axes:], weight.shape[2:], _per_axis(stride, axes), _per_axis(dilation, axes), padding
        return function(F.pad(x, pads(*given)), weight, bias, stride, 0, dilation, groups)

    return conv


def _behind(sizes: Any, kernel: Any, stride: Any, dilation: Any, padding: Any) -> list[int]:
    """All of the padding before, as causal convolutions have it."""
    if isinstance(padding, str):
        return [side for k, d in reversed(list(zip(kernel, dilation, strict=True))) for side in ((k - 1) * d, 0)]
    return [side for p in reversed(_per_axis(padding, len(kernel))) for side in (2 * p, 0)]


PADDINGS: dict[str, Callable[..., list[int]]] = {
    "SAME padding, half before and the rest behind": lambda n, k, s, d, padding: _same(n, k, s, d),
    "the same padding on both sides": lambda n, k, s, d, padding: _symmetric(k),
    "no padding": lambda n, k, s, d, padding: [0] * (2 * len(k)),
    "all padding before": _behind,
}


def _average(change: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def pool(
        function: Any, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, **kwargs: Any,
    ) -> Tensor:  # fmt: skip
        return change(function, x, kernel_size, stride or kernel_size, padding, ceil_mode, count_include_pad)

    return pool


def _other_count(function: Any, x: Tensor, kernel: Any, stride: Any, padding: Any, ceil: bool, counts: bool) -> Tensor:
    return function(x, kernel, stride, padding, ceil, not counts)


def _same_average(function: Any, x: Tensor, kernel: Any, stride: Any, padding: Any, ceil: bool, counts: bool) -> Tensor:
    axes = x.ndim - 2
    sizes = _per_axis(kernel, axes)
    pads = _same(x.shape[2:], sizes, _per_axis(stride, axes), [1] * axes)
    total = function(F.pad(x, pads), kernel, stride, 0, False, True)
    return total if counts else total / function(F.pad(torch.ones_like(x), pads), kernel, stride, 0, False, True)


def _other_count_in_same(*args: Any) -> Tensor:
    return _same_average(*args[:-1], not args[-1])


def _largest(
    function: Any, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, *args: Any, **kwargs: Any
) -> Any:
    axes = x.ndim - 2
    pads = _same(x.shape[2:], _per_axis(kernel_size, axes), _per_axis(stride or kernel_size, axes), [1] * axes)
    return function(F.pad(x, pads, value=-torch.inf), kernel_size, stride, 0)


def _largest_with_zeros(
    function: Any, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, *args: Any, **kwargs: Any
) -> Any:
    pads = [side for p in reversed(_per_axis(padding, x.ndim - 2)) for side in (p, p)]
    return function(F.pad(x, pads), kernel_size, stride, 0)


def _flipped(function: Any, x: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return function(x, weight.flip(tuple(range(2, weight.ndim))), *args, **kwargs)


# Resizing


def _resized(kernel: Callable[[Tensor], Tensor], antialias: bool) -> Callable[..., Tensor]:
    """The sizes that the function gives, made as jax.image.resize makes them."""

    def interpolate(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        for axis, size in enumerate(function(x, *args, **kwargs).shape[2:], 2):
            weights = _weights(x.shape[axis], size, kernel, antialias).to(x.dtype)
            x = (x.movedim(axis, -1) @ weights).movedim(-1, axis)
        return x

    return interpolate


def _weights(before: int, after: int, kernel: Callable[[Tensor], Tensor], antialias: bool) -> Tensor:
    scale = before / after
    centres = (torch.arange(after, dtype=torch.float64) + 0.5) * scale - 0.5
    width = max(scale, 1.0) if antialias else 1.0
    found = kernel((centres[None] - torch.arange(before, dtype=torch.float64)[:, None]).abs() / width)
    return found / found.sum(0, keepdim=True)


def _linear(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=0)


def _cubic(a: float) -> Callable[[Tensor], Tensor]:
    def kernel(x: Tensor) -> Tensor:
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))

    return kernel


KERNELS = {"linear": _linear, "cubic (a = -0.5)": _cubic(-0.5), "cubic (a = -0.75)": _cubic(-0.75)}


def _toggled(name: str) -> Callable[..., Tensor]:
    def interpolate(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(x, *args, **{**kwargs, name: not kwargs.get(name)})

    return interpolate


def _mode(mode: str) -> Callable[..., Tensor]:
    def interpolate(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(x, *args, **{**kwargs, "mode": mode, "align_corners": None, "antialias": False})

    return interpolate


# Groups


def _in_groups(number: int) -> Callable[..., Tensor]:
    return lambda norm, x, groups, *args, **kwargs: norm(x, number, *args, **kwargs)


def _is_other(number: int) -> Callable[..., bool]:
    return lambda x, groups, *_, **__: groups != number and x.shape[1] % number == 0


IMAGE_FLIPS = (
    Flip("D74", "an average pool that counts its padding (or does not)",
         dict.fromkeys(AVERAGES, _average(_other_count))),
    Flip("D74", "an average pool with SAME padding", dict.fromkeys(AVERAGES, _average(_same_average))),
    Flip("D74", "an average pool with SAME padding that counts its padding (or does not)",
         dict.fromkeys(AVERAGES, _average(_other_count_in_same))),
    Flip("D74", "a maximum pool with SAME padding", dict.fromkeys(LARGEST, _largest)),
    Flip("D74", "a maximum pool that pads with zeros", dict.fromkeys(LARGEST, _largest_with_zeros)),
    *(Flip("D75", f"a convolution with {what}", dict.fromkeys(CONV, _conv(pads))) for what, pads in PADDINGS.items()),
    Flip("D76", "a kernel flipped along its axes in space", dict.fromkeys((*CONV, *TRANSPOSED), _flipped)),
    *(Flip("D77", f"resized with the other {name}", {F.interpolate: _toggled(name)})
      for name in ("align_corners", "antialias")),
    *(Flip("D77", f"resized by a {name} kernel {'with' if smooth else 'without'} antialiasing, normalised at the edges",
           {F.interpolate: _resized(kernel, smooth)}) for name, kernel in KERNELS.items() for smooth in (True, False)),
    *(Flip("D77", f"resized in mode {mode!r}", {F.interpolate: _mode(mode)})
      for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")),
    *(Flip("D83", f"group normalisation in {number} groups", {F.group_norm: _in_groups(number)}, only=_is_other(number))
      for number in GROUPS),
)  # fmt: skip
