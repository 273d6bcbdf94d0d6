"""A record as a line of progress: the figures of the run, the time left, the memory."""

import time
from typing import Any

from shared.tasks.task import Task

Record = dict[str, Any]


class Pace:
    """The time per step since the first record with totals, without compilation and without earlier processes."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._first: tuple[int, float] | None = None

    def seconds_left(self, record: Record) -> float | None:
        """Until the last step, including validations; None if it is too early to say."""
        if "compile_seconds" not in record:
            return None
        step, now = record["step"], time.monotonic() - record["compile_seconds"]
        first, began = self._first = self._first or (step, now)
        return (self._total - step) * (now - began) / (step - first) if step > first else None


DISPENSABLE = ("memory", "rate", "speed")  # left out in this order where a line is short


def describe(record: Record, task: Task | None, seconds_left: float | None = None, room: int | None = None) -> str:
    """The figures of a record in a few words; empty for a training record without a speed.

    In `room` characters, the loss and the time left come before the others.
    """
    if record["kind"] == "lockstep":
        step = f"a step's difference {record['part']:.0%} of its bound ({record['nearest']})"
        return f"loss {record['loss']:.4f}, {step}, drift {record['difference']:.1e} ({record['where']})"
    if record["kind"] == "samples":
        return f"writes {record['texts'][0]['text']!r}"
    if task is None:
        return ""
    if record["kind"] == "validation":
        shown = [f"{figure.title} {figure.show.format(record[figure.name])}" for figure in task.figures]
        return ", ".join([f"validation loss {record['loss']:.4f}", *shown])
    if (speed := record.get(f"{task.unit}_per_second")) is None:
        return ""
    figures = {
        "loss": f"loss {record['loss']:.4f}",
        "rate": f"rate {_short(record['learning_rate'])}",
        "speed": f"{speed:,.0f} {task.unit}/s",
        "left": "" if seconds_left is None else f"{_clock(seconds_left)} left",
        "memory": _size(record["steady_bytes"]),
    }
    return _fitted(figures, room)


def _fitted(figures: dict[str, str], room: int | None) -> str:
    """The figures in one line, without the dispensable ones that do not fit."""
    for name in ("", *DISPENSABLE):
        figures = {key: text for key, text in figures.items() if key != name and text}
        line = ", ".join(figures.values())
        if room is None or len(line) <= room:
            return line
    return line


def _short(rate: float) -> str:
    mantissa, exponent = f"{rate:.1e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}" if rate else "0"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
