"""The operations with which two recorded runs begin to differ."""

import contextlib

from crosscheck.causes.operations.in_torch import operations_of_torch
from crosscheck.causes.operations.region import Region, region_of
from crosscheck.judging.rows import KIND, Row
from crosscheck.recording.side import Side
from crosscheck.report import Report
from shared.errors import IsogradError

# of code that no module was ever run by: without what it would find, the search is as it was
FAILURES = (IsogradError, ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError, LookupError,
            NotImplementedError, AssertionError)  # fmt: skip
KINDS = ("intermediate", "output")


def beginning(ours: Side, theirs: Side, report: Report, row: Row) -> Region | None:
    """The operations from which a row's tensors are computed and that differ; None if they can't be told.

    A side that was recorded elsewhere, and gradients, have none.
    """
    both = report.recordings
    if both is None or row.kind not in KINDS or ours.recorded is not None or theirs.recorded is not None:
        return None
    from crosscheck.causes.operations.in_jax import operations_of_jax

    tensors = [getattr(side.values, KIND[row.kind].attribute).get(row.tensor) for side in both]
    given = both[0].arguments or ((), {})
    if any(each is None for each in tensors):
        return None
    with contextlib.suppress(*FAILURES):
        mine = operations_of_torch(ours, ours.with_own(given), both[0].options)
        return region_of(mine, operations_of_jax(theirs, given, both[1].options), *tensors)
    return None
