"""The results of a check of many twins: a table for the terminal, JSON, a page, and how tight the bounds are."""

import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from shared.atomic import new_file
from shared.checkpoint import write_json

DATA, PAGE, BOUNDS = "report.json", "report.html", "bounds.md"
COLUMNS = ("twin", "dtype", "cases", "worst error", "bound", "sees from", "verdict")
NUMBERS = ("cases", "worst error", "bound", "sees from")
WIDTH = 110  # if the output is not a terminal


def print_table(reports: Sequence[Any]) -> None:
    """Print the table, then every disagreement in full."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from crosscheck.pages.overview import lines_of, summary

    console = Console()
    console.width = console.width if console.is_terminal else WIDTH
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in COLUMNS:
        table.add_column(heading, justify="right" if heading in NUMBERS else "left", overflow="fold")
    for line in lines_of(reports):
        table.add_row(*_cells(line), style="bold red" if line.wrong else "")
    console.print(table)
    for report in reports:
        if not report.agrees:
            console.print(Text(f"\n{report}"), soft_wrap=True)
    lines = (summary(reports), *tightness(reports), time_of_parts(reports))
    console.print("", *lines, sep="\n", soft_wrap=True, highlight=False)


def tightness(reports: Sequence[Any]) -> list[str]:
    """For each dtype below float64 one sentence: how far bounds are above the errors of the tensors that count."""
    return [
        f"bounds in {dtype}: {median(found):.1f} times the error at the median of {len(found):,} tensors"
        for dtype, found in _shares(reports).items()
    ]


def _shares(reports: Sequence[Any]) -> dict[str, list[float]]:
    """dtype -> bound over error of each tensor that counts and is held to a measured bound."""
    shares: dict[str, list[float]] = {}
    for report in reports:
        for row in report.measured:
            shares.setdefault(report.dtype, []).append(row.bound / row.error)
    return shares


def bounds_table(reports: Sequence[Any], command: str) -> str:
    """The same in Markdown, with quartiles and the smallest error that is seen in half of the tensors."""
    seen: dict[str, list[float]] = {}
    for report in reports:
        seen.setdefault(report.dtype, []).extend(report.sensitivities)
    rows = [
        f"| {dtype} | {len(found):,} | {' | '.join(f'{each:.1f}' for each in quantiles(found))} "
        f"| {median(seen[dtype]):.1e} |"
        for dtype, found in _shares(reports).items()
        if len(found) > 1
    ]
    versions = ", ".join(f"{name} {version}" for name, version in collect(reports[:1])["versions"].items())
    lines = [
        "# How tight measured bounds are", "", "Each bound over the error of its tensor, of those that count.", "",
        "| dtype | tensors | first quartile | median | third quartile | seen in half of the tensors |",
        "|---|---|---|---|---|---|", *rows, "", f"With {versions}.", "", "```bash", command, "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def time_of_parts(reports: Sequence[Any]) -> str:
    """One sentence: the seconds that each part of the work took, over all workers; the rest is comparing."""
    parts: dict[str, float] = {}
    for report in reports:
        for part, seconds in report.parts.items():
            parts[part] = parts.get(part, 0.0) + seconds
    parts["the rest"] = sum(report.seconds for report in reports) - sum(parts.values())
    return "seconds: " + ", ".join(f"{part} {seconds:.1f}" for part, seconds in parts.items())


def _cells(line: Any) -> tuple[str, ...]:
    worst, seen = line.worst, [each for report in line.reports for each in report.sensitivities]
    numbers = (worst and worst.error, worst and worst.bound, max(seen, default=None))
    figures = ("–" if number is None else f"{number:.1e}" for number in numbers)
    return line.name, line.dtype, str(len(line.reports)), *figures, line.verdict


def collect(reports: Sequence[Any]) -> dict[str, Any]:
    """All reports with all their tensors as data, following `$defs/check` of crosscheck/report_schema.json."""
    return {
        "agrees": all(report.agrees for report in reports),
        "comparisons": len(reports),
        "disagreements": sum(not report.agrees for report in reports),
        "device": reports[0].device if reports else None,
        "versions": {"python": platform.python_version(), **(reports[0].versions if reports else {})},
        "reports": [report.to_dict() for report in reports],
    }


def write_check(reports: Sequence[Any], out: Path, command: str = "") -> Path:
    """Write report.json, report.html and, below float64, bounds.md into `out`; returns the page to open.

    `command` is the one that was run.
    """
    from crosscheck.pages.page import render

    page = render(reports, command=command)
    write_json(out / DATA, collect(reports))
    texts = {PAGE: page} | ({BOUNDS: bounds_table(reports, command)} if tightness(reports) else {})
    for name, text in texts.items():
        with new_file(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return out / PAGE
