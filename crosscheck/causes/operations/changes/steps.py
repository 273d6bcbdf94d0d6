"""Another step of a loop: what a line reads is that of the step before or after, or the last round is left out."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from crosscheck.causes.operations.operation import Operation

READ = "__getitem__"


def steps(run: list[Operation]) -> Iterator[tuple[Operation, str, str, Callable[..., Any]]]:
    """Lines that read one place of a tensor in each step of a loop, the one before or after; at an end the last, or
    zeros."""
    of_line: dict[Any, list[Operation]] = {}
    for each in run:
        if each.name == READ and _numbers(each.args[1]):
            of_line.setdefault(each.place, []).append(each)
    for calls in of_line.values():
        if len({tuple(_numbers(each.args[1])) for each in calls}) > 1:
            for shift, has_zeros in itertools.product((1, -1), (False, True)):
                what = f"{calls[0].words} reads the step {shift:+d}{', zeros beyond the end' if has_zeros else ''}"
                yield calls[0], "D99", what, _shifted(shift, has_zeros)


def rounds(run: Sequence[Operation]) -> Iterator[tuple[list[Operation], str, str, Callable[..., Any]]]:
    """The last round of each loop left out: its operations return what they did in the round before."""
    of_path: dict[str, dict[Any, list[Operation]]] = {}
    for each in run:
        if each.place is not None:
            of_path.setdefault(each.site[0], {}).setdefault((each.place, each.function), []).append(each)
    for path, places in of_path.items():
        for number in sorted({len({each.site for each in calls}) for calls in places.values()} - {1}):
            loop = [calls[0] for calls in places.values() if len({each.site for each in calls}) == number]
            what = f"the last of {number} rounds at {loop[0].line or path} left out"
            yield loop, "D99", what, _without_last(number, len(loop))


def _without_last(number: int, length: int) -> Callable[..., Any]:
    kept: list[Any] = []

    def call(function: Any, at: tuple[str, int], *args: Any, **kwargs: Any) -> Any:
        if at[1] == 0:
            kept.clear()
        kept.append(kept[-length] if at[1] >= (number - 1) * length else function(*args, **kwargs))
        return kept[-1]

    return call


def _numbers(index: Any) -> list[int]:
    parts = index if isinstance(index, tuple) else (index,)
    return [each for each in parts if isinstance(each, int) and not isinstance(each, bool)]


def _shifted(shift: int, has_zeros: bool) -> Callable[..., Any]:
    def read(function: Any, x: Tensor, index: Any) -> Tensor:
        parts = index if isinstance(index, tuple) else (index,)
        wanted = tuple(part + shift if isinstance(part, int) and part >= 0 else part for part in parts)
        moved = tuple(
            min(max(part, 0), x.shape[axis] - 1) if isinstance(part, int) and parts[axis] >= 0 else part
            for axis, part in enumerate(wanted)
        )
        found = function(x, moved)
        return torch.zeros_like(found) if has_zeros and moved != wanted else found

    return read
