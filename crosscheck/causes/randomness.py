"""Where one side draws random numbers, found by running it twice, and what it multiplies those by that it keeps."""

from dataclasses import replace

import numpy as np

from crosscheck.causes.explanation import Explanation
from crosscheck.causes.sizes import LARGEST_ROUNDING
from crosscheck.divergences.table import DIVERGENCES
from crosscheck.recording import record
from crosscheck.recording.nesting import is_float
from crosscheck.recording.recording import Recording
from crosscheck.recording.side import Side
from crosscheck.recording.tracing import call_of
from crosscheck.report import Report


def random_call(ours: Side, report: Report) -> str | None:
    """The first call in which the torch side draws random numbers, "" if outside any, None if it draws none: found by
    running it once more."""
    if ours.recorded is not None or report.recordings is None or not report.recordings[0].options.train:
        return None
    before = report.recordings[0]
    options = replace(before.options, gradients=False, updates=0, noise_runs=1)
    again = record.run(ours, before.arguments or ((), {}), options).values
    for name, array in {**again.intermediates, **again.outputs}.items():
        old = {**before.values.intermediates, **before.values.outputs}.get(name)
        if (
            old is not None
            and old.shape == array.shape
            and not np.array_equal(old, array, equal_nan=is_float(old.dtype))
        ):
            return call_of(name) if name in again.intermediates else ""
    return None


def randomness(report: Report, call: str) -> str:
    """That the torch side is random, and where, in words."""
    path = report.recordings[0].values.calls[call].path if call and report.recordings else ""
    where = f"{report.name}.{path} ({call})" if path else report.name
    if path and report.recordings and _is_unchanged(report.recordings[1], call):
        where += ", where JAX drops nothing (jax_arguments= may turn it on)"
    return f"random: two runs of the torch side differ, first in {where}; compare with that part off"


def _is_unchanged(recording: Recording, call: str) -> bool:
    """True if a call returns what it is given."""
    given, found = (recording.values.intermediates.get(f"{call} {end}[0]") for end in ("in", "out"))
    return given is not None and found is not None and np.array_equal(given, found)


def of_kept_values(report: Report, call: str) -> Explanation | None:
    """D97, if the values that a random call keeps are multiplied by another number in JAX."""
    if report.recordings is None:
        return None
    factors, drops = [], []
    for recording in report.recordings:
        given, found = (recording.values.intermediates.get(f"{call} {end}[0]") for end in ("in", "out"))
        if given is None or found is None or given.shape != found.shape or not is_float(given.dtype):
            return None
        kept = found[(found != 0) & (given != 0)] / given[(found != 0) & (given != 0)]
        if not kept.size or np.abs(kept / kept[0] - 1).max() > LARGEST_ROUNDING:
            return None
        factors.append(float(kept[0]))
        drops.append(bool((found[given != 0] == 0).any()))
    ours, theirs = factors
    if not all(drops) or abs(ours - theirs) <= LARGEST_ROUNDING * abs(ours):
        return None
    words = f"what {call} keeps is multiplied by {ours:.6g} in torch, by {theirs:.6g} in JAX"
    return Explanation(report, DIVERGENCES["D97"], words, is_closed=False)
