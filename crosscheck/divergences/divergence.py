"""A known way in which the frameworks disagree, as a case that can be run: trigger, predicted size, measurement."""

import math
from collections.abc import Callable
from dataclasses import dataclass

# Sizes in the catalogue have two digits and were drawn with other seeds and versions: a largest difference of random
# numbers moves by some ten per cent then, and by orders of magnitude when a framework changes what it does.
SAME_SIZE = 2.0


@dataclass(frozen=True)
class KnownDivergence:
    """One row of the catalogue.

    `predicted` is the size when the row was written, in the words of `size_of` (NaN: one side gives NaN; inf: one side
    raises or is infinite); `measure` finds it anew with the installed versions. `to_torch` says what to change in JAX
    so that it does as PyTorch does, `to_jax` the other way round. `device` is where it shows: cpu (anywhere) or cuda.
    """

    id: str
    name: str
    trigger: str
    predicted: float
    size_of: str
    measure: Callable[[], float]
    source: str
    to_torch: str
    to_jax: str
    device: str = "cpu"

    def holds(self, measured: float) -> bool:
        """True if the size is still what was predicted, within a factor of two."""
        if not math.isfinite(self.predicted) or self.predicted == 0.0 or not math.isfinite(measured) or measured == 0.0:
            return repr(float(self.predicted)) == repr(float(measured))
        return 1 / SAME_SIZE <= measured / self.predicted <= SAME_SIZE
