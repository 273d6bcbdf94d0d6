"""Learning-rate schedules: plain Python functions of the updates done, so that both backends get the same float.

What follows a warm-up counts from its end, as in `optax.join_schedules` and torch's `SequentialLR`: the full rate is
reached once, at update `warmup`, with no decay before it.
"""

import math
from collections.abc import Callable
from fractions import Fraction

from shared.configs.optimizer import ScheduleConfig
from shared.configs.validation import check_choice
from shared.errors import IsogradError

Updates = int | Fraction
Schedule = Callable[[int], float]  # the number of updates done so far -> the rate of the next one


def constant(learning_rate: float) -> Schedule:
    """rate(k) = learning_rate."""
    return lambda k: learning_rate


def linear(learning_rate: float, length: int, final: float) -> Schedule:
    """rate(k) = learning_rate (final + (1 - final) (1 - t)), t = min(k / length, 1)."""
    return lambda k: learning_rate * (final + (1 - final) * (max(0, length - k) / max(1, length)))


def cosine(learning_rate: float, length: int, final: float) -> Schedule:
    """rate(k) = learning_rate (final + (1 - final) (1 + cos(pi t)) / 2), t = min(k / length, 1).

    Loshchilov & Hutter 2017, without restarts. torch's `CosineAnnealingLR` climbs again after `length` (CATALOGUE D61).
    """

    def rate(k: int) -> float:
        t = k / length if k < length else 1.0
        return learning_rate * (final + (1 - final) * (0.5 * (1 + math.cos(math.pi * t))))

    return rate


def step(learning_rate: float, every: int, factor: float) -> Schedule:
    """rate(k) = learning_rate factor^n, n = floor(k / every)."""
    return lambda k: learning_rate * factor ** (k // every)


def epoch(learning_rate: float, updates_of_an_epoch: Updates, factor: float, warmup: int) -> Schedule:
    """rate(k) = learning_rate factor^n, n = the epochs of the data that ended since the warm-up.

    The rate changes only between two epochs: a warm-up that ends within an epoch leaves the rest of it undecayed, and
    an update that begins in one epoch and ends in the next has the rate of the first.
    """
    return lambda k: learning_rate * factor ** ((k + warmup) // updates_of_an_epoch - warmup // updates_of_an_epoch)


def after_warmup(schedule: Schedule, learning_rate: float, warmup: int) -> Schedule:
    """rate(k) = learning_rate k / warmup for k < warmup, then schedule(k - warmup): the first update has rate 0."""
    return lambda k: learning_rate * (k / warmup) if k < warmup else schedule(k - warmup)


# (full rate, config, updates between the warm-up and the horizon, updates of an epoch) -> what follows the warm-up
SCHEDULES: dict[str, Callable[[float, ScheduleConfig, int, Updates], Schedule]] = {
    "constant": lambda rate, config, length, per_epoch: constant(rate),
    "linear": lambda rate, config, length, per_epoch: linear(rate, length, config.final),
    "cosine": lambda rate, config, length, per_epoch: cosine(rate, length, config.final),
    "step": lambda rate, config, length, per_epoch: step(rate, config.every, config.factor),
    "epoch": lambda rate, config, length, per_epoch: epoch(rate, per_epoch, config.factor, config.warmup),
}


def make_schedule(
    config: ScheduleConfig, learning_rate: float, *, updates: int, updates_of_an_epoch: Updates
) -> Schedule:
    """The schedule of a run of `updates` updates, whose full rate is `learning_rate`.

    `updates_of_an_epoch` is a fraction if one update takes several batches and they don't divide an epoch evenly.
    Raises one IsogradError that names every setting out of range.
    """
    check_choice("schedule", config.name, SCHEDULES)
    horizon = updates if config.horizon is None else config.horizon
    _check_settings(config, horizon)
    decay = SCHEDULES[config.name](learning_rate, config, horizon - config.warmup, updates_of_an_epoch)
    schedule = after_warmup(decay, learning_rate, config.warmup)
    _check_largest(schedule, config, updates - 1)
    return schedule


def _check_settings(config: ScheduleConfig, horizon: int) -> None:
    holds = {
        f"a horizon of at least 1 update, got {horizon}": _is_count(horizon) and horizon >= 1,
        f"a warmup of 0 to {horizon} updates (the horizon), got {config.warmup}": _is_count(config.warmup)
        and config.warmup <= max(horizon, 0),
        f"every to be at least 1 update, got {config.every}": _is_count(config.every) and config.every >= 1,
        f"a final fraction of 0 to 1, got {config.final}": 0 <= config.final <= 1,
        f"a finite factor of at least 0, got {config.factor}": 0 <= config.factor < math.inf,
    }
    problems = [expected for expected, held in holds.items() if not held]
    if problems:
        raise IsogradError(f"schedule {config.name}: expected {', and '.join(problems)}: change these settings")


def _is_count(value: int) -> bool:
    return isinstance(value, int) and value >= 0


def _check_largest(schedule: Schedule, config: ScheduleConfig, last: int) -> None:
    """Raise if a factor above 1 takes the rate of the last update, the largest, beyond the floats."""
    try:
        finite = math.isfinite(schedule(last))
    except OverflowError:
        finite = False
    if not finite:
        raise IsogradError(
            f"schedule {config.name}: expected finite rates up to update {last}, got more: lower factor {config.factor}"
        )
