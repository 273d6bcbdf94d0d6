"""A check's page: verdict, disagreements, twins, faults, module trees, errors by depth, all tensors, in one file."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosscheck.criterion import NOISE_RATIO, PROOF
from crosscheck.faults.promises import broken_promises
from crosscheck.judging.rows import KIND, Row, digits, share_of_bound
from crosscheck.pages.chart import Chart, chart_of
from crosscheck.pages.overview import Line, badness, counted, lines_of, summary
from crosscheck.pages.reported import Report
from crosscheck.pages.tree import FIRST_WRONG, LEGEND, Tree, level_of, share_text, tree_of
from shared.pages import TEMPLATES as SHARED_TEMPLATES

TEMPLATES = Path(__file__).parent / "templates"
IN_FULL = 8  # number of disagreements shown expanded; the others are collapsed
HEADINGS = {  # columns of the twins table, and their meaning
    "twin": "",
    "dtype": "",
    "verdict": "",
    "of the bound": "the worst error relative to its bound",
    "worst error": "relative L2 error of the tensor with the largest error relative to its bound",
    "bound": "the largest allowed error of that tensor",
    "comparisons": "kinds of input, in eval and in train mode, and whole training runs",
    "seconds": "total time of the comparisons",
}
FaultScores = Mapping[str, Any]  # what `crosscheck.scoring.score.score` returns


@dataclass(frozen=True)
class Twin:
    """All reports of one twin, and the worst of each dtype, which is drawn."""

    name: str
    number: int
    reports: list[tuple[int, Report]]
    trees: list[tuple[Report, Tree]]
    chart: Chart | None

    @property
    def wrong(self) -> int:
        return sum(not report.agrees for _, report in self.reports)


def render(reports: Sequence[Report], *, faults: FaultScores | None = None, command: str = "") -> str:
    """The page as a single self-contained HTML document.

    `faults` are scores of planted faults, with or without reports; `command` is the command that produced the page.
    """
    page = _environment().get_template("page.html.jinja")
    lines = sorted(lines_of(reports), key=_line_badness, reverse=True)
    numbered = list(enumerate(reports, 1))
    sentence, passes = _verdict(reports, faults)
    return page.render(
        summary=sentence,
        agrees=passes,
        facts=_facts(reports, faults or {}, command),
        wrong=_wrong(numbered),
        in_full=IN_FULL,
        headings=HEADINGS,
        lines=lines,
        twins=_twins(numbered, lines),
        faults=faults,
        broken=broken_promises(faults) if faults else [],
        legend=LEGEND,
        first_wrong=FIRST_WRONG,
        proof=f"{PROOF:g}",
        ratio=f"{NOISE_RATIO:g}",
        kinds=list(KIND),
    )


def _verdict(reports: Sequence[Report], faults: FaultScores | None) -> tuple[str, bool]:
    """One sentence, and whether the result is good."""
    if reports or faults is None:
        return summary(reports), all(report.agrees for report in reports)
    alarms = faults["equivalents"]["alarms"] + faults["seeds"]["alarms"]
    found = f"{faults['killed']} of {counted(faults['total'], 'planted fault')} caught"
    alarmed = counted(alarms, "false alarm") if alarms else "no false alarm"
    return f"{found}, {faults['located']} located, {alarmed}", not broken_promises(faults)


def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader((TEMPLATES, SHARED_TEMPLATES)),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"level": level_of, "share": share_text, "share_of_bound": share_of_bound}
    environment.filters |= {"tensors": tensors, "script": script, "short": short}
    return environment


def _line_badness(line: Line) -> tuple[bool, float]:
    return badness(line.worst) if line.worst else (False, 0.0)


def _wrong(numbered: Sequence[tuple[int, Report]]) -> list[tuple[int, Report]]:
    """The disagreements: the first of every twin, then the second of each, and so on."""
    places: Counter[str] = Counter()
    wrong = []
    for number, report in numbered:
        if not report.agrees:
            wrong.append((places[report.name], number, report))
            places[report.name] += 1
    return [(number, report) for _, number, report in sorted(wrong, key=lambda found: found[:2])]


def _twins(numbered: Sequence[tuple[int, Report]], lines: Sequence[Line]) -> dict[str, Twin]:
    """Twins by name, in the order of the lines."""
    names = dict.fromkeys(line.name for line in lines)
    groups = {name: [pair for pair in numbered if pair[1].name == name] for name in names}
    return {name: _twin(name, number, groups[name]) for number, name in enumerate(names, 1)}


def _twin(name: str, number: int, reports: list[tuple[int, Report]]) -> Twin:
    shown = [max(line.reports, key=_tells) for line in lines_of([report for _, report in reports])]
    return Twin(name, number, reports, [(report, tree_of(report)) for report in shown], chart_of(shown))


def _tells(report: Report) -> tuple[bool, bool, tuple[bool, float]]:
    """How informative a drawing of this report is: a disagreement first, then inner tensors, then large errors."""
    has_inside = any(KIND[row.kind].is_inside for row in report.rows)
    return not report.agrees, has_inside, badness(report.worst) if report.worst else (False, 0.0)


def _facts(reports: Sequence[Report], faults: FaultScores, command: str) -> dict[str, str]:
    """What was compared, where and with what; for faults alone, where they were planted."""
    rows = [row for report in reports for row in report.rows]
    inside = sum(KIND[row.kind].is_inside for row in rows)
    devices = dict.fromkeys(report.device for report in reports) or [faults.get("device", "")]
    versions = dict(pair for each in (faults, *map(vars, reports)) for pair in each.get("versions", {}).items())
    compared = {
        "comparisons": f"{len(reports):,}",
        "tensors": f"{len(rows) - inside:,}, and {inside:,} inside the modules",
        "dtypes": ", ".join(dict.fromkeys(report.dtype for report in reports)),
        "time": _duration(sum(report.seconds for report in reports)),
    }
    facts = {
        **(compared if reports else {}),
        "device": ", ".join(devices),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "command": command,
    }
    return {name: text for name, text in facts.items() if text}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def tensors(report: Report) -> list[list[Any]]:
    """Every row as a short list for the page's script, which names the fields."""
    return [_tensor(row) for row in report.rows]


def _tensor(row: Row) -> list[Any]:
    shape = "×".join(map(str, row.shape)) if row.shape == row.jax_shape else f"{row.shape} / {row.jax_shape}"
    index = ", ".join(map(str, row.worst_index))
    values = dict.fromkeys(digits(row.torch_value, row.jax_value))  # equal values appear once
    kind = list(KIND).index(row.kind)
    numbers = short(row.error, 3), short(row.bound, 3), 0 if row.sensitivity == row.bound else short(row.sensitivity)
    return [kind, row.tensor, shape, *numbers, level_of(row), index, *values]


def short(number: float, figures: int = 2) -> str:
    """An error in a few significant figures."""
    return f"{number:.{figures - 1}e}" if number else "0"


def script(value: Any) -> str:
    """JSON for a script element that no text inside can terminate."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
