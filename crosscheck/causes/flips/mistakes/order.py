"""Parts in another order: concatenation, chunks, directions, heads, repeated heads."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.flips.flip import Flip
from crosscheck.causes.flips.mistakes.functions import RESHAPE, SUBTRACT, is_floats
from crosscheck.causes.flips.mistakes.padding import turned


def _several(parts: Any, *_: Any, **__: Any) -> bool:
    return isinstance(parts, tuple | list) and len(parts) > 1 and all(map(is_floats, parts))


def _reversed(function: Any, parts: Any, *args: Any, **kwargs: Any) -> Tensor:
    return function(tuple(parts)[::-1], *args, **kwargs)


def _reversed_result(function: Any, *args: Any, **kwargs: Any) -> Any:
    return tuple(function(*args, **kwargs))[::-1]


def _other_gate(function: Any, x: Tensor, dim: int = -1) -> Tensor:
    first, second = x.chunk(2, dim)
    return second * torch.sigmoid(first)


def _of_positions(x: Any, other: Any = None, *_: Any, **__: Any) -> bool:
    return all(isinstance(each, Tensor) and not each.is_floating_point() for each in (x, other))


def _permuted(order: tuple[int, ...]) -> Callable[..., Any]:
    """The parts of a split, so many at a time, in another order."""

    def split(function: Any, *args: Any, **kwargs: Any) -> Any:
        parts, size = tuple(function(*args, **kwargs)), len(order)
        if len(parts) % size:
            return parts
        return tuple(parts[start + place] for start in range(0, len(parts), size) for place in order)

    return split


def _blocks_first(function: Any, x: Tensor, factor: int) -> Tensor:
    """A channel for every place in a block, and of these one for every channel: the order of space_to_depth."""
    *rest, channels, height, width = function(x, factor).shape
    if function is F.pixel_unshuffle:
        found = function(x, factor).reshape(*rest, -1, factor * factor, height, width).transpose(-4, -3)
        return found.reshape(*rest, channels, height, width)
    parts = x.reshape(*x.shape[:-3], factor * factor, -1, *x.shape[-2:]).transpose(-4, -3)
    return function(parts.reshape(x.shape), factor)


# Recurrent layers


def _halves(result: Any, change: Any) -> Any:
    first, second = result[0].chunk(2, -1)
    return (torch.cat(change(first, second), -1), *result[1:])


def _exchanged(function: Any, *args: Any) -> Any:
    return _halves(function(*args), lambda first, second: (second, first))


def _not_turned(function: Any, *args: Any) -> Any:
    if isinstance(args[1], Tensor):  # packed: the second argument are the sizes of the batch by step
        return _halves(function(*args), lambda first, second: (first, turned(second, args[1])))
    time = 1 if args[-1] is True else 0  # batch_first is the last argument
    return _halves(function(*args), lambda first, second: (first, second.flip(time)))


def _is_bidirectional(*args: Any, **_: Any) -> bool:
    return (
        len(args) > 8
        and any(args[place] is True for place in (7, 8))
        and args[2 if not isinstance(args[1], Tensor) else 3] is not None
    )


# Heads


def _splits_heads(x: Any, *sizes: Any) -> bool:
    return is_floats(x) and x.ndim == 3 and len(_sizes(sizes)) == 4


def _other_split(function: Any, x: Tensor, *sizes: Any) -> Tensor:
    batch, time, heads, size = function(x, *sizes).shape
    return x.reshape(batch, time, size, heads).transpose(-1, -2)


def _merges_heads(x: Any, *sizes: Any) -> bool:
    return is_floats(x) and x.ndim == 4 and len(_sizes(sizes)) == 3


def _other_merge(function: Any, x: Tensor, *sizes: Any) -> Tensor:
    return x.transpose(-1, -2).reshape(function(x.contiguous(), *sizes).shape)


def _sizes(sizes: Any) -> tuple[int, ...]:
    return tuple(sizes[0]) if sizes and not isinstance(sizes[0], int) else tuple(sizes)


def _merges_repeats(x: Any, *sizes: Any) -> bool:
    return is_floats(x) and x.ndim == 5 and 0 in x.stride() and len(_sizes(sizes)) == 4


def _tiled_merge(function: Any, x: Tensor, *sizes: Any) -> Tensor:
    axis = x.stride().index(0)
    return x.transpose(axis - 1, axis).reshape(_sizes(sizes))


def _tiled(function: Any, x: Tensor, repeats: Any, dim: Any = None, **kwargs: Any) -> Tensor:
    dim = kwargs.get("dim", dim)
    counts = [1] * x.ndim
    counts[0 if dim is None else dim] = repeats
    return x.repeat(*counts)


def _repeats(x: Any, repeats: Any = None, *_: Any, **__: Any) -> bool:
    return is_floats(x) and isinstance(repeats, int)


def _interleaved(function: Any, x: Tensor, *counts: Any) -> Tensor:
    for axis, count in enumerate(_sizes(counts)):
        x = x.repeat_interleave(count, axis) if count > 1 else x
    return x


def _same_axes(x: Any, *counts: Any) -> bool:
    return is_floats(x) and len(_sizes(counts)) == x.ndim


RECURRENT = tuple(
    getattr(torch, name) for name in ("lstm", "gru", "rnn_tanh", "rnn_relu") if hasattr(torch, name)
)  # what nn.LSTM and its relatives call
CHUNKS = (torch.chunk, Tensor.chunk, torch.split, Tensor.split, torch.unbind, Tensor.unbind, torch.tensor_split)
JOINING = ("concatenate", "scatter", "dynamic_update_slice")
ORDER_FLIPS = (
    Flip("D85", "the parts of a concatenation in the reverse order",
         dict.fromkeys((torch.cat, torch.concat, torch.concatenate, torch.stack), _reversed), only=_several,
         supposes=JOINING),
    Flip("D85", "the parts of a split exchanged", dict.fromkeys(CHUNKS, _reversed_result)),
    *(Flip("D85", f"the parts of a split in the order {order}", dict.fromkeys(CHUNKS, _permuted(order)))
      for order in ((1, 0, 2), (0, 2, 1), (1, 2, 0), (2, 0, 1), (1, 0))),
    Flip("D85", "the channels of a block of pixels in the order of space_to_depth",
         {F.pixel_shuffle: _blocks_first, F.pixel_unshuffle: _blocks_first}),
    Flip("D85", "a difference of positions the other way round", dict.fromkeys(SUBTRACT, lambda subtract, x, y: y - x),
         only=_of_positions),
    Flip("D85", "the halves of a gated unit exchanged", {F.glu: _other_gate}),
    Flip("D85", "the two directions of a recurrent layer exchanged", dict.fromkeys(RECURRENT, _exchanged),
         only=_is_bidirectional),
    Flip("D39", "the reversed direction's outputs in reverse time", dict.fromkeys(RECURRENT, _not_turned),
         only=_is_bidirectional),
    Flip("D87", "heads split as (size, heads), not (heads, size)", dict.fromkeys(RESHAPE, _other_split),
         only=_splits_heads),
    Flip("D87", "heads joined as (size, heads), not (heads, size)", dict.fromkeys(RESHAPE, _other_merge),
         only=_merges_heads),
    Flip("D87", "repeated heads tiled (0 1 0 1), not repeated in place (0 0 1 1)",
         dict.fromkeys(RESHAPE, _tiled_merge), only=_merges_repeats),
    Flip("D87", "repeated heads tiled (0 1 0 1), not repeated in place (0 0 1 1)",
         dict.fromkeys((torch.repeat_interleave, Tensor.repeat_interleave), _tiled), only=_repeats),
    Flip("D87", "heads repeated in place (0 0 1 1), not tiled (0 1 0 1)",
         {Tensor.repeat: _interleaved, torch.tile: _interleaved, Tensor.tile: _interleaved}, only=_same_axes),
)  # fmt: skip
