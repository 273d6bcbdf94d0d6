"""The formulas of a region: what torch computes there, and what JAX does."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from crosscheck.causes.operations.formula import Formula, difference, simplified
from crosscheck.causes.operations.in_torch import BUFFER
from crosscheck.causes.operations.notation import LONGEST, NAMES, RESHAPES, SAME, flat, written
from crosscheck.causes.operations.operation import INPUT, Given, Operation
from crosscheck.causes.operations.region import TOLERANCE, Region, is_same
from crosscheck.causes.operations.relation import relation

DEPTH = 2  # to which what both sides have is written out where it has no name
SAYS = "torch computes "
MOST = 14  # operations that a formula may have


def formulas(region: Region, ours: Operation, theirs: Operation) -> tuple[Formula, Formula] | None:
    """What torch computes as one operation of a region and JAX as another, where they differ; None if they don't, or
    if that takes too many operations."""
    for has_calls in (True, False):
        left, right = (_Side(region, each, run, has_calls) for each, run in (
            (region.ours, region.run), (region.theirs, region.their_run)))  # fmt: skip
        mine, other = difference(left.formula(ours), right.formula(theirs))
        if mine != other:
            return (mine, other) if max(mine.size, other.size) <= MOST else None
    return None


def in_words(region: Region, ours: Operation, theirs: Operation) -> tuple[str, tuple[str, str]] | None:
    """The two formulas and what one result is of the other, in words, and how to change the JAX side and torch's."""
    both = formulas(region, ours, theirs)
    if both is None:
        return None
    mine, other = map(str, both)
    lines = (f" ({each.line})" if each.line else "" for each in (ours, region.made(theirs)))
    how = relation(ours.result, theirs.result)
    words = SAYS + f"{mine}{next(lines)}, JAX {other}{next(lines)}"
    return f"{words}{f'; of the results {how}' if how else ''}", (
        f"compute {mine}, not {other}",
        f"compute {other}, not {mine}",
    )


class _Side:
    """One side of a region, whose own operations are written out and all others by name."""

    def __init__(self, region: Region, own: Sequence[Operation], run: Sequence[Operation], has_calls: bool):
        self.region, self.run, self.has_calls = region, run, has_calls
        self.own = {id(each) for each in own if not _is_shared(each, own[-1], region)}
        self.left = 4 * MOST  # operations that are still written out

    def formula(self, operation: Operation) -> Formula:
        """The operation as a formula."""
        if id(operation) not in self.own or self.left <= 0:
            return self.named(operation)
        self.left -= 1
        return self._written(operation, self.formula)

    def named(self, operation: Operation, depth: int = DEPTH) -> Formula:
        """What both sides have: torch's parameter, input, variable or module; else as a formula of such, or its
        line."""
        mine = self._in_torch(operation)
        is_number = operation.result.size == 1 and not operation.inputs and operation.result.dtype.kind in "fiub"
        if is_number and not (mine is not None and mine.name == "parameter" and mine.line):
            return Formula(f"{operation.result.item():.6g}")
        if mine is None:
            return Formula(f"JAX's {_seen(operation)}")
        if operation.name in RESHAPES and _sizes(operation) != _sizes(mine):
            return Formula("reshape", (self.named(self.run[operation.inputs[0]], depth),), str(operation.result.shape))
        path = mine.site[0].removeprefix("@")
        if mine.name.startswith(BUFFER):
            return Formula(mine.name.removeprefix(BUFFER))
        if mine.variable or (mine.line and not mine.inputs):
            return Formula(mine.variable or mine.line)
        if path and path != self.region.path:
            return Formula(f"{path}(...)")
        if not mine.inputs or not depth:
            return Formula(mine.words if mine.inputs else _seen(mine))
        ours = self if self.run is self.region.run else _Side(self.region, self.region.ours, self.region.run, True)
        return ours._written(mine, lambda each: ours.named(each, depth - 1))

    def _in_torch(self, operation: Operation) -> Operation | None:
        """Torch's operation with the same numbers, a variable of the code before others; None if there is none."""
        if self.run is self.region.run and (operation.variable or operation.line):
            return operation
        tolerance = TOLERANCE.get(np.dtype(operation.result.real.dtype), 0.0)
        alike = [each for each in self.region.run if is_same(operation.result, each.result, tolerance)]
        return min(alike, key=_anonymity, default=None)

    def _written(self, operation: Operation, inner: Callable[[Operation], Formula]) -> Formula:
        name = operation.name.strip("_") if operation.name.startswith("__") else operation.name
        if self.has_calls and operation.called:
            name, *operands = operation.called
            parts = [
                inner(self.run[each.place]) if isinstance(each, Given) else Formula(str(each)) for each in operands
            ]
            return simplified(Formula(NAMES.get(name, name), tuple(parts)), "")
        parts, said = self._operands(operation, inner)
        if parts and (name in SAME or (name in RESHAPES and _only_ones_differ(operation, self.run))):
            return parts[0]
        shape = self.run[operation.inputs[0]].result.shape if operation.inputs else ()
        found = simplified(written(operation, name, parts, said, shape), self._terms(operation))
        return found if operation.output is None else Formula("part", (found,), f"[{operation.output}]")

    def _operands(self, operation: Operation, inner: Callable[[Operation], Formula]) -> tuple[list[Formula], list[Any]]:
        """The tensors and the first numbers of a call as formulas, and its other arguments."""
        parts: list[Formula] = []
        said: list[Any] = []
        places = iter(operation.inputs)
        for each in flat(operation.args):
            if isinstance(each, Tensor | Given):
                place = each.place if isinstance(each, Given) else next(places, None)
                parts.append(inner(self.run[place]) if place is not None else Formula("..."))
            elif isinstance(each, int | float) and not isinstance(each, bool) and len(parts) < 2:
                parts.append(Formula(f"{each:.6g}"))
            else:
                said.append(each)
        return parts, said

    def _terms(self, operation: Operation) -> str:
        """How many terms a sum that the operation divides has in each place, as it is written."""
        total = self.run[operation.inputs[0]] if operation.inputs else operation
        while total.name in SAME and total.inputs:
            total = self.run[total.inputs[0]]
        terms = self.run[total.inputs[0]].result.size if total.inputs else 0
        return f"{terms / max(total.result.size, 1):.6g}"


def _anonymity(operation: Operation) -> int:
    """0 of what a variable holds, 1 of an input by its number, 2 of what has a line alone, 3 of what has no name."""
    if operation.variable:
        return int(operation.variable.startswith(INPUT))
    return 2 if operation.line else 3


def _is_shared(operation: Operation, last: Operation, region: Region) -> bool:
    """True of the tensor that differs, if the other side has it elsewhere."""
    if operation is not last:
        return False
    other = region.their_run if operation is region.ours[-1] else region.run
    tolerance = TOLERANCE.get(np.dtype(operation.result.real.dtype), 0.0)
    return any(is_same(operation.result, each.result, tolerance) for each in other)


def _seen(operation: Operation) -> str:
    """A table by its numbers, or its kind and shape."""
    array = operation.result
    if array.ndim <= 1 and 0 < array.size <= LONGEST // 2:
        return np.array2string(array, precision=4, separator=", ", max_line_width=200)
    return f"{operation.words} of shape {array.shape}"


def _sizes(operation: Operation) -> list[int]:
    return sorted(size for size in operation.result.shape if size > 1)


def _only_ones_differ(operation: Operation, run: Sequence[Operation]) -> bool:
    before = run[operation.inputs[0]].result if operation.inputs else operation.result
    return [n for n in before.shape if n > 1] == [n for n in operation.result.shape if n > 1]
