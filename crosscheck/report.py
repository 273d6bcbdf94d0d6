"""The result of a comparison, with rows, verdict and first divergence, as text, JSON and HTML."""

import json
import math
from dataclasses import dataclass, field, fields
from typing import Any

from crosscheck.judging.rows import KIND, Divergence, Row, Statistics, nonfinite_as_text, share_of_bound
from crosscheck.pages.page import render
from crosscheck.recording.values import BIASED

HELD = ("rows", "first_row", "recordings")  # left out of the plain data, or written differently there
SHOWN = 8  # disagreeing tensors listed individually in the text


@dataclass(frozen=True)
class Report:
    """All rows of one comparison of one pair of modules.

    `first_divergence` is the module at fault (its path), the phase (inputs, parameters, forward, input gradient,
    parameter gradient, update) and the tensor that shows it, or None if the two agree; `first_row` is that tensor's
    row. `unmatched` lists the modules that only one side calls, `idle_buffers` the buffers that differ although the two
    agree: nothing that was compared depends on them. `undecided_because` says why what the noise leaves undecided could
    not be decided in float64; `offer` says what `widen` would change. `recordings` holds every tensor of both sides.
    """

    name: str
    dtype: str
    mode: str
    device: str
    rows: list[Row]
    first_divergence: Divergence | None = None
    first_row: Row | None = None
    unmatched: dict[str, list[str]] = field(default_factory=dict)
    idle_buffers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    undecided_because: str = ""
    offer: str = ""
    case: str = ""
    seconds: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    recordings: tuple[Any, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def agrees(self) -> bool:
        """True if everything visible to the module's caller agrees; inner tensors may differ in equal computations."""
        return not self.disagreements

    @property
    def disagreements(self) -> list[Row]:
        return [row for row in self.rows if not row.agrees and not KIND[row.kind].is_inside]

    @property
    def inner_differences(self) -> list[Row]:
        """Inner tensors of the two modules that differ, whether or not the modules agree."""
        return [row for row in self.rows if not row.agrees and KIND[row.kind].is_inside]

    @property
    def worst(self) -> Row | None:
        """The row with the largest error relative to its bound, among rows that count."""
        counted = [row for row in self.rows if not KIND[row.kind].is_inside]
        return max(counted, key=share_of_bound, default=None)

    @property
    def measured(self) -> list[Row]:
        """The rows that count, have an error, and are held to a bound that was measured."""
        counted = [row for row in self.rows if not KIND[row.kind].is_inside and row.bound and row.error]
        return [row for row in counted if self.dtype != "float64" and not row.decided_in and not row.undecided]

    @property
    def sensitivities(self) -> list[float]:
        """The sensitivity of every tensor that counts and is not zero, in order."""
        found = [row.sensitivity for row in self.rows if row.bound and not KIND[row.kind].is_inside]
        return sorted(each for each in found if math.isfinite(each))

    def to_dict(self) -> dict[str, Any]:
        """Plain data that follows crosscheck/report_schema.json, strict JSON: non-finite numbers are text."""
        names = [f.name for f in fields(Row)]
        rows = [
            {**{name: getattr(row, name) for name in names}, "phase": row.phase, "verdict": row.verdict}
            for row in self.rows
        ]
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in HELD}
        return nonfinite_as_text({**content, "agrees": self.agrees, "seconds": round(self.seconds, 3), "rows": rows})

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_html(self) -> str:
        """A single self-contained page."""
        return render([self])

    def _seen(self) -> list[str]:
        """How small an error would have been seen, and what a run in float64 decided or could not decide."""
        found, counted = self.sensitivities, [row for row in self.rows if not KIND[row.kind].is_inside]
        proven, left = sum(row.decided_in == "float64" for row in counted), sum(row.undecided for row in counted)
        hopeless = sum(row.decided_in.startswith("float64 ") for row in counted)
        half, everywhere = (found[len(found) // 2], found[-1]) if found else (0.0, 0.0)
        because = f": {self.undecided_because}" if self.undecided_because else ""
        lines = {
            f"smallest relative error seen: {half:.1e} in half of the tensors, {everywhere:.1e} in all": found,
            f"decided in float64, since noise hides zeros or a different order: {proven} tensors": proven,
            f"ill-conditioned, held to what random rounding in float64 moves: {hopeless} tensors": hopeless,
            f"undecided, since that run can't be made{because}: {left} tensors": left,
        }
        return [f"  {line}" for line, is_so in lines.items() if is_so]

    def modules(self) -> str:
        """A table of all modules: the largest error found in each, and the smallest that is seen for certain there,
        both relative."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.bound and math.isfinite(row.sensitivity):
                found.setdefault(row.module, []).append(row)
        lines = [f"  {'module':<36} {'error':>9} {'seen from':>9}"]
        for path, rows in found.items():
            error, seen = max(row.error for row in rows), max(row.sensitivity for row in rows)
            lines.append(f"  {path or '(root)':<36} {error:>9.1e} {seen:>9.1e}")
        return "\n".join(lines)

    @property
    def title(self) -> str:
        return " ".join(part for part in (self.name, self.case, self.dtype, self.mode, self.device) if part)

    @property
    def summary(self) -> str:
        counted = sum(not KIND[row.kind].is_inside for row in self.rows)
        if self.first_divergence is None:
            return f"agrees in all {counted} tensors{self._inside}{self._biased}"
        module, phase, tensor = self.first_divergence
        return (
            f"DISAGREES in {len(self.disagreements)} of {counted} tensors, first in {module} "
            f"({phase}): {self.first_row.label if self.first_row else tensor}"
        )

    @property
    def _biased(self) -> str:
        number = sum(row.tensor.endswith(BIASED) for row in self.rows)
        return f"; {number} running variances are biased in Flax, unbiased in torch (D22)" if number else ""

    @property
    def _inside(self) -> str:
        different = self.inner_differences
        if not different:
            return f" and {len(self.rows) - sum(not KIND[row.kind].is_inside for row in self.rows)} inner ones"
        return f"; {len(different)} inner tensors differ, first {different[0].label}: other steps, same result"

    def __str__(self) -> str:
        lines = [f"{self.title}: {self.summary}"]
        if self.first_row is not None:
            lines += [f"  first: {self.first_row}", *_both(self.first_row.statistics)]
        lines += self._seen()
        lines += [f"  {words}" for words in (*self.notes, self.offer) if words]
        others = [row for row in self.disagreements if row is not self.first_row]
        lines += [f"  {row}" for row in others[:SHOWN]]
        lines += [f"  and {len(others) - SHOWN} more"] if len(others) > SHOWN else []
        lines += [f"  called in {side} only: {', '.join(paths)}" for side, paths in self.unmatched.items() if paths]
        idle = ", ".join(self.idle_buffers)
        lines += [f"  buffers that differ, without an effect on anything compared: {idle}"] if idle else []
        return "\n".join(lines)


def _both(statistics: tuple[Statistics, ...]) -> list[str]:
    return [f"    {side}: {text}" for side, text in zip(("torch", "jax"), statistics, strict=False)]
