"""Explains a disagreement: flips one known default at a time on one side until the gap closes, and names it."""

import contextlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crosscheck import criterion
from crosscheck.causes.flips.attempts import Attempt, flips_of
from crosscheck.compare import compare
from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.table import DIVERGENCES
from crosscheck.judging.rows import KIND, Row, nonfinite_as_text
from crosscheck.pairing.preconditions import sides_of
from crosscheck.recording.nesting import is_float
from crosscheck.recording.recording import SIDES
from crosscheck.recording.side import Side
from crosscheck.report import Report
from crosscheck.twins.suite import Check, check_arguments
from shared.errors import IsogradError

# Rows that lose digits: each framework loses different ones, so the gap can't close, but a flip can match its size.
LOSES_DIGITS = ("D20", "D51", "D52", "D53", "D69")
FLOAT32_GAP = 64 * 2.0**-24  # derived: float32 roundoff, times the roundings in a short computation
SAME_SIZE = 8.0  # honest rounding errors differ by small factors, precisions differ by thousands


@dataclass(frozen=True)
class Explanation:
    """The gap, the catalogue row that explains it (None if none does), what was flipped, and how many flips were tried.

    `is_closed` is False if the flip only matches the size of the gap: it can't close when each side loses other digits.
    """

    report: Report
    divergence: KnownDivergence | None
    flipped: str = ""
    tried: int = 0
    is_closed: bool = True

    @property
    def evidence(self) -> str:
        """The evidence for the row, in words."""
        return f"{self.flipped}, and the gap is gone" if self.is_closed else self.flipped

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the divergence's row, what was flipped, and where the two sides diverge."""
        row = self.divergence.to_dict() if self.divergence else None
        found = {"divergence": row, "flipped": self.flipped or None, "tried": self.tried}
        report = {name: value for name, value in self.report.to_dict().items() if name != "rows"}
        return nonfinite_as_text({**found, "report": report})

    def __str__(self) -> str:
        if self.report.agrees:
            return f"{self.report.title}: agrees, there is nothing to explain"
        lines = [str(self.report).partition("\n")[0]]
        if self.divergence is None:
            return "\n".join([*lines, f"  no known divergence explains it: {self.tried} flips tried"])
        found = self.divergence
        lines += [f"  {found.id} {found.name} explains it: {self.evidence}"]
        lines += [f"  when: {found.trigger}", f"  source: {found.source}"]
        lines += [f"  change the JAX side: {found.to_torch}", f"  or the torch side: {found.to_jax}"]
        return "\n".join(lines)


def explain(torch_module: Any, jax_module: Any, inputs: Any, **options: Any) -> Explanation:
    """Compare two modules as `compare` does (same options), and name the known default that causes the difference.

    Raises IsogradError as `compare` does.
    """
    sides = sides_of(torch_module, jax_module, **options)
    report = compare(*sides, inputs, **options)
    if report.agrees:
        return Explanation(report, None)
    ours, layouts = sides[0], options.get("layouts") or {}
    found = _first_that_helps(report, flips_of(ours, report, layouts))
    if found.divergence:
        return found
    everywhere = flips_of(ours, report, layouts, is_narrowed=False)
    agreeing = [row for row in report.rows if row.kind == "intermediate" and row.agrees]
    return _of_the_same_size(report, everywhere, agreeing) or _in_float32(report) or found


def explain_check(
    check: Check, report: Report | None = None, without: str = "", kept_back: Collection[str] = ()
) -> Explanation:
    """Name the known default behind a disagreement in one check of the suite; `report` is its report, if already run.

    `without` names a planted fault whose own row and similar rows are withheld, so that whatever is named rests on
    other knowledge than the answer itself; `kept_back` names rows of the catalogue whose mistakes are all withheld.
    """
    from crosscheck.causes.source_attempts import mistakes_of
    from crosscheck.twins.pair import build_pair

    check = replace(check, keep_values=True)
    report = report or check.run()
    if report.agrees:
        return Explanation(report, None)
    flips: list[Attempt] = []
    if check.mode != "run":
        pair = build_pair(check.twin, dtype=check.dtype, case=check.case, device=check.device, seed=check.seed)
        flips += flips_of(Side("torch", pair.torch, check.twin), report, is_narrowed=False)
    mistakes = list(mistakes_of(check, report, without, kept_back))
    found = _first_that_helps(report, [*flips, *mistakes])
    narrow = None if "D53" in kept_back else _in_float32(report)
    return found if found.divergence else _of_the_same_size(report, mistakes) or narrow or found


