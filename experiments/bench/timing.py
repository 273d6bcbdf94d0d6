"""Sides of a comparison timed in turn: medians of wall-clock and CPU time, and ratios within each round.

Other processes slow neighbouring blocks alike, so ratios are taken within a round, and their median over the rounds.
CPU time covers all threads of this process: it ignores other processes, but counts background work that is free.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

Row = dict[str, Any]


class Cost(NamedTuple):
    """Seconds, at a point in time or per unit of work."""

    wall: float
    cpu: float


def now() -> Cost:
    """The current wall-clock and CPU time."""
    return Cost(time.perf_counter(), time.process_time())


def cost(began: Cost, ended: Cost, units: float) -> Cost:
    """The cost per unit of work between two points in time."""
    return Cost((ended.wall - began.wall) / units, (ended.cpu - began.cpu) / units)


def timed(work: Callable[[], object], units: float) -> Cost:
    """The cost per unit of work that returns once the device has finished it."""
    began = now()
    work()
    return cost(began, now(), units)


def in_turn(sides: dict[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Time one block of every side per round, rotating the order from round to round."""
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 == 0 else reversed(sides):
            costs[name].append(sides[name]())
    return costs


def rows_of(costs: dict[str, list[Cost]], base: str) -> list[Row]:
    """One row per side; ratios are relative to the side `base`."""
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
