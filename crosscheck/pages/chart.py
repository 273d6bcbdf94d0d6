"""Error against depth as a chart: one panel per dtype, with inner tensors in the order of the forward run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from crosscheck.judging.rows import Row
from crosscheck.pages.reported import Report

WIDTH, LEFT, RIGHT = 960, 92, 16  # in pixels of a wide window
PANEL, GAP, TOP = 150, 40, 30
LABEL, AXIS = 5, 38  # height of a letter in a slanted label, and of the rest below the panels
LANE = 16  # height of the bottom lane for errors of 0, and of the top lane for non-finite errors
TICKS = 5
DEPTHS, MOST_GROUPS, SHOWN = (1, 2, 3, 4), 20, 2  # path depths, modules on the axis, path parts in a label
CROWDED = 15  # minimum distance between module labels
SERIES = {"intermediate": "forward", "intermediate gradient": "gradient"}


@dataclass(frozen=True)
class Curve:
    """One kind of tensor in one panel, as SVG path data."""

    name: str
    line: str
    marks: str
    bound: str


@dataclass(frozen=True)
class Panel:
    """The tensors of one report."""

    title: str
    top: float
    bottom: float
    ticks: list[tuple[float, str]]
    lanes: list[tuple[float, str]]
    first: float | None
    curves: list[Curve]


@dataclass(frozen=True)
class Chart:
    """Panels stacked on one horizontal axis; `groups` are (left end, right end, name) of the modules."""

    height: float
    panels: list[Panel]
    groups: list[tuple[float, float, str]]
    tensors: list[str]

    width, left, right = WIDTH, LEFT, WIDTH - RIGHT


def chart_of(reports: Sequence[Report]) -> Chart | None:
    """One panel per report that has inner tensors; None if no report has any."""
    shown = [report for report in reports if any(row.kind in SERIES for row in report.rows)]
    if not shown:
        return None
    modules = {row.tensor: row.module for report in shown for row in report.rows if row.kind in SERIES}
    places = {tensor: _across(place, len(modules)) for place, tensor in enumerate(modules)}
    panels = [_panel(report, places, TOP + i * (PANEL + GAP)) for i, report in enumerate(shown)]
    groups = _groups(list(modules.values()))
    labels = LABEL * max(len(name) for _, _, name in groups) + AXIS
    return Chart(panels[-1].bottom + labels, panels, groups, list(modules))


def _across(place: float, count: int) -> float:
    return LEFT + (place + 0.5) * (WIDTH - LEFT - RIGHT) / count


def _panel(report: Report, places: dict[str, float], top: float) -> Panel:
    rows = [row for row in report.rows if row.kind in SERIES]
    numbers = [n for row in rows for n in (row.error, row.bound) if n > 0 and math.isfinite(n)] or [1.0]
    scale = _Scale(math.floor(math.log10(min(numbers))), math.ceil(math.log10(max(numbers))), top + LANE)
    lanes = [(scale.bottom + LANE, "0")] if any(row.error == 0 for row in rows) else []
    lanes += [(top, "not finite")] if any(not math.isfinite(row.error) for row in rows) else []
    first = report.first_divergence
    return Panel(
        title=" ".join(part for part in (report.dtype, report.case.replace("_", " "), report.mode) if part),
        top=top,
        bottom=scale.bottom + LANE,
        ticks=scale.ticks,
        lanes=lanes,
        first=places.get(first.tensor) if first else None,
        curves=[_curve(kind, rows, places, scale) for kind in SERIES],
    )


@dataclass(frozen=True)
class _Scale:
    """A panel's vertical axis: powers of ten from `low` to `high`, with one lane above and one below."""

    low: int
    high: int
    top: float

    @property
    def bottom(self) -> float:
        return self.top + PANEL - 2 * LANE

    def down(self, error: float) -> float:
        if not math.isfinite(error):
            return self.top - LANE
        if error <= 0:
            return self.bottom + LANE
        part = (math.log10(error) - self.low) / max(self.high - self.low, 1)
        return round(self.bottom - part * (self.bottom - self.top), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        step = max(1, math.ceil((self.high - self.low) / TICKS))
        return [(self.down(10.0**power), f"1e{power}") for power in range(self.low, self.high + 1, step)]


def _curve(kind: str, rows: Sequence[Row], places: dict[str, float], scale: _Scale) -> Curve:
    points = [(round(places[row.tensor], 1), scale.down(row.error), row) for row in rows if row.kind == kind]
    bounds = [(x, scale.down(row.bound)) for x, _, row in points if row.bound]
    return Curve(
        SERIES[kind],
        _line([(x, y) for x, y, _ in points]),
        "".join(f"M{x:g} {y:g}h0" for x, y, _ in points),
        _line(bounds),
    )


def _line(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""


def _groups(modules: Sequence[str]) -> list[tuple[float, float, str]]:
    """Adjacent modules grouped by outer module, at the deepest level whose names fit."""
    by_depth = [_runs([".".join(_parts(module)[:depth]) for module in modules]) for depth in DEPTHS]
    runs = max((runs for runs in by_depth if len(runs) <= MOST_GROUPS), key=len, default=by_depth[0])
    shown, last = [], -math.inf
    for start, end, name in runs:
        left, right = _across(start - 0.5, len(modules)), _across(end - 0.5, len(modules))
        middle = (left + right) / 2
        has_room = middle - last >= CROWDED
        last = middle if has_room else last
        shown.append((round(left, 1), round(right, 1), ".".join(_parts(name)[-SHOWN:]) if has_room else ""))
    return shown


def _parts(module: str) -> list[str]:
    """The parts of a path; a number belongs to the part before it."""
    parts: list[str] = []
    for part in module.split("."):
        if part.isdigit() and parts:
            parts[-1] += f".{part}"
        else:
            parts.append(part)
    return parts


def _runs(names: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first, one past the last, name) of each run of equal neighbours."""
    starts = [i for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
    return [(start, end, names[start]) for start, end in zip(starts, [*starts[1:], len(names)], strict=True)]
