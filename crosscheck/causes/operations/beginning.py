"""The operations with which two recorded runs begin to differ."""

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crosscheck.causes.flips.attempts import Flipped
from crosscheck.causes.flips.flip import FAILURES
from crosscheck.causes.operations.in_torch import operations_of_torch
from crosscheck.causes.operations.operation import INPUT, Operation
from crosscheck.causes.operations.region import Region, region_of, region_of_gradient
from crosscheck.causes.operations.written_out import in_words
from crosscheck.judging.rows import KIND, Row
from crosscheck.recording.recording import Recording
from crosscheck.recording.side import Side
from crosscheck.report import Report
from shared.arrays import Arrays

# of code that no module was ever run by: without what it would find, the search is as it was
FAILED = (*FAILURES, AssertionError)
MOST_WORDS = 2
KINDS = ("intermediate", "output")
GRADIENTS = ("intermediate gradient", "input gradient", "parameter gradient")


@dataclass
class Beginning:
    """The operations from which a row's tensors are computed and that differ, found once.

    None if they can't be told, as of a side that was recorded elsewhere.
    """

    ours: Side
    theirs: Side
    report: Report
    found: Region | None = None

    def __call__(self, row: Row, applied: Sequence[Flipped] = ()) -> Region | None:
        """The region of a row's tensors; of flips that were applied before, what they leave of it."""
        both, sides = self.report.recordings, (self.ours, self.theirs)
        if both is None or row.kind not in (*KINDS, *GRADIENTS) or any(each.recorded is not None for each in sides):
            return None
        if applied:
            return self._left_by(applied[-1], row) if row.kind in KINDS else None
        if self.found is None:
            with contextlib.suppress(*FAILED):
                given = self.ours.with_own(both[0].arguments or ((), {}))
                mine = operations_of_torch(self.ours, given, both[0].options)
                path = first.module[len(self.report.name) + 1 :] if (first := self.report.first_divergence) else ""
                self.found = self._region(_with_names(mine, both[0].values.inputs), *both, row, path)
        return self.found

    def _left_by(self, flipped: Flipped, row: Row) -> Region | None:
        with contextlib.suppress(*FAILED):
            with flipped.applied() as (side, given, _):
                mine = operations_of_torch(side, given, flipped.ours.options)
            ours = flipped.forward()
            return self._region(_with_names(mine, ours.values.inputs), ours, flipped.theirs, row, row.module)
        return None

    def _region(
        self, mine: Sequence[Operation], ours: Recording, theirs: Recording, row: Row, path: str
    ) -> Region | None:
        tensors = [getattr(each.values, KIND[row.kind].attribute).get(row.tensor) for each in (ours, theirs)]
        if any(each is None for each in tensors):
            return None
        if row.kind in GRADIENTS:
            return region_of_gradient(mine, self.their_run, tuple(tensors), row.tensor, path)
        return region_of(mine, self.their_run, *tensors, row.tensor if row.kind == "intermediate" else "", path)

    @functools.cached_property
    def their_run(self) -> Sequence[Operation]:
        """The operations of JAX's program."""
        from crosscheck.causes.operations.in_jax import operations_of_jax

        ours, theirs = self.report.recordings or (None, None)
        given = theirs and (theirs.arguments or ours.arguments)
        return operations_of_jax(self.theirs, given or ((), {}), theirs.options) if theirs else ()

    @functools.cached_property
    def formulas(self) -> tuple[str, tuple[str, str]] | None:
        """What each side computes of what both have, in words, and how to change either; None if that isn't short."""
        if self.found is None or self.found.slopes:
            return None
        with contextlib.suppress(*FAILED):
            return in_words(self.found, self.found.target, self.found.theirs[-1])
        return None

    @property
    def words(self) -> str:
        """With which operation the gap begins on each side; empty if that isn't known."""
        if self.found is None or self.found.slopes:
            return ""
        if self.formulas is not None:
            return self.formulas[0]
        ours, theirs = (_first(each) for each in (self.found.ours, self.found.theirs))
        return f"begins with torch's {ours}, where JAX has {theirs}" if ours and theirs else ""


def _with_names(operations: Sequence[Operation], inputs: Arrays) -> list[Operation]:
    """The operations with the names of inputs where the code has no variable for them."""
    return [
        replace(
            each,
            variable=next(
                (
                    f"{INPUT}{name}" if name.isdigit() else name
                    for name, array in inputs.items()
                    if np.array_equal(array, each.result)
                ),
                "",
            ),
        )
        if not (each.inputs or each.line or each.variable)
        else each
        for each in operations
    ]


def _first(operations: Sequence[Operation]) -> str:
    """The first operations with a line of their own, in words."""
    found = dict.fromkeys(each.words for each in operations if each.line)
    return ", ".join(list(found)[:MOST_WORDS])
