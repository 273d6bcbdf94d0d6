"""Attempts to close a gap between twins: plants each hypothesis in one twin's source and reruns only that side.

If the gap shows in the forward pass, that pass runs first: only a hypothesis that makes the outputs agree is worth
gradients and a full comparison.
"""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crosscheck import criterion
from crosscheck.causes.flips.attempts import Attempt, moved, quick
from crosscheck.causes.hypotheses import Hypothesis, hypotheses_of
from crosscheck.compare import compare
from crosscheck.faults.planting import planted
from crosscheck.judging.rows import Row
from crosscheck.recording import record
from crosscheck.recording.precision import full_precision
from crosscheck.recording.recording import Recording
from crosscheck.recording.side import Side
from crosscheck.report import Report
from crosscheck.runs.compare_runs import compare_recorded_runs, record_run
from crosscheck.twins.pair import build_side
from crosscheck.twins.suite import Check
from shared.errors import IsogradError


def mistakes_of(check: Check, report: Report, without: str = "", kept_back: Collection[str] = ()) -> Iterator[Attempt]:
    """Every hypothesis about the report as an attempt; `without` and `kept_back` as in `hypotheses_of`."""
    if report.first_divergence is None or report.recordings is None:
        return
    bench = _Bench(check, report)
    for hypothesis in hypotheses_of(check, report, without, kept_back):
        made = _Planted(hypothesis, bench)
        yield Attempt(hypothesis.row, hypothesis.what, made.compared, made.moves, in_both=True)


@dataclass(frozen=True)
class _Bench:
    """State shared by all attempts on one report: the check, and the recordings of both sides."""

    check: Check
    report: Report

    def recorded(self, side: str) -> Recording:
        """The recording of one side."""
        return dict(zip(("torch", "jax"), self.report.recordings or (), strict=True))[side]

    def module(self, side: str) -> Any:
        """One side's module with the recorded weights, built afresh so that it uses the planted source."""
        weights = self.recorded(side).values.parameters
        return build_side(side, self.check.twin, weights, device=self.check.device)

    def steps(self) -> int:
        """The number of recorded training steps."""
        return max(int(name.partition("/")[0]) for name in self.recorded("torch").values.updates)


@dataclass(frozen=True)
class _Planted:
    """A check with a hypothesis planted in one twin; the other twin's values are those recorded."""

    hypothesis: Hypothesis
    bench: _Bench

    def compared(self) -> Report:
        """The comparison if both sides made the mistake; raises IsogradError if not even the outputs agree."""
        check, first = self.bench.check, self.bench.report.first_row
        with _made(self.hypothesis):
            if check.mode == "run":
                return compare_recorded_runs(*self._sides(self._ran()))
            is_told = first is not None and first.phase == "forward" and check.dtype == "float64"
            if is_told and not self._is_near(self._run(gradients=False, unrolled=False)):
                raise IsogradError("the outputs still differ")
            return compare(*self._sides(self._run()), name=check.twin)

    def moves(self, row: Row) -> float:
        """How far the mistake moves the row's tensor on its side, relative to its norm."""
        with _made(self.hypothesis):
            needed = {"gradients": False} if row.phase == "forward" else {}
            found = self._ran() if self.bench.check.mode == "run" else self._run(**needed)
        return moved(found, self._old, row)

    @property
    def _old(self) -> Recording:
        return self.bench.recorded(self.hypothesis.side)

    def _sides(self, new: Recording) -> tuple[Recording, Recording]:
        sides = {side: self.bench.recorded(side) for side in ("torch", "jax")} | {self.hypothesis.side: new}
        return sides["torch"], sides["jax"]

    def _ran(self) -> Recording:
        """The training run of this side; weight rules stay those of the unplanted source."""
        check = self.bench.check
        with full_precision():
            return record_run(self.hypothesis.side, check.twin, self.bench.steps(), check.dtype, check.device)

    def _run(self, **needed: bool) -> Recording:
        """Rerun this side as recorded, or with less: without gradients there are no updates either."""
        old, side = self._old, self.hypothesis.side
        updates = old.options.updates if needed.get("gradients", True) else 0
        options = replace(quick(old), **needed, updates=updates)
        with np.errstate(all="ignore"):
            return record.run(Side(side, self.bench.module(side), old.name), old.arguments, options)

    def _is_near(self, new: Recording) -> bool:
        """True if the outputs are equal, or NaN at the same positions."""
        theirs = self.bench.recorded("jax" if self.hypothesis.side == "torch" else "torch").values.outputs
        return all(name in theirs and _equal(array, theirs[name]) for name, array in new.values.outputs.items())


@contextlib.contextmanager
def _made(hypothesis: Hypothesis) -> Iterator[None]:
    """Plant the hypothesis; anything it breaks becomes an IsogradError, since it then explains nothing."""
    with planted(hypothesis.changes):
        try:
            yield
        except IsogradError:
            raise
        except Exception as error:
            raise IsogradError(f"{hypothesis.what}: {type(error).__name__}") from error


def _equal(ours: np.ndarray, theirs: np.ndarray) -> bool:
    if ours.shape != theirs.shape:
        return False
    both = np.isnan(ours) & np.isnan(theirs)
    return criterion.prove(np.where(both, 0.0, ours), np.where(both, 0.0, theirs), 0.0).agrees
