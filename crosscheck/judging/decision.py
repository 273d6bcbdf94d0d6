"""Decides what noise or casts to float32 leave open, by running the same pair once more, with all of it in float64."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from crosscheck.judging.judge import judge
from crosscheck.judging.rows import KIND, Row
from crosscheck.pairing.comparison import Comparison
from crosscheck.recording import record
from crosscheck.recording.recording import Recording
from shared.errors import IsogradError

# derived: half of float32's digits; rounding to float32 leaves more of them in all but hopeless computations
FLOAT32_GAP = 2.0**-12
AGREES = "agrees in all tensors"


def decided(rows: Sequence[Row], proven: Callable[[], Sequence[Row]]) -> tuple[list[Row], str]:
    """The rows with those of the pair's float64 run, `proven`, in place of undecided ones, and why there are none if it
    can't be made."""
    if not any(row.undecided for row in rows):
        return list(rows), ""
    try:
        found = {(row.kind, row.tensor): replace(row, decided_in="float64") for row in proven()}
    except IsogradError as error:
        return list(rows), str(error)
    return [found.get((row.kind, row.tensor), row) if row.undecided else row for row in rows], ""


def offered(comparison: Comparison) -> tuple[str, tuple[Recording, Recording] | None]:
    """What a widened run says of a pair that disagrees in float64, and its recordings if something still differs; empty
    if neither side casts to float32."""
    run = comparison.arguments, comparison.options
    try:
        both = [side.name for side in (comparison.ours, comparison.theirs) if record.casts(side, *run)]
        recordings = comparison.recordings() if both else None
    except IsogradError:
        return "", None
    rows = judge(*recordings) if recordings else []
    wrong = next((row for row in rows if not row.agrees and not KIND[row.kind].is_inside), None)
    found = f"still differs in {wrong.label}" if wrong else AGREES
    said = (
        f"{' and '.join(both)} cast to float32 inside: with widen=True, which reads that as float64, the pair {found}"
    )
    return (said, recordings if wrong else None) if both else ("", None)
