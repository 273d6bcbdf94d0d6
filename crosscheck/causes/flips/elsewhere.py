"""Other inputs, on which a flip that closes a gap has to close it as well: numbers that agree by chance do not."""

import contextlib
import math
import zlib
from dataclasses import dataclass, field, replace

import numpy as np

from crosscheck import criterion
from crosscheck.causes.flips.attempts import CLOSED, Flipped
from crosscheck.causes.flips.flip import FAILURES
from crosscheck.judging.rows import KIND, Row
from crosscheck.pairing.comparison import Comparison
from crosscheck.recording.nesting import is_float, map_arguments, named_arrays
from crosscheck.recording.recording import Recording

SHARE = 0.1  # by which numbers are changed: none changes its sign
FEW, MORE = 1000, 3  # numbers, and draws of so few
NOISE = 8.0  # honest rounding errors differ by small factors


@dataclass
class Elsewhere:
    """Both sides on inputs whose floats are others, in other places, run when first asked."""

    comparison: Comparison
    made: dict[int, tuple[Recording, Recording] | None] = field(default_factory=dict)

    def bears_out(self, flipped: Flipped, row: Row) -> bool:
        """False if a flip leaves a row's gap on other inputs; True also where that can't be told, as of gradients, of
        inputs without floats, or of a flip that holds numbers of the first ones."""
        if flipped.flip.holds_numbers or row.kind not in ("intermediate", "output"):
            return True
        is_many = math.prod(row.shape) > FEW  # a function's few numbers may all be chosen alike by chance
        draws = 1 if self.comparison.ours.dtypes or is_many else MORE
        both = (self.recordings(draw) for draw in range(draws))
        return all(_is_closed(flipped, row, *each) for each in both if each is not None)

    def recordings(self, draw: int) -> tuple[Recording, Recording] | None:
        """Both sides' recordings, forward alone; None if no input is changed, or if a side refuses the others."""
        if draw not in self.made:
            self.made[draw] = self._recordings(draw)
        return self.made[draw]

    def _recordings(self, draw: int) -> tuple[Recording, Recording] | None:
        changed: dict[bytes, np.ndarray] = {}  # by the numbers before: JAX may take them under another name

        def other(name: str, array: np.ndarray) -> np.ndarray:
            if not is_float(array.dtype) or np.isin(array, (0, 1)).all():
                return array
            drawn = np.random.default_rng(zlib.crc32(name.encode()) + draw)
            moved = _moved(array, drawn)
            shares = 1 + drawn.uniform(-SHARE, SHARE, array.shape)
            return changed.setdefault(_numbers(array), (moved * shares).astype(array.dtype))

        arguments = map_arguments(other, *self.comparison.arguments)
        given = self.comparison.given
        unknown = [array for array in named_arrays(given).values() if is_float(array.dtype)] if given else []
        if not changed or any(_numbers(array) not in changed for array in unknown):
            return None
        given = given and map_arguments(lambda _, array: changed.get(_numbers(array), array), *given)
        options = replace(self.comparison.options, gradients=False, updates=0, noise_runs=0)
        with contextlib.suppress(*FAILURES):
            return replace(self.comparison, arguments=arguments, given=given, options=options).recordings()
        return None


def _is_closed(flipped: Flipped, row: Row, ours: Recording, theirs: Recording) -> bool:
    name = KIND[row.kind].attribute
    old, other = (getattr(side.values, name).get(row.tensor) for side in (ours, theirs))
    if old is None or other is None or old.shape != other.shape:
        return True
    gap = criterion.difference(old, other) / (criterion.norm(other) or 1.0)
    if not np.isfinite(gap) or gap <= CLOSED * min(row.error, 1.0):
        return True
    moved = replace(flipped, ours=ours, theirs=theirs, arguments=flipped.side.with_own(ours.arguments or ((), {})))
    with contextlib.suppress(*FAILURES):
        return moved.error_of(row) <= max(CLOSED * row.error, NOISE * row.bound)
    return True


def _moved(array: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
    """The array moved along each axis that is not in order, so that the largest of its numbers stands elsewhere."""
    for axis, size in enumerate(array.shape):
        steps = np.diff(array.real, axis=axis)
        if size > 1 and not ((steps >= 0).all() or (steps <= 0).all()):
            array = np.roll(array, drawn.integers(1, size), axis)
    return array


def _numbers(array: np.ndarray) -> bytes:
    return array.tobytes() + str(array.shape).encode()
