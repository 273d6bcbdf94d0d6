"""What a check of many twins found: a table for the terminal, data for a program, and a page."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.atomic import new_file
from shared.checkpoint import write_json

TEMPLATES = Path(__file__).parent / "templates"
DATA, PAGE = "report.json", "report.html"
COLUMNS = ("twin", "dtype", "cases", "worst error", "bound", "verdict")
SYMBOLS = {
    "cases": "comparisons made: kinds of input, in eval and in train mode",
    "worst error": "relative L2 error of the tensor that stands highest against its bound, over outputs and gradients",
    "bound": "1e-12 in float64; below it 3 times the error that honest rounding makes, measured against float64",
}
WIDTH = 110  # where the output is no terminal


@dataclass(frozen=True)
class Line:
    """All comparisons of one twin in one dtype."""

    name: str
    dtype: str
    reports: list[Any]

    @property
    def wrong(self) -> int:
        return sum(not report.agrees for report in self.reports)

    @property
    def cells(self) -> tuple[str, ...]:
        worst = max((report.worst for report in self.reports if report.worst), key=_share, default=None)
        figures = (f"{worst.error:.1e}", f"{worst.bound:.1e}") if worst else ("–", "–")
        verdict = f"{self.wrong} of {len(self.reports)} DISAGREE" if self.wrong else "agree"
        return self.name, self.dtype, str(len(self.reports)), *figures, verdict


def lines_of(reports: Sequence[Any]) -> list[Line]:
    """One line a twin and dtype, in the order in which they were checked."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for report in reports:
        groups.setdefault((report.name, report.dtype), []).append(report)
    return [Line(name, dtype, group) for (name, dtype), group in groups.items()]


def print_table(reports: Sequence[Any]) -> None:
    """The table, then every disagreement in full."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.width = console.width if console.is_terminal else WIDTH
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in COLUMNS:
        table.add_column(heading, justify="right" if heading in SYMBOLS else "left", overflow="fold")
    for line in lines_of(reports):
        table.add_row(*line.cells, style="bold red" if line.wrong else "")
    console.print(table)
    for report in reports:
        if not report.agrees:
            console.print(Text(f"\n{report}"), soft_wrap=True)
    console.print(f"\n{summary(reports)}", soft_wrap=True, highlight=False)


def summary(reports: Sequence[Any]) -> str:
    """One sentence: how many comparisons of how many twins, and how many disagree."""
    wrong = sum(not report.agrees for report in reports)
    twins = len({report.name for report in reports})
    found = f"{wrong} disagreement{'' if wrong == 1 else 's'}" if wrong else "no disagreement"
    return f"{len(reports)} comparisons of {twins} twin{'' if twins == 1 else 's'}, {found}"


def collect(reports: Sequence[Any]) -> dict[str, Any]:
    """Everything as data: the verdict, what was compared on, and every report with all its tensors."""
    return {
        "agrees": all(report.agrees for report in reports),
        "comparisons": len(reports),
        "disagreements": sum(not report.agrees for report in reports),
        "device": reports[0].device if reports else None,
        "versions": {"python": platform.python_version(), **(reports[0].versions if reports else {})},
        "reports": [report.to_dict() for report in reports],
    }


def write_check(reports: Sequence[Any], out: Path) -> Path:
    """Write report.json and report.html into `out`; returns the page to open."""
    import jinja2

    content = collect(reports)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    environment.trim_blocks = environment.lstrip_blocks = True
    page = environment.get_template("check.html.jinja").render(
        summary=summary(reports),
        columns=COLUMNS,
        rows=[(line.cells, line.wrong) for line in lines_of(reports)],
        symbols=SYMBOLS,
        wrong=[str(report) for report in reports if not report.agrees],
        **{name: content[name] for name in ("agrees", "device", "versions")},
    )
    write_json(out / DATA, content)
    with new_file(out / PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out / PAGE


def _share(row: Any) -> float:
    """How much of its bound an error takes; NaN counts as the most."""
    share = row.error / row.bound if row.bound else row.error
    return share if share == share else float("inf")
