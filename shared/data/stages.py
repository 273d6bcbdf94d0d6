"""What is done while data is prepared, and how far it is, told to whoever listens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
Report = Callable[[str, int, int], None]  # what was done, to how many texts, out of how many (0 = unknown)
EVERY = 500  # texts between two reports
SECONDS = 0.25  # between two reports on what can't report by itself


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def counted(items: Iterable[T], report: Report, what: str, total: int = 0) -> Iterator[T]:
    """The items, with a report after every few."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % EVERY == 0:
            report(what, number, total)


def in_background(work: Callable[[], Any], tell: Callable[[], None]) -> Any:
    """The result of work that Python can't interrupt, in a thread of its own: Ctrl-C is heard while it runs."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # any error is raised where the result is awaited
            errors.append(error)

    thread = threading.Thread(target=run, name="in background", daemon=True)  # a daemon: the exit does not wait for it
    thread.start()
    while thread.is_alive():
        thread.join(SECONDS)
        tell()
    if errors:
        raise errors[0]
    return results[0]
