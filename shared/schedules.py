"""Learning-rate schedules: plain Python functions of the step, so that both backends are given the same number."""

from collections.abc import Callable

Schedule = Callable[[int], float]  # the number of updates done so far -> the rate of the next one


def constant(learning_rate: float) -> Schedule:
    """The same rate at every step."""
    return lambda step: learning_rate
