"""The page of a check: verdict, disagreements, twins, module trees, errors by depth, every tensor. One file, no network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosscheck.criterion import NOISE_RATIO, PROOF
from crosscheck.overview import Line, badness, lines_of, summary
from crosscheck.page_chart import Chart, chart_of
from crosscheck.page_tree import LEGEND, Tree, level_of, share_text, tree_of
from crosscheck.report import Report
from crosscheck.rows import KIND, Row, digits, share_of_bound, strict

TEMPLATES = Path(__file__).parent / "templates"
IN_FULL = 8  # disagreements that stand open; the others are folded
HEADINGS = {  # columns of the table of twins, and what they mean
    "twin": "",
    "dtype": "",
    "verdict": "",
    "of the bound": "the worst error against its bound",
    "worst error": "relative L2 error of the tensor that stands highest against its bound",
    "bound": "what that error may be at most",
    "comparisons": "kinds of input, in eval and in train mode, and whole training runs",
    "seconds": "time that the comparisons took, one after another",
}
FaultScores = Mapping[
    str, Any
]  # what `crosscheck.faults.score` measures; `templates/faults.html.jinja` shows all of it


@dataclass(frozen=True)
class Twin:
    """All reports of one twin, and the worst of each dtype, which is drawn."""

    name: str
    number: int
    reports: list[tuple[int, Report]]
    lines: list[Line]
    trees: list[tuple[Report, Tree]]
    chart: Chart | None

    @property
    def wrong(self) -> int:
        return sum(line.wrong for line in self.lines)


def render(reports: Sequence[Report], *, faults: FaultScores | None = None, command: str = "") -> str:
    """The page as text: one HTML document that needs nothing else. `command` is what was run to make it."""
    page = _environment().get_template("page.html.jinja")
    lines = sorted(lines_of(reports), key=_line_badness, reverse=True)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(line.name for line in lines), 1)}
    numbered = list(enumerate(reports, 1))
    return page.render(
        summary=summary(reports),
        agrees=all(report.agrees for report in reports),
        facts=_facts(reports, command),
        wrong=_wrong(numbered),
        in_full=IN_FULL,
        headings=HEADINGS,
        lines=lines,
        twins=[_twin(name, number, numbered, lines) for name, number in numbers.items()],
        numbers=numbers,
        faults=faults,
        legend=LEGEND,
        proof=f"{PROOF:g}",
        ratio=f"{NOISE_RATIO:g}",
        kinds=list(KIND),
    )


def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"level": level_of, "share": share_text, "share_of_bound": share_of_bound}
    environment.filters |= {"tensors": tensors, "script": script, "short": short}
    return environment


def _line_badness(line: Line) -> tuple[bool, float]:
    return badness(line.worst) if line.worst else (False, 0.0)


def _wrong(numbered: Sequence[tuple[int, Report]]) -> list[tuple[int, Report]]:
    """The disagreements: one of every twin, then the second ones, and so on."""
    wrong = [(number, report) for number, report in numbered if not report.agrees]
    return sorted(wrong, key=lambda pair: [report.name for _, report in wrong[: wrong.index(pair)]].count(pair[1].name))


def _twin(name: str, number: int, numbered: Sequence[tuple[int, Report]], lines: Sequence[Line]) -> Twin:
    mine = [line for line in lines_of([report for _, report in numbered]) if line.name == name]
    shown = [max(line.reports, key=_tells) for line in mine]
    trees = [(report, tree_of(report)) for report in shown]
    return Twin(name, number, [pair for pair in numbered if pair[1].name == name], mine, trees, chart_of(shown))


def _tells(report: Report) -> tuple[bool, bool, tuple[bool, float]]:
    """How much a drawing of this report tells: a disagreement before all, then tensors inside, then large errors."""
    has_inside = any(KIND[row.kind].is_inside for row in report.rows)
    return not report.agrees, has_inside, badness(report.worst) if report.worst else (False, 0.0)


def _facts(reports: Sequence[Report], command: str) -> dict[str, str]:
    rows = [row for report in reports for row in report.rows]
    inside = sum(KIND[row.kind].is_inside for row in rows)
    versions = {name: version for report in reports for name, version in report.versions.items()}
    facts = {
        "comparisons": f"{len(reports):,}",
        "tensors": f"{len(rows) - inside:,}, and {inside:,} inside the modules",
        "dtypes": ", ".join(dict.fromkeys(report.dtype for report in reports)),
        "device": ", ".join(dict.fromkeys(report.device for report in reports)),
        "time": _duration(sum(report.seconds for report in reports)),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "command": command,
    }
    return {name: text for name, text in facts.items() if text}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def tensors(report: Report) -> list[list[Any]]:
    """Every row as a short list for the page's script: kind, tensor, shape, error, bound, level, share, index, values."""
    return strict([_tensor(row) for row in report.rows])


def _tensor(row: Row) -> list[Any]:
    shape = "×".join(map(str, row.shape)) if row.shape == row.jax_shape else f"{row.shape} / {row.jax_shape}"
    index = ", ".join(map(str, row.worst_index))
    kind = list(KIND).index(row.kind)
    ours, theirs = digits(row.torch_value, row.jax_value)
    return [kind, row.tensor, shape, f"{row.error:.2e}", f"{row.bound:.2e}", level_of(row), index, ours, theirs]


def short(number: float) -> str:
    """An error with two digits."""
    return f"{number:.1e}" if number else "0"


def script(value: Any) -> str:
    """JSON for a script element, in which no text can end the element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
