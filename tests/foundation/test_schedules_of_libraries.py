"""Learning-rate schedules match those of torch, optax and transformers at every update of a run of 1000."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from bounds import roundings_of_rates_by_formula, roundings_of_rates_by_steps
from torch.optim import lr_scheduler as of_torch

from shared.configs.optimizer import ScheduleConfig
from shared.schedules import make_schedule

UPDATES, EPOCH, WARMUP, HORIZON = 1000, 130, 90, 800
FALL = HORIZON - WARMUP
RATE, FINAL, FACTOR = 3e-4, 0.1, 0.7


def ours(config: ScheduleConfig) -> np.ndarray:
    schedule = make_schedule(config, RATE, updates=UPDATES, updates_of_an_epoch=EPOCH)
    return np.array([schedule(k) for k in range(UPDATES)])


def by_torch(make: Callable, every: int = 1) -> np.ndarray:
    """The rates of a training loop; the scheduler steps after every `every` updates."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler, rates = make(optimizer), []
    for k in range(UPDATES):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (k + 1) % every == 0:
            scheduler.step()
    return np.array(rates)


def by_optax(schedule: optax.Schedule) -> np.ndarray:
    return np.broadcast_to(jax.jit(schedule)(jnp.arange(UPDATES)), UPDATES)


