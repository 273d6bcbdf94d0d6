"""The modules of a report as a tree: each module's worst row in each phase, and its colour."""

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass

from crosscheck.judging.rows import Row, share_of_bound
from crosscheck.pages.overview import badness
from crosscheck.pages.reported import Report

PHASES = {  # a row's phase -> its column heading
    "parameters": "parameters",
    "forward": "forward",
    "input gradient": "gradient",
    "parameter gradient": "parameter gradient",
    "update": "update",
}
DECADES = (-4, -3, -2, -1, 0, 1, 3)  # error / bound up to 10 to each power is one step of the colour scale
LEGEND = ("0", "≤ 0.01 %", "≤ 0.1 %", "≤ 1 %", "≤ 10 %", "≤ bound", "≤ 10 ×", "≤ 1000 ×", "> 1000 ×", "not finite")
FIRST_WRONG, NOT_FINITE = LEGEND.index("≤ 10 ×"), LEGEND.index("not finite")


@dataclass(frozen=True)
class Cell:
    """A module's worst row in one phase, its colour step, and whether the divergence begins here."""

    row: Row
    is_first: bool = False

    @property
    def level(self) -> int:
        return level_of(self.row)

    @property
    def share(self) -> str:
        return share_text(self.row)

    @property
    def is_finite(self) -> bool:
        return self.level != NOT_FINITE


@dataclass(frozen=True)
class Node:
    """One module: its path, its name below its parent, its depth in the tree, and a cell per phase."""

    path: str
    name: str
    depth: int
    cells: list[Cell | None]
    is_first: bool


@dataclass(frozen=True)
class Tree:
    """Phase headings, and the modules in the order of the forward run, parents first."""

    headings: list[str]
    nodes: list[Node]


def level_of(row: Row) -> int:
    """The row's step in `LEGEND`; it colours what the verdict already says."""
    share = share_of_bound(row)
    if not math.isfinite(share):
        return NOT_FINITE
    level = 1 + bisect.bisect_left(DECADES, math.log10(share)) if share else 0
    return level if row.agrees else max(level, FIRST_WRONG)


def share_text(row: Row) -> str:
    """An error relative to its bound: as a percentage, or as a multiple."""
    share = share_of_bound(row)
    level = level_of(row)
    if level in (0, NOT_FINITE):
        return LEGEND[level]
    if level >= FIRST_WRONG:
        return f"{share:.0f} ×" if 10 <= share < 1000 else f"{share:.2g} ×".replace("e+0", "e").replace("e+", "e")
    return "<0.01 %" if level == 1 else f"{100 * share:.2g} %"


def tree_of(report: Report) -> Tree:
    """Every module that has a row; the module of the first divergence is marked, and added if it has none."""
    first = _first(report)
    worst: dict[tuple[str, str], Row] = {}
    for row in report.rows:
        key = row.module, row.phase
        worst[key] = max(worst.get(key, row), row, key=badness)
    if first is not None and report.first_row is not None:
        worst.setdefault(first, report.first_row)
    phases = [phase for phase in PHASES if _is_told(phase, worst)]
    paths = [path for path in _modules(report, first) if any((path, phase) in worst for phase in phases) or not path]
    nodes = [
        Node(
            path,
            path[len(parent) :].removeprefix(".") or report.name,
            depth,
            _cells(path, phases, worst, first),
            is_first,
        )
        for path, parent, depth in _nested(paths)
        for is_first in [first is not None and first[0] == path]
    ]
    return Tree([PHASES[phase] for phase in phases], nodes)


def _first(report: Report) -> tuple[str, str] | None:
    """Path and phase of the first divergence; the path excludes the root's name."""
    if report.first_divergence is None:
        return None
    module, phase, _ = report.first_divergence
    return module.removeprefix(report.name).removeprefix("."), phase


def _is_told(phase: str, worst: dict[tuple[str, str], Row]) -> bool:
    """Equal parameters are given, not found: they get a column only if some differ."""
    rows = [row for (_, other), row in worst.items() if other == phase]
    return any(row.error for row in rows) if phase == "parameters" else bool(rows)


def _modules(report: Report, first: tuple[str, str] | None) -> list[str]:
    """Paths in the order of the forward run, then those that only have parameters."""
    inside = [row.module for row in report.rows if row.kind == "intermediate"]
    return list(dict.fromkeys(["", *inside, *(row.module for row in report.rows), *([first[0]] if first else [])]))


def _nested(paths: list[str], parent: str = "", depth: int = 0) -> Iterator[tuple[str, str, int]]:
    """(path, nearest listed ancestor, depth), with every module followed by its submodules."""
    if depth == 0:
        yield "", "", 0
        yield from _nested([path for path in paths if path], "", 1)
        return
    tops = [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]
    for top in tops:
        yield top, parent, depth
        yield from _nested([path for path in paths if path.startswith(f"{top}.")], top, depth + 1)


def _cells(
    path: str, phases: list[str], worst: dict[tuple[str, str], Row], first: tuple[str, str] | None
) -> list[Cell | None]:
    rows = [(phase, worst.get((path, phase))) for phase in phases]
    return [Cell(row, first == (path, phase)) if row else None for phase, row in rows]
