"""A known way in which the frameworks disagree, as a case that can be run: trigger, predicted size, measurement."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Sizes in the catalogue have two digits and were drawn with other seeds and versions: a largest difference of random
# numbers moves by some ten per cent then, and by orders of magnitude when a framework changes what it does.
SAME_SIZE = 2.0


@dataclass(frozen=True)
class Processors:
    """What a processor must do for a row to have its size (`does` asks this one), and the size on all others."""

    that: str
    does: Callable[[], bool]
    size_on_others: float


@dataclass(frozen=True)
class KnownDivergence:
    """One row of the catalogue.

    `predicted` is the size when the row was written, in the words of `size_of` (NaN: one side gives NaN; inf: one side
    raises or is infinite); `measure` finds it anew with the installed versions. `to_torch` says what to change in JAX
    so that it does as PyTorch does, `to_jax` the other way round. `device` is where it shows: cpu (anywhere) or cuda.
    `processors`, if given, are those on which it has that size.
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
    processors: Processors | None = None

    @property
    def expected(self) -> float:
        """The size that is predicted on this processor."""
        return self.predicted if self.processors is None or self.processors.does() else self.processors.size_on_others

    @property
    def conditions(self) -> str:
        """On which processors the predicted size holds, and what holds on the others; empty if it holds on all."""
        if self.processors is None:
            return ""
        that, others = self.processors.that, self.processors.size_on_others
        return f"{self.predicted:.3g} on processors that {that}, {others:.3g} on the others"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; the size is that for this processor."""
        row = {name: value for name, value in vars(self).items() if name != "measure"}
        return {**row, "predicted": self.expected, "processors": self.conditions or None}

    def holds(self, measured: float) -> bool:
        """True if the size is still what was predicted for this processor, within a factor of two."""
        expected = self.expected
        if not math.isfinite(expected) or expected == 0.0 or not math.isfinite(measured) or measured == 0.0:
            return repr(float(expected)) == repr(float(measured))
        return 1 / SAME_SIZE <= measured / expected <= SAME_SIZE