def gap(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, as a part of the full rate."""
    return float(np.abs(a - b).max() / max(a.max(), b.max()))


def warmed(after: Callable) -> Callable:
    """A warm-up from 0, which `LinearLR` refuses, followed by the scheduler that `after` makes."""

    def make(optimizer):
        warmup = of_torch.LambdaLR(optimizer, lambda k: min(1.0, k / WARMUP))
        return of_torch.SequentialLR(optimizer, [warmup, after(optimizer)], [WARMUP])

    return make


TORCH = {
    "constant": (ScheduleConfig(), lambda o: of_torch.ConstantLR(o, factor=1.0), 1),
    "constant, warm-up": (ScheduleConfig(warmup=WARMUP), warmed(lambda o: of_torch.ConstantLR(o, factor=1.0)), 1),
    "linear": (
        ScheduleConfig("linear", horizon=HORIZON, final=FINAL),
        lambda o: of_torch.LinearLR(o, 1.0, FINAL, HORIZON),
        1,
    ),
    "linear, warm-up": (
        ScheduleConfig("linear", WARMUP, HORIZON, FINAL),
        warmed(lambda o: of_torch.LinearLR(o, 1.0, FINAL, FALL)),
        1,
    ),
    "polynomial of power 1": (
        ScheduleConfig("linear", horizon=HORIZON),
        lambda o: of_torch.PolynomialLR(o, HORIZON),
        1,
    ),
    "cosine": (
        ScheduleConfig("cosine", final=FINAL),
        lambda o: of_torch.CosineAnnealingLR(o, UPDATES, FINAL * RATE),
        1,
    ),
    "cosine, warm-up": (
        ScheduleConfig("cosine", WARMUP, final=FINAL),
        warmed(lambda o: of_torch.CosineAnnealingLR(o, UPDATES - WARMUP, FINAL * RATE)),
        1,
    ),
    "step": (ScheduleConfig("step", every=70, factor=FACTOR), lambda o: of_torch.StepLR(o, 70, FACTOR), 1),
    "step, warm-up": (
        ScheduleConfig("step", WARMUP, every=70, factor=FACTOR),
        warmed(lambda o: of_torch.StepLR(o, 70, FACTOR)),
        1,
    ),
    "epoch": (ScheduleConfig("epoch", factor=FACTOR), lambda o: of_torch.ExponentialLR(o, FACTOR), EPOCH),
}
RISE = optax.linear_schedule(0.0, RATE, WARMUP)
STAIRS = optax.exponential_decay(RATE, 70, FACTOR, staircase=True)
EPOCHS = optax.exponential_decay(RATE, EPOCH, FACTOR, staircase=True)
OPTAX = {
    "constant": (ScheduleConfig(), optax.constant_schedule(RATE)),
    "constant, warm-up": (ScheduleConfig(warmup=WARMUP), optax.warmup_constant_schedule(0.0, RATE, WARMUP)),
    "linear": (
        ScheduleConfig("linear", horizon=HORIZON, final=FINAL),
        optax.linear_schedule(RATE, FINAL * RATE, HORIZON),
    ),
    "linear, warm-up": (
        ScheduleConfig("linear", WARMUP, HORIZON, FINAL),
        optax.join_schedules([RISE, optax.linear_schedule(RATE, FINAL * RATE, FALL)], [WARMUP]),
    ),
    "cosine": (
        ScheduleConfig("cosine", horizon=HORIZON, final=FINAL),
        optax.cosine_decay_schedule(RATE, HORIZON, FINAL),
    ),
    "cosine, warm-up": (
        ScheduleConfig("cosine", WARMUP, HORIZON, FINAL),
        optax.warmup_cosine_decay_schedule(0.0, RATE, WARMUP, HORIZON, FINAL * RATE),
    ),
    "step": (ScheduleConfig("step", every=70, factor=FACTOR), STAIRS),
    "step, warm-up": (
        ScheduleConfig("step", WARMUP, every=70, factor=FACTOR),
        optax.warmup_exponential_decay_schedule(0.0, RATE, WARMUP, 70, FACTOR, staircase=True),
    ),
    "epoch": (ScheduleConfig("epoch", factor=FACTOR), EPOCHS),
    "epoch, warm-up within the first": (
        ScheduleConfig("epoch", WARMUP, factor=FACTOR),
        optax.join_schedules([RISE, lambda k: EPOCHS(k + WARMUP)], [WARMUP]),
    ),
    "epoch, warm-up of two": (
        ScheduleConfig("epoch", 2 * EPOCH, factor=FACTOR),
        optax.join_schedules([optax.linear_schedule(0.0, RATE, 2 * EPOCH), EPOCHS], [2 * EPOCH]),
    ),
}
TRANSFORMERS = {
    "constant": "get_constant_schedule_with_warmup",
    "linear": "get_linear_schedule_with_warmup",
    "cosine": "get_cosine_schedule_with_warmup",
}


@pytest.mark.parametrize("case", TORCH)
def test_rates_are_those_of_torch(case):
    config, make, every = TORCH[case]
    rates = ours(config)
    assert gap(rates, by_torch(make, every)) <= roundings_of_rates_by_steps(rates)


@pytest.mark.parametrize("case", OPTAX)
def test_rates_are_those_of_optax(case):
    config, schedule = OPTAX[case]
    with jax.enable_x64(True):
        assert gap(ours(config), by_optax(schedule)) <= roundings_of_rates_by_formula()


@pytest.mark.parametrize("warmup", [0, 1, WARMUP, UPDATES])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_rates_are_those_of_transformers_to_the_bit(name, warmup):
    make = getattr(pytest.importorskip("transformers"), TRANSFORMERS[name])
    counts = {"num_warmup_steps": warmup} | ({} if name == "constant" else {"num_training_steps": UPDATES})
    expected = by_torch(lambda optimizer: make(optimizer, **counts))
    np.testing.assert_array_equal(ours(ScheduleConfig(name, warmup)), expected)


def test_after_its_end_the_cosine_stays_while_that_of_torch_climbs_again():
    rates = ours(ScheduleConfig("cosine", horizon=HORIZON))
    climbing = by_torch(lambda optimizer: of_torch.CosineAnnealingLR(optimizer, HORIZON))
    assert gap(rates[:HORIZON], climbing[:HORIZON]) <= roundings_of_rates_by_steps(rates)
    assert not rates[HORIZON:].any()
    assert (climbing[HORIZON + 1 :] > rates[HORIZON + 1 :]).all()
