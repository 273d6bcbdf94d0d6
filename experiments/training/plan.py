"""The course of a run, which follows from its experiment alone: its steps, the batch and the learning rate of each."""

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction

from experiments.training.preparation import Prepared
from shared.backend import Batch
from shared.data import batches, check_batch, number_of_batches
from shared.schedules import make_schedule


def steps_of_an_epoch(prepared: Prepared) -> int:
    """How many batches one pass over the training examples takes."""
    experiment = prepared.experiment
    return number_of_batches(
        prepared.examples["train"],
        experiment.batch_size,
        length=experiment.length,
        bucket_lengths=experiment.bucket_lengths,
    )


def total_steps(prepared: Prepared) -> int:
    """`steps` of the experiment, or as many as its epochs have."""
    experiment = prepared.experiment
    return experiment.epochs * steps_of_an_epoch(prepared) if experiment.steps is None else experiment.steps


def total_updates(prepared: Prepared) -> int:
    """How often the weights change; batches that are too few for a last update change nothing."""
    return max(1, total_steps(prepared) // prepared.experiment.training.accumulate)


def rate_by_step(prepared: Prepared) -> Callable[[int], float]:
    """The learning rate of the update that a step belongs to, by the steps done before it."""
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
    orders = (_epoch(prepared, epoch, start if epoch == first else 0) for epoch in itertools.count(first))
    return itertools.islice(itertools.chain.from_iterable(orders), max(0, stop_at - step))


def _epoch(prepared: Prepared, epoch: int, start: int) -> Iterator[Batch]:
    experiment, arguments = prepared.experiment, prepared.experiment.model.arguments
    order = batches(
        prepared.examples["train"],
        experiment.batch_size,
        length=experiment.length,
        seed=experiment.seed,
        epoch=epoch,
        shuffle=True,
        bucket_lengths=experiment.bucket_lengths,
        start=start,
    )
    for batch in order:
        check_batch(batch, arguments["vocabulary_size"], experiment.length, arguments["num_classes"])
        yield batch
