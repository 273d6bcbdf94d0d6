"""Whether a gap is gone."""

import numpy as np

from crosscheck import criterion
from crosscheck.causes.sizes import SAME_SIZE
from crosscheck.judging.rows import KIND
from crosscheck.recording.nesting import is_float
from crosscheck.report import Report


def is_noise(report: Report) -> bool:
    """True if nothing below float64 differs by more than the noise, which the few runs of a flip measure too small."""
    return report.dtype != "float64" and all(row.error <= SAME_SIZE * row.bound for row in report.disagreements)


def is_gone(report: Report, before: Report | None = None) -> bool:
    """True if nothing differs any more, except for NaN at the same positions on both sides, or by noise where more than
    noise did `before`.

    Gradients of NaN outputs are meaningless and ignored.
    """
    if report.agrees or report.recordings is None:
        return report.agrees
    if before is not None and is_noise(report) and not is_noise(before):
        return True
    fields = {KIND[row.kind].attribute for row in report.disagreements}
    if any(row.kind == "output" and row.is_nan_in_both for row in report.disagreements):
        fields = {"outputs"}
    pairs = [
        (array, getattr(report.recordings[1].values, field).get(name))
        for field in fields
        for name, array in getattr(report.recordings[0].values, field).items()
    ]
    return any(is_float(a.dtype) and np.isnan(a).any() for a, _ in pairs) and all(
        b is not None and a.shape == b.shape and criterion.prove(_nan_as_zero(a, b), _nan_as_zero(b, a), 0.0).agrees
        for a, b in pairs
    )


def _nan_as_zero(array: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The array with zeros where both have NaN."""
    return np.asarray(np.where(np.isnan(array) & np.isnan(other), 0.0, array))
