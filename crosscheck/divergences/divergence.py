"""A known disagreement between the frameworks as a runnable case: trigger, predicted size, measurement."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Sizes in the catalogue have two digits. With other seeds or versions, a largest difference of random numbers moves by
# about ten per cent, and by orders of magnitude when a framework changes its behaviour.
SAME_SIZE = 2.0


@dataclass(frozen=True)
class Processors:
    """The property a processor needs for a row to have its size (`does` tests this one), and the size without it."""

    that: str
    does: Callable[[], bool]
    size_on_others: float


@dataclass(frozen=True)
class KnownDivergence:
    """One row of the catalogue.

    `predicted` is the size when the row was written, in the units of `size_of` (NaN: one side gives NaN; inf: one side
    raises or is infinite); `measure` measures it with the installed versions. `to_torch` says how to change the JAX
    side to match PyTorch, `to_jax` the reverse. `device` is where the divergence shows: cpu (anywhere) or cuda.
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
        """The size predicted for this processor."""
        return self.predicted if self.processors is None or self.processors.does() else self.processors.size_on_others

    @property
    def conditions(self) -> str:
        """The processors with the predicted size, and the size on others; empty if it holds on all."""
        if self.processors is None:
            return ""
        that, others = self.processors.that, self.processors.size_on_others
        return f"{self.predicted:.3g} on processors that {that}, {others:.3g} on others"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the size for this processor."""
        row = {name: value for name, value in vars(self).items() if name != "measure"}
        return {**row, "predicted": self.expected, "processors": self.conditions or None}

    def holds(self, measured: float) -> bool:
        """True if the measured size is within a factor of two of the prediction for this processor."""
        expected = self.expected
        if not math.isfinite(expected) or expected == 0.0 or not math.isfinite(measured) or measured == 0.0:
            return repr(float(expected)) == repr(float(measured))
        return 1 / SAME_SIZE <= measured / expected <= SAME_SIZE
