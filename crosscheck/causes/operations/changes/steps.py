"""The step of a loop before or after: what a line reads is that of another step."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from crosscheck.causes.operations.operation import Operation

READ = "__getitem__"


def steps(run: list[Operation]) -> Iterator[tuple[Operation, str, str, Callable[..., Any]]]:
    """Lines that read one place of a tensor in each step of a loop, the one before or after; at an end the last."""
    of_line: dict[Any, list[Operation]] = {}
    for each in run:
        if each.name == READ and _numbers(each.args[1]):
            of_line.setdefault(each.place, []).append(each)
    for calls in of_line.values():
        if len({tuple(_numbers(each.args[1])) for each in calls}) > 1:
            for shift in (1, -1):
                yield calls[0], "D99", f"{calls[0].words} reads the step {shift:+d}", _shifted(shift)


def _numbers(index: Any) -> list[int]:
    parts = index if isinstance(index, tuple) else (index,)
    return [each for each in parts if isinstance(each, int) and not isinstance(each, bool)]


def _shifted(shift: int) -> Callable[..., Any]:
    def read(function: Any, x: Tensor, index: Any) -> Tensor:
        parts = index if isinstance(index, tuple) else (index,)
        moved = tuple(
            min(max(part + shift, 0), x.shape[axis] - 1) if isinstance(part, int) and part >= 0 else part
            for axis, part in enumerate(parts)
        )
        return function(x, moved)

    return read
