"""An operation left out in some places alone: at the first or last of an axis, or everywhere else."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from crosscheck.causes.flips.mistakes.functions import is_floats
from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region

PLACES = {"at the first place": (0, False), "at the last place": (-1, False),
          "but for the first place": (0, True), "but for the last place": (-1, True)}  # fmt: skip


def places(operation: Operation, region: Region) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """The operation left out where an axis begins or ends, or but there: one of its operands in place of its result."""
    for number, each in enumerate(operation.args[:2]):
        if is_floats(each) and each.shape == operation.result.shape:
            kept = f", operand {number + 1} kept" if sum(map(is_floats, operation.args[:2])) > 1 else ""
            for axis, size in enumerate(each.shape):
                for where, (place, is_rest) in PLACES.items() if size > 1 else ():
                    what = f"{operation.words} left out {where} of axis {axis}{kept}"
                    yield "D99", what, _left_out(number, axis, place, is_rest)


def _left_out(number: int, axis: int, place: int, is_rest: bool) -> Callable[..., Any]:
    def call(function: Any, *args: Any, **kwargs: Any) -> Tensor:
        own = function(*args, **kwargs)
        at = torch.zeros_like(own, dtype=torch.bool)
        at.select(axis, place).fill_(True)
        return torch.where(at != is_rest, args[number], own)

    return call
