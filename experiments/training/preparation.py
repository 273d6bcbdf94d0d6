"""Prepare an experiment of the catalogue to run: its task loads the data and fills in the open sizes."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.progress.display import Progress
from shared.configs.experiment import Experiment
from shared.data.stages import Report
from shared.errors import IsogradError
from shared.pretrained.initial import vocabulary_of, with_sizes
from shared.registry import find_twin
from shared.tasks.table import task_of
from shared.tasks.task import Data, Task

FIRST_NOTE, LONGEST_WAIT = 0.5, 10.0  # seconds


@dataclass(frozen=True)
class Prepared:
    """An experiment with all its sizes, and its training and validation data."""

    experiment: Experiment
    data: Data

    @property
    def task(self) -> Task:
        return task_of(self.experiment)


def prepare(
    experiment: Experiment, source: str | None, vocabulary: Path | None = None, report: Report | None = None
) -> Prepared:
    """Load the data of an experiment; sizes that it leaves open (None) follow from the data.

    Raises IsogradError where the data is missing, malformed, or does not fit the experiment.
    """
    task = task_of(experiment)
    if task.couples_rows and experiment.training.accumulate > 1:
        raise IsogradError(
            f"the loss of {experiment.task} compares the rows of a batch with each other, so --accumulate would "
            "change it: leave it out"
        )
    if experiment.fold is not None and not task.has_folds:
        raise IsogradError(f"--fold: {experiment.name} has no separate examples to part: leave it out")
    experiment = with_sizes(experiment)
    return Prepared(*task.load(experiment, source, vocabulary or vocabulary_of(experiment), report))


def with_buckets(experiment: Experiment) -> Experiment:
    """Pad batches to quarters of the length; models that read padding are given the lengths (packed semantics)."""
    model = experiment.model
    if find_twin(model.twin).reads_lengths:
        model = replace(model, inputs=(*(name for name in model.inputs if name != "lengths"), "lengths"))
    quarters = tuple(-(-experiment.length * part // 4) for part in (1, 2, 3, 4))
    return replace(experiment, model=model, bucket_lengths=quarters)


def preparing(progress: Progress) -> Report:
    """Notes on the preparation of data: the first within a second, then less and less often."""
    next_at, wait = time.monotonic() + FIRST_NOTE, 1.0

    def report(what: str, done: int, total: int) -> None:
        nonlocal next_at, wait
        if time.monotonic() < next_at:
            return
        next_at, wait = time.monotonic() + wait, min(2 * wait, LONGEST_WAIT)
        progress.note(f"preparing the data: {what} {done:,}{f' of {total:,}' if total else ''} texts")

    return report
