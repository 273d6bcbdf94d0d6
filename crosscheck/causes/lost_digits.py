"""What only the size of a gap, or its numbers, show: that one side loses digits."""

import contextlib
from collections.abc import Iterable, Sequence

import numpy as np

from crosscheck.causes.explanation import Explanation
from crosscheck.causes.flips.attempts import Attempt
from crosscheck.causes.sizes import FLOAT32_GAP, SAME_SIZE
from crosscheck.divergences.table import DIVERGENCES
from crosscheck.judging.decision import AGREES
from crosscheck.judging.rows import KIND, Row
from crosscheck.recording.nesting import is_float
from crosscheck.recording.recording import SIDES, Recording
from crosscheck.report import Report
from shared.errors import IsogradError

# Rows that lose digits: each framework loses different ones, so the gap can't close, but a flip can match its size.
LOSES_DIGITS = ("D20", "D51", "D52", "D53", "D69")


def in_float32(report: Report) -> Explanation | None:
    """D53, if the gap is of float32's size and one side of a float64 run holds only float32 numbers where it begins."""
    row, both = report.first_row, report.recordings
    if row is None or both is None or report.dtype != "float64" or row.error > FLOAT32_GAP:
        return None
    narrow = _narrower(*both)
    if narrow:
        return Explanation(report, DIVERGENCES["D73"], narrow, is_closed=False)
    for side in both:
        array = getattr(side.values, KIND[row.kind].attribute).get(row.tensor)
        narrow = array is not None and is_float(array.dtype) and array.any()
        if narrow and np.array_equal(array, array.astype(np.float32)):
            given = row.kind in ("input", "parameter")
            return Explanation(
                report,
                DIVERGENCES["D53" if given else "D73"],
                f"all numbers of {row.label} are float32 values on {SIDES[side.side]}'s side",
                is_closed=False,
            )
    return None


def by_casts(report: Report) -> Explanation | None:
    """D73, if the pair agrees as soon as casts to float32 are read as float64."""
    if not report.offer.endswith(AGREES):
        return None
    return Explanation(report, DIVERGENCES["D73"], report.offer, is_closed=False)


def _narrower(ours: Recording, theirs: Recording) -> str:
    """Which tensor is the first that one side computes in float32 and the other in float64, in words; empty if none."""
    for name, array in {**ours.values.intermediates, **ours.values.outputs}.items():
        other = {**theirs.values.intermediates, **theirs.values.outputs}.get(name)
        dtypes = [each.dtype for each in (array, other) if each is not None and is_float(each.dtype)]
        if len(dtypes) == 2 and dtypes[0] != dtypes[1]:
            return f"{name} is {dtypes[0]} in torch and {dtypes[1]} in JAX"
    return ""


def of_the_same_size(report: Report, attempts: Iterable[Attempt], agreeing: Sequence[Row] = ()) -> Explanation | None:
    """A row that loses digits, if its mistake moves one side as far as the two sides are apart, and moves no tensor
    that agrees."""
    first = report.first_row
    for tried, attempt in enumerate(attempts, 1):
        if first is not None and attempt.moves is not None and attempt.row in LOSES_DIGITS:
            with contextlib.suppress(IsogradError):
                share = attempt.moves(first) / first.error
                moves_too_much = (attempt.moves(row) > row.bound for row in reversed(agreeing))
                if 1 / SAME_SIZE <= share <= SAME_SIZE and not any(moves_too_much):
                    words = f"{attempt.what}: same size as the gap"
                    return Explanation(report, DIVERGENCES[attempt.row], words, tried, is_closed=False)
    return None
