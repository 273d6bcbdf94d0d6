"""Every module that disagrees by itself, ranked by the error that it adds to the outputs of the whole."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from crosscheck import criterion
from crosscheck.judging.isolation import Alone, is_rounding, wrong_alone
from crosscheck.judging.rows import Row
from crosscheck.pairing.comparison import Comparison
from crosscheck.recording import record
from crosscheck.recording.recording import Recording


class Guilty(NamedTuple):
    """A module that disagrees by itself, and none inside it does: its worst row, and the relative error that it adds to
    the outputs of the whole (None if it leaves them as they are). `is_rounding`: casts to float32 are all of it."""

    path: str
    phase: str
    row: Row
    adds: float | None
    is_rounding: bool

    def __str__(self) -> str:
        adds = "" if self.adds is None else f", adds {self.adds:.1e} to the outputs"
        return f"{self.path or '(root)'} ({self.phase}): {self.row.error:.1e} by itself{adds}"


def guilty_of(
    isolated: Mapping[str, list[Alone]], rows: Sequence[Row], comparison: Comparison, ours: Recording
) -> list[Guilty]:
    """The guilty modules, those that add most to the outputs first, casts to float32 last."""
    wrong = wrong_alone(isolated, rows)
    inner = [path for path in wrong if not any(other.startswith(f"{path}.") for other in wrong)]
    found = [
        Guilty(path, wrong[path].phase, _worst(isolated[path]), _adds(isolated[path], comparison, ours),
               is_rounding(isolated[path]))
        for path in inner
    ]  # fmt: skip
    return sorted(found, key=lambda each: (each.is_rounding, -(each.adds or 0.0)))


def _worst(calls: Sequence[Alone]) -> Row:
    return max((alone.worst for alone in calls if alone.worst and alone.found), key=lambda row: row.error)


def _adds(calls: Sequence[Alone], comparison: Comparison, ours: Recording) -> float | None:
    """How far the outputs of the torch run move if the module returns what JAX's returns."""
    from crosscheck.recording import torch_side

    taps = {tap: array for alone in calls if alone.found is not None for tap, array in alone.outputs.items()}
    known = {tap: array for tap, array in taps.items() if tap in ours.values.intermediates}
    fitting = {tap: array for tap, array in known.items() if array.shape == ours.values.intermediates[tap].shape}
    given = record.rounded(comparison.ours.with_own(comparison.arguments), comparison.options.dtype)
    moved = torch_side.outputs_with(comparison.ours.module, given, comparison.options, fitting)
    errors = [
        criterion.difference(moved[name], array) / (criterion.norm(array) or 1.0)
        for name, array in ours.values.outputs.items()
    ]
    return max(errors, default=0.0) or None
