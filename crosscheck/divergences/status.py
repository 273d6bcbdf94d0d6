"""Measures a catalogue row with the installed versions, and says whether its size still holds."""

import math
from dataclasses import dataclass
from typing import Any

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.judging.rows import nonfinite_as_text
from crosscheck.recording.record import versions


@dataclass(frozen=True)
class Measured:
    """The size measured now; None if the machine lacks the device that the row needs."""

    row: KnownDivergence
    size: float | None
    versions: dict[str, str]

    @property
    def status(self) -> str:
        """ "holds", "moved", or "needs cuda"."""
        if self.size is None:
            return f"needs {self.row.device}"
        return "holds" if self.row.holds(self.size) else "moved"

    @property
    def line(self) -> str:
        """One line of a table."""
        return f"{self.row.id}  {self.row.name:<28} predicted {_digits(self.row.expected):<8} {self._found}"

    @property
    def _found(self) -> str:
        return self.status if self.size is None else f"measured {_digits(self.size):<8} {self.status}"

    def __str__(self) -> str:
        row = self.row
        stack = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return "\n".join([
            f"{row.id} {row.name}",
            f"  when: {row.trigger}",
            f"  size: predicted {_digits(row.expected)}, {self._found} ({row.size_of}; {stack})",
            *([f"  processors: {row.conditions}"] if row.conditions else []),
            f"  source: {row.source}",
            f"  change the JAX side: {row.to_torch}",
            f"  or the torch side: {row.to_jax}",
        ])  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with non-finite sizes as text."""
        return nonfinite_as_text(
            {**self.row.to_dict(), "measured": self.size, "status": self.status, "versions": self.versions}
        )


def measure(row: KnownDivergence) -> Measured:
    """Run the row's case on this machine."""
    size = row.measure() if row.device == "cpu" or _has_cuda() else None
    return Measured(row, size, {**versions("torch"), **versions("jax")})


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _digits(size: float) -> str:
    return f"{size:.3g}" if math.isfinite(size) else str(size)
