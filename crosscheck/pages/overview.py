"""The results of checking many twins, by twin and dtype, for the terminal and the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from crosscheck.judging.rows import Row, share_of_bound
from crosscheck.pages.reported import Report


@dataclass(frozen=True)
class Line:
    """All comparisons of one twin in one dtype."""

    name: str
    dtype: str
    reports: list[Report]

    @property
    def wrong(self) -> int:
        return sum(not report.agrees for report in self.reports)

    @property
    def worst(self) -> Row | None:
        """The row with the largest error relative to its bound, among rows that count; disagreements rank first."""
        rows = (report.worst for report in self.reports)
        return max((row for row in rows if row), key=badness, default=None)

    @property
    def seconds(self) -> float:
        return sum(report.seconds for report in self.reports)

    @property
    def verdict(self) -> str:
        return f"{self.wrong} of {len(self.reports)} DISAGREE" if self.wrong else "agree"


def badness(row: Row) -> tuple[bool, float]:
    """Sort key for rows: disagreements first, then by share of the bound."""
    return not row.agrees, share_of_bound(row)


def lines_of(reports: Sequence[Report]) -> list[Line]:
    """One line per twin and dtype, in the order they were checked."""
    groups: dict[tuple[str, str], list[Report]] = {}
    for report in reports:
        groups.setdefault((report.name, report.dtype), []).append(report)
    return [Line(name, dtype, group) for (name, dtype), group in groups.items()]


def summary(reports: Sequence[Report]) -> str:
    """One sentence: the number of comparisons, twins and disagreements."""
    wrong = sum(not report.agrees for report in reports)
    twins = len({report.name for report in reports})
    found = counted(wrong, "disagreement") if wrong else "no disagreement"
    return f"{counted(len(reports), 'comparison')} of {counted(twins, 'twin')}, {found}"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 twin", "2,000 twins"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
