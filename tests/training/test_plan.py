"""The plan of a run, step by step against a loop that counts: updates, learning rates, and the batch of each step."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.training import plan as planning
from experiments.training.launch import _with_horizon
from experiments.training.plan import (
    ahead,
    rate_by_step,
    steps_of_an_epoch,
    total_steps,
    total_updates,
    training_batches,
)
from experiments.training.preparation import Prepared
from experiments.training.settings import Settings, with_settings
from shared.configs.experiment import Experiment, ModelConfig
from shared.configs.optimizer import AdamWConfig, ScheduleConfig, TrainingConfig

BATCHES, RATE = 7, 0.5  # in an epoch, the full rate


class Epoch:
    """Batch number i of epoch n is "n.i"."""

    def __init__(self, number):
        self.number = number

    def __len__(self):
        return BATCHES

    def start_at(self, batch):
        return iter([f"{self.number}.{i}" for i in range(batch, BATCHES)])


def prepared(accumulate=1, schedule=ScheduleConfig(), epochs=3, steps=None):  # noqa: B008  it is frozen
    experiment = Experiment(
        "name", "title", "dataset", ModelConfig("twin"), AdamWConfig(RATE), TrainingConfig(accumulate=accumulate),
        schedule, epochs=epochs, steps=steps,
    )  # fmt: skip
    epochs_by_split = {"train": Epoch}
    data = SimpleNamespace(epoch=lambda experiment, split, number: epochs_by_split[split](number))
    return SimpleNamespace(experiment=experiment, data=data)


def updates_by_step(steps, accumulate):
    """The update that each step belongs to, counted one by one."""
    found, done, gathered = [], 0, 0
    for _ in range(steps):
        found.append(done)
        gathered += 1
        if gathered == accumulate:
            done, gathered = done + 1, 0
    return found, done


@pytest.mark.parametrize("accumulate", [1, 2, 3, 5])
def test_a_run_has_the_steps_of_its_epochs_and_the_updates_that_they_fill(accumulate):
    plan = prepared(accumulate)
    assert (steps_of_an_epoch(plan), total_steps(plan)) == (BATCHES, 3 * BATCHES)
    assert total_updates(plan) == updates_by_step(3 * BATCHES, accumulate)[1]
    assert (total_steps(prepared(steps=10)), total_updates(prepared(accumulate, steps=10))) == (10, 10 // accumulate)


def test_a_run_too_short_for_an_update_counts_as_one():
    assert total_updates(prepared(accumulate=5, steps=3)) == 1


@pytest.mark.parametrize("accumulate", [1, 2, 3, 5])
def test_a_linear_schedule_without_horizon_ends_with_the_last_update_and_not_with_the_last_batch(accumulate):
    steps = 3 * BATCHES
    rate = rate_by_step(prepared(accumulate, ScheduleConfig("linear", warmup=1)))
    of_steps, updates = updates_by_step(steps, accumulate)
    expected = [0.0] + [RATE * ((updates - 1 - k) / (updates - 1)) for k in range(updates)]
    assert [rate(step) for step in range(steps)] == [expected[update] for update in of_steps]


@pytest.mark.parametrize(("accumulate", "warmup"), [(1, 10), (2, 5), (3, 3), (5, 2)])
def test_a_warmup_of_half_the_run_is_one_of_half_its_updates(accumulate, warmup):
    run = prepared(accumulate, ScheduleConfig("linear", warmup_part=0.5))
    found = _with_horizon(Prepared(run.experiment, run.data)).experiment.schedule
    assert (found.horizon, found.warmup, found.warmup_part) == (3 * BATCHES // accumulate, warmup, 0.0)


def test_epochs_that_are_asked_for_go_before_the_steps_of_an_experiment():
    run = prepared(steps=4)
    assert total_steps(Prepared(with_settings(run.experiment, Settings(epochs=2)), run.data)) == 2 * BATCHES
    assert total_steps(Prepared(with_settings(run.experiment, Settings(steps=9)), run.data)) == 9


def test_a_warmup_that_is_asked_for_goes_before_the_part_of_an_experiment():
    run = prepared(schedule=ScheduleConfig("linear", warmup_part=0.5))
    found = _with_horizon(Prepared(with_settings(run.experiment, Settings(warmup=3)), run.data)).experiment.schedule
    assert (found.warmup, found.warmup_part) == (3, 0.0)


@pytest.mark.parametrize("accumulate", [1, 2, 3, 5])
def test_a_schedule_by_epochs_follows_the_epochs_of_the_data_however_many_batches_make_an_update(accumulate):
    steps = 3 * BATCHES
    rate = rate_by_step(prepared(accumulate, ScheduleConfig("epoch", factor=0.5)))
    for step in range(steps):
        first = step - step % accumulate  # an update has the rate of the epoch in which it begins
        assert rate(step) == RATE * 0.5 ** (first // BATCHES)


@pytest.mark.parametrize("step", [0, 1, BATCHES - 1, BATCHES, BATCHES + 3, 2 * BATCHES])
def test_the_batches_of_a_run_go_on_from_its_step_through_the_epochs(step):
    every = [f"{epoch}.{batch}" for epoch in range(4) for batch in range(BATCHES)]
    for stop_at in (step, step + 1, 3 * BATCHES):
        assert list(training_batches(prepared(), step, stop_at)) == every[step:stop_at]


WIDTHS = {"train": (5, 3, 5, 3, 8, 3, 9), "validation": (3, 3, 5)}
STARTS = {  # the ladder, from a step up to another -> the widths met ahead, in training and in validation
    "several lengths": ((3, 5, 8), 0, 21, [5, 3, 8], [3, 5]),
    "in the middle": ((3, 5, 8), 3, 21, [3, 8, 9, 5], [3, 5]),
    "one that ends soon": ((3, 5, 8), 1, 2, [3], [3, 5]),
    "one that has ended": ((3, 5, 8), 7, 7, [], []),
    "one length": (None, 0, 21, [5], [3]),
    "as many lengths as there are": ((), 0, 21, [5], [3]),
}


@pytest.mark.parametrize(("ladder", "step", "stop_at", "training", "validation"), STARTS.values(), ids=STARTS)
def test_a_batch_of_each_shape_that_is_met_soon_is_told(monkeypatch, ladder, step, stop_at, training, validation):
    monkeypatch.setattr(planning, "LOOKED_AT", 6)
    plan = prepared()
    plan.experiment = replace(plan.experiment, bucket_lengths=ladder)

    class Split:
        def __init__(self, split):
            self.batches = [{"ids": np.zeros((2, width))} for width in WIDTHS[split]]

        def __len__(self):
            return len(self.batches)

        def start_at(self, batch):
            return iter(self.batches[batch:])

    plan.data = SimpleNamespace(epoch=lambda experiment, split, number: Split(split))
    found = [[batch["ids"].shape[1] for batch in batches] for batches in ahead(plan, step, stop_at)]
    assert found == [training, validation]
