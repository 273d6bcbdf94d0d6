"""Outcomes of many jobs, each a JSON line as soon as it is known: what was stopped goes on where it was."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from crosscheck.twins.workers import run_as_done
from shared.digests import digest_of_json
from shared.json_text import parse_object, to_json

Job = TypeVar("Job", bound="Judged")
Result = TypeVar("Result")
Progress = Callable[[int, int, str], None]


class Judged(Protocol):
    """A job with a name that stays, all that its outcome depends on, and a size that orders jobs by their duration."""

    @property
    def key(self) -> str: ...
    @property
    def content(self) -> Any: ...
    @property
    def size(self) -> tuple[int, ...]: ...


class Line(NamedTuple):
    """One outcome as plain data; `digest` is that of the job's content and `seconds` what the job took."""

    outcome: dict[str, Any]
    key: str
    digest: str
    seconds: float


def judge_all(
    judge: Callable[[Job], Result],
    jobs: Sequence[Job],
    plain: Callable[[Result], dict[str, Any]],
    restored: Callable[[dict[str, Any]], Result],
    *,
    journal: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Result | None]:
    """The outcome of every job, in order; those in the journal, whose content is still the same, aren't judged again.

    Longest jobs go first, by the durations in the journal, else by their size. With a journal, Ctrl-C ends it early:
    what isn't known then is None. `plain` turns an outcome into data for JSON, and `restored` turns it back.
    """
    lines = read(journal) if journal is not None else []
    durations = {line.key: line.seconds for line in lines}
    written = {(line.key, line.digest): line.outcome for line in lines}
    names = [(job.key, digest_of_json(job.content)) for job in jobs]
    found = [restored(written[name]) if name in written else None for name in names]
    left = [place for place, outcome in enumerate(found) if outcome is None]
    left.sort(key=lambda place: (durations.get(jobs[place].key, math.inf), jobs[place].size), reverse=True)
    try:
        for number, (outcome, seconds) in run_as_done(partial(_timed, judge), [jobs[place] for place in left], workers):
            place = left[number]
            found[place] = outcome
            if journal is not None:
                append(journal, Line(plain(outcome), *names[place], seconds))
            if progress is not None:
                progress(len(found) - found.count(None), len(jobs), jobs[place].key)
    except KeyboardInterrupt:
        if journal is None:
            raise
    return found


def read(journal: Path) -> list[Line]:
    """The journal's lines; one that is not whole, as a killed process leaves it, says nothing."""
    text = journal.read_text("utf-8", errors="replace") if journal.exists() else ""
    return [line for line in map(_parsed, text.split("\n")) if line is not None]


def append(journal: Path, line: Line) -> None:
    """Add a line, on a new one also after half a line."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            file.write(b"" if file.read() == b"\n" else b"\n")
        file.write(f"{to_json(line._asdict())}\n".encode())


def _parsed(text: str) -> Line | None:
    try:
        line = Line(**parse_object(text))
        return line if isinstance(line.outcome, dict) and isinstance(line.seconds, float) else None
    except (ValueError, TypeError):
        return None


def _timed(judge: Callable[[Job], Result], job: Job) -> tuple[Result, float]:
    start = time.monotonic()
    return judge(job), time.monotonic() - start
