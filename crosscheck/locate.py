"""Finds the module at fault: runs every module in isolation on the torch run's inputs and cotangents, as a marked tree.

In a full run an error grows from module to module; a module that receives the same tensors as its twin shows only its
own errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crosscheck.compare import compare
from crosscheck.judging.first_divergence import Found, as_divergence
from crosscheck.judging.guilty import Guilty, guilty_of
from crosscheck.judging.isolation import Alone, innermost, isolate
from crosscheck.judging.rows import Divergence, Row, nonfinite_as_text, share_of_bound
from crosscheck.pairing.comparison import Comparison
from crosscheck.pairing.options import known_options
from crosscheck.pairing.preconditions import sides_of
from crosscheck.pairing.renaming import Rules
from crosscheck.recording.tracing import end_of
from crosscheck.report import Report
from crosscheck.runs.compare_runs import compare_runs

MARK = "  <-- here"
GIVEN = {"intermediate": "in", "intermediate gradient": "out"}  # the end of a call that its caller is responsible for


@dataclass(frozen=True)
class ModuleLine:
    """One module of the tree: its worst row in the full run and in isolation (None: it can't run so, for a reason)."""

    path: str
    in_the_whole: Row | None
    by_itself: Row | None
    reason: str = ""


@dataclass(frozen=True)
class Location:
    """The result: the report of the full run, the module at fault, every module in isolation, and all that are guilty
    by themselves, the worst first."""

    report: Report
    first_divergence: Divergence | None
    first_row: Row | None
    modules: list[ModuleLine]
    cause: str = ""  # why two runs diverge, in a sentence
    guilty: list[Guilty] = field(default_factory=list)

    def __str__(self) -> str:
        if self.first_divergence is None:
            return f"{self.report.title}: {self.report.summary}"
        module, phase, _ = self.first_divergence
        lines = [f"{self.report.title}: {module} is at fault ({phase})"]
        paths = [line.path for line in self.modules]
        lines += [_line(line, paths, self._is_guilty(line)) for line in self.modules]
        lines += [f"first: {self.first_row}"] if self.first_row else []
        sides = zip(("torch", "jax"), self.first_row.statistics if self.first_row else (), strict=False)
        lines += [f"  {side}: {text}" for side, text in sides]
        for title, is_rounding in (("guilty by themselves", False), ("casts to float32 inside, no more", True)):
            named = [each for each in self.guilty if each.is_rounding == is_rounding]
            lines += [f"{title}:", *(f"  {each}" for each in named)] if named else []
        return "\n".join([*lines, *filter(None, [self.cause])])

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with non-finite numbers as text."""
        modules = [
            {
                "path": line.path,
                "guilty": self._is_guilty(line),
                "in_the_whole": line.in_the_whole
                and {"error": line.in_the_whole.error, "bound": line.in_the_whole.bound},
                "by_itself": line.by_itself and {"error": line.by_itself.error, "bound": line.by_itself.bound},
                "reason": line.reason,
            }
            for line in self.modules
        ]
        step = self.first_row.step if self.first_row else None
        found = {"first_divergence": self.first_divergence, "step": step, "cause": self.cause, "modules": modules}
        found["guilty"] = [
            {"path": each.path, "phase": each.phase, "error": each.row.error, "adds": each.adds,
             "is_rounding": each.is_rounding}
            for each in self.guilty
        ]  # fmt: skip
        return nonfinite_as_text({**self.report.to_dict(), **found})

    def _is_guilty(self, line: ModuleLine) -> bool:
        root = self.report.name
        return self.first_divergence is not None and self.first_divergence.module == (
            f"{root}.{line.path}" if line.path else root
        )


@known_options(compare)
def locate(torch_module: Any, jax_module: Any, inputs: Any, *, rules: Rules | None = None, **options: Any) -> Location:
    """Compare two modules as `compare` does (same options), then every submodule in isolation.

    Raises IsogradError as `compare` does.
    """
    sides = sides_of(torch_module, jax_module, **options)
    report = compare(*sides, inputs, rules=rules, **options)
    if report.agrees:
        return Location(report, None, None, _lines(report, {}))
    if report.recordings is None or any(side.recorded is not None for side in sides):
        return Location(report, report.first_divergence, report.first_row, _lines(report, {}))
    ours = report.recordings[0]
    whole = Comparison(*sides, ours.arguments, ours.options, rules or {}, options.get("layouts") or {})
    isolated = isolate(whole, recordings=report.recordings)
    found = innermost(isolated, report.rows)
    found = found if found is not None and _is_closer(found, report) else None
    return Location(
        report,
        as_divergence(found, report.name) or report.first_divergence,
        found.row if found else report.first_row,
        _lines(report, isolated),
        guilty=guilty_of(isolated, report.rows, whole, ours),
    )


def _is_closer(found: Found, report: Report) -> bool:
    """True if a module that is wrong in isolation lies where the full run first diverges, at a tensor not given by a
    caller. Otherwise the surrounding code compensates (a caller freezing an embedding row), or the module comes later.

    A mask may differ only in polarity, so it says nothing about the caller.
    """
    first, row = report.first_divergence, report.first_row
    if first is None or row is None:
        return True
    path = first.module[len(report.name) + 1 :]
    is_below = not path or f"{found.module}.".startswith(f"{path}.")
    is_given = GIVEN.get(row.kind) == end_of(row.tensor) and row.bound > 0  # integers and masks always have bound 0
    return is_below and not is_given and found.phase.split()[-1] == first.phase.split()[-1]


def locate_twin(
    twin: str,
    *,
    fault: str | None = None,
    dtype: str = "float64",
    case: str = "odd_sizes",
    train: bool = False,
    steps: int | None = None,
    device: str = "cpu",
) -> Location:
    """`locate` for a twin of the registry, with a fault planted if one is named; `steps` compares training runs.

    Raises IsogradError for an unknown twin, case, dtype, device or fault.
    """
    from crosscheck.faults.planting import planted
    from crosscheck.faults.table import find_fault
    from crosscheck.runs.diagnosis import find_cause_in_run
    from crosscheck.twins.pair import build_pair
    from crosscheck.twins.suite import UPDATES, check_arguments

    check_arguments(twin, case, dtype, device)
    with planted(find_fault(fault).changes if fault else ()):
        if steps is not None:
            report = compare_runs(twin, steps=steps, dtype=dtype, device=device)
            found, cause = find_cause_in_run(report)
            return Location(report, found, report.first_row, [], cause)
        pair = build_pair(twin, dtype=dtype, case=case, device=device)
        updates = UPDATES if train else 0
        found = locate(pair.torch, pair.jax, pair.inputs, train=train, updates=updates, name=twin, device=device)
        return replace(found, report=replace(found.report, case=case))


def _lines(report: Report, isolated: Mapping[str, list[Alone]]) -> list[ModuleLine]:
    """The tree with every module once: parents before children, siblings in call order."""
    worst: dict[str, Row] = {}
    for row in report.rows:
        if row.kind not in ("input", "update"):
            best = worst.setdefault(row.module, row)
            worst[row.module] = max(best, row, key=share_of_bound)
    called = [call.path for call in report.recordings[0].values.calls.values()] if report.recordings else []
    paths = _in_tree_order([path for path in ("", *called, *worst) if path in ("", *worst, *isolated)])
    alone = {path: [call.worst for call in calls if call.worst is not None] for path, calls in isolated.items()}
    return [
        ModuleLine(
            path,
            worst.get(path),
            max(alone.get(path, ()), key=share_of_bound, default=None),
            next((call.reason for call in isolated.get(path, ()) if call.reason), ""),
        )
        for path in paths
    ]


def _in_tree_order(paths: Sequence[str]) -> list[str]:
    """Every path once: parents before children, siblings in the given order."""
    places: dict[str, int] = {}
    for path in paths:
        for ancestor in _lineage(path):
            places.setdefault(ancestor, len(places))
    return sorted(set(paths), key=lambda path: [places[ancestor] for ancestor in _lineage(path)])


def _lineage(path: str) -> list[str]:
    """ "a.b" -> "a", "a.b"."""
    parts = path.split(".")
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]


def _line(line: ModuleLine, paths: list[str], is_guilty: bool) -> str:
    """One line of the tree: the module's path from its parent, indented, and its errors in full run and isolation."""
    parents = [path for path in paths if path and line.path.startswith(f"{path}.")]
    name = line.path[len(parents[-1]) + 1 :] if parents else line.path or "(root)"
    name = "  " * (len(parents) + bool(line.path)) + name
    whole, alone = _verdict(line.in_the_whole), _verdict(line.by_itself)
    alone += f" ({line.reason})" if line.by_itself is None and line.reason else ""
    return f"  {name:<36} full run {whole:<18} isolated {alone:<18}{MARK if is_guilty else ''}".rstrip()


def _verdict(row: Row | None) -> str:
    return "-" if row is None else f"{row.error:.1e} {'agrees' if row.agrees else 'DISAGREES'}"
