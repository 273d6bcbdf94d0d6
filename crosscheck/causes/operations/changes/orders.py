"""The numbers of an operand or of a result in another order: axes exchanged, reversed, moved, interleaved."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region

PARTS = (2, 3, 4)
MOST_AXES = 6
Order = Callable[[Tensor], Tensor]


def orders(operation: Operation, region: Region) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """The operation with an operand in another order, or with its result in one."""
    for number, each in enumerate(operation.args[:4]):
        if isinstance(each, Tensor) and each.ndim:
            for what, order in _orders(each.shape):
                yield "D85", f"operand {number + 1} of {operation.words} {what}", _before(number, order)
    for what, order in _orders(operation.result.shape):
        yield "D85", f"the result of {operation.words} {what}", _after(order)


def _orders(shape: tuple[int, ...]) -> Iterator[tuple[str, Order]]:
    """Other orders of the same shape."""
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    if len(axes) > MOST_AXES:
        return
    for a, b in itertools.combinations(axes, 2):
        if shape[a] == shape[b]:
            yield f"with axes {a} and {b} exchanged", _exchanged(a, b)
        else:
            yield f"read with axes {a} and {b} exchanged", _read(a, b)
    for axis in axes:
        yield f"reversed along axis {axis}", _reversed(axis)
        for shift in (1, -1):
            yield f"rolled by {shift:+d} along axis {axis}", _rolled(shift, axis)
            yield f"moved by {shift:+d} along axis {axis}, with zeros behind", _moved(shift, axis)
        for parts in PARTS:
            if shape[axis] % parts == 0 and shape[axis] > parts:
                yield f"with {parts} parts of axis {axis} interleaved", _interleaved(axis, parts)
                yield f"with axis {axis} parted into {parts} by turns", _interleaved(axis, shape[axis] // parts)
        if shape[axis] % 2 == 0:
            yield f"with the halves of axis {axis} exchanged", _rolled(shape[axis] // 2, axis)


def _exchanged(a: int, b: int) -> Order:
    return lambda x: x.transpose(a, b)


def _read(a: int, b: int) -> Order:
    return lambda x: x.transpose(a, b).reshape(x.shape)


def _reversed(axis: int) -> Order:
    return lambda x: x.flip(axis)


def _rolled(shift: int, axis: int) -> Order:
    return lambda x: x.roll(shift, axis)


def _moved(shift: int, axis: int) -> Order:
    def order(x: Tensor) -> Tensor:
        place = torch.arange(x.shape[axis]).view(-1, *[1] * (x.ndim - axis - 1))
        return x.roll(shift, axis) * (place != (0 if shift > 0 else x.shape[axis] - 1)).to(x.dtype)

    return order


def _interleaved(axis: int, parts: int) -> Order:
    return lambda x: x.unflatten(axis, (parts, -1)).transpose(axis, axis + 1).flatten(axis, axis + 1)


def _before(number: int, order: Order) -> Callable[..., Any]:
    return lambda function, *args, **kwargs: function(
        *args[:number], order(args[number]), *args[number + 1 :], **kwargs
    )


def _after(order: Order) -> Callable[..., Any]:
    return lambda function, *args, **kwargs: order(function(*args, **kwargs))
