"""Whether two sides' parameters are other numbers throughout, as where nobody gave one side's to the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from crosscheck import criterion
from crosscheck.judging.rows import Row
from crosscheck.recording.nesting import is_float

FAR = 0.5  # derived: half of the larger norm; of numbers drawn apart the distance is at least as long as that
SAME_NORM = 2.0**-20  # derived: what another order of the same numbers leaves of a norm in float32
SAID = (
    "no parameter that is not constant agrees: the weights were never copied. "
    "Call crosscheck.copy_weights(torch_module, jax_module) first"
)


def drawn_apart(rows: Sequence[Row], recordings: tuple[Any, Any]) -> str:
    """That weights were never copied, in words; empty if a parameter agrees that is not constant, if most numbers are
    near each other, or if those of a parameter are the other's in another order."""
    ours, theirs = (each.values.parameters for each in recordings)
    pairs = [(row, (ours[row.tensor], theirs[row.tensor])) for row in rows if row.kind == "parameter"]
    drawn = [(row, both) for row, both in pairs if not all(map(_is_constant, both))]
    if any(row.agrees or _has_the_same_norm(*both) for row, both in drawn):
        return ""
    distances = [criterion.difference(*both) for _, both in drawn]
    norms = [max(map(criterion.norm, both)) for _, both in drawn]
    return SAID if np.linalg.norm(distances) > FAR * np.linalg.norm(norms) else ""


def _is_constant(array: np.ndarray) -> bool:
    return not array.size or not is_float(array.dtype) or bool((array == array.flat[0]).all())


def _has_the_same_norm(ours: np.ndarray, theirs: np.ndarray) -> bool:
    norms = criterion.norm(ours), criterion.norm(theirs)
    return ours.shape != theirs.shape or abs(norms[0] - norms[1]) <= SAME_NORM * max(norms)
