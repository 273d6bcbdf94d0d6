"""Prepare an experiment of the catalogue to run: its task loads the data and fills in the open sizes."""

from dataclasses import dataclass, replace
from pathlib import Path

from shared.configs.experiment import Experiment
from shared.errors import IsogradError
from shared.registry import find_twin
from shared.tasks.table import task_of
from shared.tasks.task import Data, Report, Task


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
    return Prepared(*task.load(experiment, source, vocabulary, report))


def with_buckets(experiment: Experiment) -> Experiment:
    """Pad batches to quarters of the length; models that read padding are given the lengths (packed semantics)."""
    model = experiment.model
    if find_twin(model.twin).reads_lengths:
        model = replace(model, inputs=(*(name for name in model.inputs if name != "lengths"), "lengths"))
    quarters = tuple(-(-experiment.length * part // 4) for part in (1, 2, 3, 4))
    return replace(experiment, model=model, bucket_lengths=quarters)
