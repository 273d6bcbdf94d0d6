"""Tells an ill-conditioned computation from a mistake: how far both sides move in float64 if every step rounds at
random.

A saturated tanh inside a logarithm loses digits in either code, a variance as E[x^2] - E[x]^2 only in its own. What
moves by more than the proof allows on both sides is held to the noise rule, as in shorter dtypes; all else stays with
the proof.
"""

from collections.abc import Sequence
from dataclasses import replace

from crosscheck import criterion
from crosscheck.judging.judge import Scale
from crosscheck.judging.rows import KIND, Row
from crosscheck.pairing.comparison import Comparison
from crosscheck.pairing.layouts import canonical
from crosscheck.recording import record
from crosscheck.recording.recording import PROOF_DTYPE, Recording

RUNS = 4
MOST = 2.0**-12  # derived: half of float32's digits; a larger gap is no rounding in float64
DECIDED = "float64 under random rounding"


def ill_conditioned(rows: Sequence[Row], comparison: Comparison, ours: Recording, theirs: Recording) -> list[Row]:
    """The rows with those that only rounding explains as agreeing: the error is below what random rounding moves."""
    errors = [row.error for row in rows if not row.agrees and not KIND[row.kind].is_inside]
    can_run = all(side.recorded is None for side in (comparison.ours, comparison.theirs))
    can_run &= comparison.options.dtype == PROOF_DTYPE
    if not can_run or not errors or max(errors) > MOST:
        return list(rows)
    scale, moved = Scale.of(ours.values), [_shaken(comparison, 0)]
    wrong, is_large = [row for row in rows if not row.agrees], comparison.ours.size >= criterion.LARGE
    if is_large and not any(_judged(row, moved, ours, theirs, scale).agrees for row in wrong):
        return list(rows)  # each run takes its time, and what one explains nothing of is a mistake
    moved += [_shaken(comparison, seed) for seed in range(1, RUNS)]
    found = [row if row.agrees else _judged(row, moved, ours, theirs, scale) for row in rows]
    if not all(row.agrees for row in found if not KIND[row.kind].is_inside):
        return list(rows)
    options = [replace(comparison.options, rounding_seed=seed) for seed in range(RUNS // 2)]
    other = [replace(comparison, options=each).jax_recording(ours) for each in options]
    both = zip(rows, found, strict=True)
    return [new if old.agrees else _judged(old, other, theirs, ours, scale, new) for old, new in both]


def _shaken(comparison: Comparison, seed: int) -> Recording:
    from crosscheck.recording.rounding.in_torch import RoundedAtRandom

    with RoundedAtRandom(seed):
        return canonical(record.run(comparison.ours, comparison.arguments, comparison.options), comparison.layouts)


def _judged(
    row: Row,
    moved: Sequence[Recording],
    ours: Recording,
    theirs: Recording,
    scale: Scale,
    judged: Row | None = None,
) -> Row:
    """The row held to the movement of one side; with `judged`, that of the other side: as it is, or as judged."""
    field = KIND[row.kind].attribute
    exact, other = (getattr(side.values, field)[row.tensor] for side in (ours, theirs))
    if exact.shape != other.shape:
        return row
    movement = max(criterion.movement(getattr(each.values, field)[row.tensor], exact) for each in moved)
    floor = scale.floor(field, row.tensor)
    verdict = criterion.compare_noise(exact, other, floor, exact, movement, criterion.unit_roundoff(PROOF_DTYPE))
    if not verdict.agrees or verdict.bound <= criterion.PROOF:
        return row
    if judged is not None:
        return judged
    return replace(
        row,
        error=verdict.error,
        bound=verdict.bound,
        sensitivity=verdict.sensitivity,
        decided_in=DECIDED,
        statistics=(),
    )
