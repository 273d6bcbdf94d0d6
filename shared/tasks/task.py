"""The protocol of a task: its data as batches, its loss, and the figures of a validation.

Every batch holds `labels` and `weights` of the same shape, (B,) or (B, T); the loss is the weighted mean. A task is one
file beside this one and one row in table.py.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from shared.configs.experiment import Experiment
from shared.data.batches import Batch
from shared.data.stages import Report
from shared.registry import Twin


class Figure(NamedTuple):
    """A figure of a validation: its key in metrics.jsonl, its title, its symbol in tables, how it is printed."""

    name: str
    title: str
    symbol: str
    show: str = "{:.4f}"
    higher_is_better: bool = True
    note: str = ""  # clarifies the title


class Scored(NamedTuple):
    """An evaluated batch: losses and predictions are shaped like its weights."""

    batch: Batch
    losses: np.ndarray
    predictions: np.ndarray


class Codec(Protocol):
    """Texts to token ids and back; `origin` and `fingerprint` go into a run's config.json."""

    @property
    def origin(self) -> str:
        """A sentence for the log on where the vocabulary comes from."""

    @property
    def fingerprint(self) -> str:
        """A hash of the content."""

    def encode(self, text: str) -> list[int]:
        """The token ids of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""

    def save(self, path: Path) -> None:
        """Write the file that `Task.load` and `Task.codec` read."""


class Epoch(Protocol):
    """The batches of one pass over a split, in an order that depends on (seed, number) alone."""

    def __len__(self) -> int:
        """The number of batches: the same in every epoch."""

    def start_at(self, batch: int) -> Iterator[Batch]:
        """The batches from number `batch` on."""


class Content(Protocol):
    """Texts, reviews or words as they were read."""

    @property
    def origin(self) -> str:
        """A sentence for the log on where the data come from."""

    @property
    def fingerprint(self) -> str:
        """A hash of the content."""

    @property
    def source(self) -> str | None:
        """None = built in, "hub", or a folder."""


class Data(Protocol):
    """The training and validation data of a run."""

    @property
    def content(self) -> Content:
        """What was read, before it became token ids."""

    @property
    def codec(self) -> Codec:
        """How texts became token ids."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Split -> number of the task's units."""

    def baseline(self, split: str = "validation") -> Mapping[str, float]:
        """The figures that a model must beat on a split, by name."""

    def epoch(self, experiment: Experiment, split: str, number: int) -> Epoch:
        """One pass over a split; "train" is shuffled, "validation" is not."""


class Task(Protocol):
    """What a model is trained to do.

    `loss` is a row of LOSSES in both losses.py; `unit` is what a weight counts ("examples", "tokens"). The first of the
    `figures` decides which checkpoint is best, the loss breaks ties. `couples_rows` says that the loss of a row depends
    on the others, as a contrastive loss does; `has_folds`, that its examples can be parted for cross-validation.
    """

    loss: str
    unit: str
    figures: tuple[Figure, ...]
    couples_rows: bool
    has_folds: bool

    def load(
        self, experiment: Experiment, source: str | None, vocabulary: Path | None, report: Report | None
    ) -> tuple[Experiment, Data]:
        """The data, and the experiment with the sizes that it leaves to the data (None) filled in.

        Raises IsogradError if the data is missing, malformed or does not fit the experiment.
        """

    def codec(self, path: Path) -> Codec:
        """Read what `Codec.save` wrote."""

    def metrics(self, experiment: Experiment, scored: Iterable[Scored]) -> dict[str, float]:
        """The figures of a validation and whatever else it shows; the loss is not the task's concern."""

    def example_batch(self, twin: Twin, inputs: Batch, seed: int) -> Batch:
        """Seeded labels and weights for a model's inputs, including rows of weight 0: for cross-checks."""


def merit(validation: Mapping[str, Any], figures: Sequence[Figure]) -> tuple[float, float]:
    """The sort key of the best validation: the first figure, then the negative loss."""
    value = validation[figures[0].name]
    return (value if figures[0].higher_is_better else -value), -validation["loss"]
