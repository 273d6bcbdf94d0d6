"""What a page is drawn from: the report of a comparison, or anything with the same attributes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from crosscheck.judging.rows import Divergence, Row


class Report(Protocol):
    """The attributes that pages read; crosscheck/report.py has the class."""

    name: str
    case: str
    dtype: str
    mode: str
    device: str
    rows: Sequence[Row]
    first_divergence: Divergence | None
    first_row: Row | None
    unmatched: Mapping[str, Sequence[str]]
    seconds: float

    @property
    def agrees(self) -> bool: ...

    @property
    def worst(self) -> Row | None: ...

    @property
    def title(self) -> str: ...

    @property
    def summary(self) -> str: ...
