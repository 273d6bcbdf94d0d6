"""Sides of a comparison timed in turn: medians on the wall and in CPU time, and ratios within each round.

Work of others slows neighbouring blocks alike, so a ratio is taken within a round and its median over the rounds. CPU
time is that of all threads of this process: it leaves others out, but counts what a background thread does for free.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

Row = dict[str, Any]


class Cost(NamedTuple):
    """Seconds, of a moment or of one unit of work."""

    wall: float
    cpu: float


def now() -> Cost:
    """This moment."""
    return Cost(time.perf_counter(), time.process_time())


def cost(began: Cost, ended: Cost, units: float) -> Cost:
    """What one of the units between two moments cost."""
    return Cost((ended.wall - began.wall) / units, (ended.cpu - began.cpu) / units)


def timed(work: Callable[[], object], units: float) -> Cost:
    """The cost of a unit of some work that ends when the device has ended it."""
    began = now()
    work()
    return cost(began, now(), units)


def in_turn(sides: dict[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """A block of every side in each round, in an order that turns from round to round."""
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 == 0 else reversed(sides):
            costs[name].append(sides[name]())
    return costs


def rows_of(costs: dict[str, list[Cost]], base: str) -> list[Row]:
    """A row for each side; ratios are to the side `base`."""
    return [{"side": name, **_against(costs[name], costs[base])} for name in costs]


def _against(side: list[Cost], base: list[Cost]) -> Row:
    ratios = [a.wall / b.wall for a, b in zip(side, base, strict=True)]
    return {
        "milliseconds": 1e3 * median(cost.wall for cost in side),
        "cpu_milliseconds": 1e3 * median(cost.cpu for cost in side),
        "ratio": median(ratios),
        "lowest_ratio": min(ratios),
        "highest_ratio": max(ratios),
        "cpu_ratio": median(a.cpu / b.cpu for a, b in zip(side, base, strict=True)),
    }
