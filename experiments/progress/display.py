"""Progress of a run: a bar on a terminal, plain lines elsewhere, JSON lines, or nothing."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from experiments.plain_text import printable
from experiments.progress.line import Pace, describe
from shared.tasks.task import Task

Record = dict[str, Any]
SECONDS_BETWEEN_LINES = 10.0
NOTED = ("validation", "samples")  # kinds of records that are always shown, each on a line of its own
NARROW, WIDE = 80, 120  # columns: a narrower terminal gets no bar, a wider one a long bar
SHORT_BAR, BAR = 10, 40
FRAME = 1 + 1 + 7 + 4  # spinner, slash, elapsed time and the gaps between them


class Progress:
    """Shows nothing; the subclasses below do. Notes go to stderr, so that stdout holds only results."""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self, title: str, step: int, total: int, task: Task | None = None) -> None:
        """The run starts or resumes after `step` of `total` steps; its task determines the figures shown."""

    def advance(self, step: int) -> None:
        """A step has been handed to the device."""

    def record(self, record: Record) -> None:
        """A record was logged."""

    def note(self, text: str) -> None:
        """Show the user a sentence."""

    def close(self) -> None:
        """The run has ended."""


class JsonLines(Progress):
    """Every record as one JSON line."""

    def record(self, record: Record) -> None:
        print(json.dumps(nonfinite_as_none(record), allow_nan=False), flush=True)

    def note(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)


class Lines(Progress):
    """Every validation and its samples, and the training loss every few seconds, as plain lines."""

    def start(self, title: str, step: int, total: int, task: Task | None = None) -> None:
        self._total, self._shown, self._pace, self._task = total, time.monotonic(), Pace(total), task
        self.note(f"{title}: {total} steps" + (f", from step {step}" if step else ""))

    def record(self, record: Record) -> None:
        text = describe(record, self._task, self._pace.seconds_left(record))
        if text and (record["kind"] in NOTED or time.monotonic() - self._shown >= SECONDS_BETWEEN_LINES):
            self._shown = time.monotonic()
            self.note(f"step {record['step']}/{self._total}  {text}")

    def note(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)


class Bar(Lines):
    """A bar with the same figures and the time since the start; validations are printed above it."""

    def start(self, title: str, step: int, total: int, task: Task | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        console = Console(stderr=True)
        bar = BAR if console.width >= WIDE else SHORT_BAR
        columns = (
            SpinnerColumn(),
            *((TextColumn("{task.description}"), BarColumn(bar)) if console.width >= NARROW else ()),
            MofNCompleteColumn(),
            TextColumn("{task.fields[info]}"),
            TimeElapsedColumn(),
        )
        self._taken = (len("training") + bar + 2 if console.width >= NARROW else 0) + 2 * len(str(total)) + FRAME
        self._bar = RichProgress(*columns, console=console, transient=True)
        self._bar.start()
        self._place = self._bar.add_task("training", total=total, completed=step, info="")
        super().start(title, step, total, task)

    def advance(self, step: int) -> None:
        self._bar.update(self._place, completed=step)

    def record(self, record: Record) -> None:
        room = None if record["kind"] in NOTED else self._bar.console.width - self._taken
        text = describe(record, self._task, self._pace.seconds_left(record), room)
        if record["kind"] in NOTED:
            self.note(f"step {record['step']}/{self._total}  {text}")
        elif text:
            self._bar.update(self._place, info=text)

    def note(self, text: str) -> None:
        if hasattr(self, "_bar"):
            self._bar.console.print(printable(text), highlight=False, markup=False)
        else:
            super().note(text)

    def close(self) -> None:
        if hasattr(self, "_bar"):
            self._bar.stop()


def make_progress(*, quiet: bool = False, json_lines: bool = False) -> Progress:
    """The display that fits the options and the terminal."""
    if json_lines:
        return JsonLines()
    if quiet:
        return Progress()
    return Bar() if sys.stderr.isatty() else Lines()


@contextmanager
def counting(title: str, *, quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """Yield a function (done, total, what) that shows the progress of some tasks: a bar, or an occasional line.

    A total of 0 means that nobody knows how many there are.
    """
    if quiet or not sys.stderr.isatty():
        yield _count_in_lines(title, quiet)
        return
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    with RichProgress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title)
        yield lambda done, total, what: bar.update(
            task, completed=done, total=total or None, description=f"{title}: {what}"
        )


def _count_in_lines(title: str, quiet: bool) -> Callable[[int, int, str], None]:
    shown = time.monotonic()

    def report(done: int, total: int, what: str) -> None:
        nonlocal shown
        if not quiet and time.monotonic() - shown >= SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            print(f"{title}: {done}{f' of {total}' if total else ''}, {what}", file=sys.stderr, flush=True)

    return report


def print_json(value: Any) -> None:
    """Print one JSON document; non-finite numbers become null."""
    print(json.dumps(nonfinite_as_none(value), indent=2, allow_nan=False))


def nonfinite_as_none(value: Any) -> Any:
    """The same value with None for each non-finite number."""
    if isinstance(value, dict):
        return {name: nonfinite_as_none(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [nonfinite_as_none(part) for part in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
