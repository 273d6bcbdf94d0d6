"""The plan of a run, determined by its experiment alone: its steps, and the batch and learning rate of each."""

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction

from experiments.training.preparation import Prepared
from shared.backend import Batch
from shared.schedules import make_schedule

LOOKED_AT = 64  # batches: a shape that is rarer is compiled when it is met


def steps_of_an_epoch(prepared: Prepared) -> int:
    """The number of batches in one pass over the training split."""
    return len(prepared.data.epoch(prepared.experiment, "train", 0))


def total_steps(prepared: Prepared) -> int:
    """The experiment's `steps`, or else the number in its epochs."""
    experiment = prepared.experiment
    return experiment.epochs * steps_of_an_epoch(prepared) if experiment.steps is None else experiment.steps


def total_updates(prepared: Prepared) -> int:
    """The number of weight updates; leftover batches, too few for an update, change nothing."""
    return max(1, total_steps(prepared) // prepared.experiment.training.accumulate)


def rate_by_step(prepared: Prepared) -> Callable[[int], float]:
    """The learning rate of a step's update, as a function of the steps before it."""
    experiment = prepared.experiment
    accumulate = experiment.training.accumulate
    schedule = make_schedule(
        experiment.schedule,
        experiment.optimizer.learning_rate,
        updates=total_updates(prepared),
        updates_of_an_epoch=Fraction(steps_of_an_epoch(prepared), accumulate),
    )
    return lambda step: schedule(step // accumulate)


def training_batches(prepared: Prepared, step: int, stop_at: int) -> Iterator[Batch]:
    """The batches from step `step` up to `stop_at`; the position in the data follows from the step alone."""
    first, start = divmod(step, steps_of_an_epoch(prepared))
    epochs = (prepared.data.epoch(prepared.experiment, "train", number) for number in itertools.count(first))
    orders = (epoch.start_at(start if place == 0 else 0) for place, epoch in enumerate(epochs))
    return itertools.islice(itertools.chain.from_iterable(orders), max(0, stop_at - step))


def ahead(prepared: Prepared, step: int, stop_at: int) -> tuple[Iterator[Batch], Iterator[Batch]]:
    """A batch of each shape that training from `step` and then validation will meet soon, in their order."""
    validation = prepared.data.epoch(prepared.experiment, "validation", 0).start_at(0) if step < stop_at else iter(())
    return _shapes(prepared, training_batches(prepared, step, stop_at)), _shapes(prepared, validation)


def _shapes(prepared: Prepared, batches: Iterator[Batch]) -> Iterator[Batch]:
    """Those of new shapes among the first: of one alone where all are padded to one length."""
    looked_at = LOOKED_AT if prepared.experiment.bucket_lengths else 1
    seen = set()
    for batch in itertools.islice(batches, looked_at):
        shapes = tuple(array.shape for array in batch.values())
        if shapes not in seen:
            seen.add(shapes)
            yield batch