def explain_twin(
    twin: str,
    *,
    fault: str | None = None,
    dtype: str = "float64",
    case: str = "odd_sizes",
    train: bool = False,
    device: str = "cpu",
) -> Explanation:
    """`explain` for a twin of the registry, with a fault planted if one is named; its own row is then withheld.

    Raises IsogradError for an unknown twin, case, dtype, device or fault.
    """
    from crosscheck.faults.planting import planted
    from crosscheck.faults.table import find_fault

    check_arguments(twin, case, dtype, device)
    with planted(find_fault(fault).changes if fault else ()):
        return explain_check(Check(twin, case, dtype, "train" if train else "eval", device), without=fault or "")


def _first_that_helps(report: Report, attempts: Iterable[Attempt]) -> Explanation:
    tried = 0
    for attempt in attempts:
        tried += 1
        with contextlib.suppress(IsogradError):  # a flip that does not apply to these modules explains nothing
            if _is_gone(attempt.compared()):
                flipped = f"if both sides have it ({attempt.what})" if attempt.in_both else attempt.what
                return Explanation(report, DIVERGENCES[attempt.row], flipped, tried)
    return Explanation(report, None, tried=tried)


def _is_gone(report: Report) -> bool:
    """True if nothing differs any more, except for NaN at the same positions on both sides.

    Gradients of NaN outputs are meaningless and ignored.
    """
    if report.agrees or report.recordings is None:
        return report.agrees
    fields = {KIND[row.kind].attribute for row in report.disagreements}
    if any(row.kind == "output" and row.is_nan_in_both for row in report.disagreements):
        fields = {"outputs"}
    pairs = [
        (array, getattr(report.recordings[1].values, field).get(name))
        for field in fields
        for name, array in getattr(report.recordings[0].values, field).items()
    ]
    return any(is_float(a.dtype) and np.isnan(a).any() for a, _ in pairs) and all(
        b is not None and a.shape == b.shape and criterion.prove(_nan_as_zero(a, b), _nan_as_zero(b, a), 0.0).agrees
        for a, b in pairs
    )


def _nan_as_zero(array: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The array with zeros where both have NaN."""
    return np.where(np.isnan(array) & np.isnan(other), 0.0, array)


def _in_float32(report: Report) -> Explanation | None:
    """D53, if the gap is of float32's size and one side of a float64 run holds only float32 numbers where it begins."""
    row, both = report.first_row, report.recordings
    if row is None or both is None or report.dtype != "float64" or row.error > FLOAT32_GAP:
        return None
    for side in both:
        array = getattr(side.values, KIND[row.kind].attribute).get(row.tensor)
        narrow = array is not None and is_float(array.dtype) and array.any()
        if narrow and np.array_equal(array, array.astype(np.float32)):
            return Explanation(
                report,
                DIVERGENCES["D53"],
                f"all numbers of {row.label} are float32 values on {SIDES[side.side]}'s side",
                is_closed=False,
            )
    return None


def _of_the_same_size(report: Report, attempts: Iterable[Attempt], agreeing: Sequence[Row] = ()) -> Explanation | None:
    """A row that loses digits, if its mistake moves one side as far as the two sides are apart, and moves no tensor
    that agrees."""
    first = report.first_row
    for tried, attempt in enumerate(attempts, 1):
        if first is not None and attempt.moves is not None and attempt.row in LOSES_DIGITS:
            with contextlib.suppress(IsogradError):
                share = attempt.moves(first) / first.error
                moves_too_much = (attempt.moves(row) > row.bound for row in reversed(agreeing))
                if 1 / SAME_SIZE <= share <= SAME_SIZE and not any(moves_too_much):
                    words = f"{attempt.what}: same size as the gap"
                    return Explanation(report, DIVERGENCES[attempt.row], words, tried, is_closed=False)
    return None
