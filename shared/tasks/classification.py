"""Classification of texts: one label per example, accuracy and F1."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from shared.configs.experiment import Experiment
from shared.data import Examples, Splits, TextTokenizer, batches, check_batch, load_reviews, load_tokenizer, tokenise
from shared.data.batches import Batch, number_of_batches
from shared.data.formats import recognise
from shared.data.metrics import classification_metrics
from shared.data.sources import DATASETS
from shared.data.stages import Report, silent
from shared.errors import IsogradError
from shared.registry import Twin
from shared.tasks.task import Figure, Scored

LENGTH_STEP = 8  # a fitted length is a multiple of this
OPEN = ("vocabulary_size", "sequence_length", "num_classes")  # arguments of models that may follow from the data


@dataclass(frozen=True)
class LabelledTexts:
    """Tokenised examples of each split, with the texts that they come from."""

    content: Splits
    codec: TextTokenizer
    examples: dict[str, Examples]

    @property
    def counts(self) -> dict[str, int]:
        return {split: len(examples) for split, examples in self.examples.items()}

    def baseline(self, split: str = "validation") -> dict[str, float]:
        """The accuracy of always predicting the most common label of the training split."""
        commonest = np.bincount(self.examples["train"].labels).argmax()
        return {"accuracy": float(np.mean(self.examples[split].labels == commonest))}

    def epoch(self, experiment: Experiment, split: str, number: int) -> "ExampleOrder":
        return ExampleOrder(experiment, self.examples[split], number, shuffle=split == "train")

    def in_order(self, experiment: Experiment, split: str) -> "ExampleOrder":
        """One pass over a split in the order of the data, all at the full length."""
        return ExampleOrder(replace(experiment, bucket_lengths=None), self.examples[split], 0, shuffle=False)


@dataclass(frozen=True)
class ExampleOrder:
    """The batches of one pass over examples, each checked against the sizes of the model."""

    experiment: Experiment
    examples: Examples
    number: int
    shuffle: bool

    def __len__(self) -> int:
        experiment = self.experiment
        return number_of_batches(
            self.examples,
            experiment.batch_size,
            length=experiment.length,
            bucket_lengths=experiment.bucket_lengths,
        )

    def start_at(self, batch: int) -> Iterator[Batch]:
        experiment = self.experiment
        order = batches(
            self.examples,
            experiment.batch_size,
            length=experiment.length,
            seed=experiment.seed,
            epoch=self.number,
            shuffle=self.shuffle,
            bucket_lengths=experiment.bucket_lengths,
            start=batch,
        )
        return map(self._checked, order)

    def _checked(self, batch: Batch) -> Batch:
        sizes = self.experiment.model.arguments
        check_batch(batch, sizes["vocabulary_size"], self.experiment.length, sizes["num_classes"])
        return batch


class Classification:
    """One label per text; labels and weights (B,)."""

    loss = "cross_entropy"
    unit = "examples"
    figures: tuple[Figure, ...] = (
        Figure("accuracy", "accuracy", "A"),
        Figure("f1", "F1", "F1", note="the mean of all labels if there are more than two"),
    )
    couples_rows = False
    has_folds = True

    def load(
        self, experiment: Experiment, source: str | None, vocabulary: Path | None = None, report: Report | None = None
    ) -> tuple[Experiment, LabelledTexts]:
        experiment = replace(experiment, dataset=_dataset(experiment, source))
        tell = report or silent
        splits = load_reviews(experiment.dataset, source, fold=experiment.fold, report=tell)
        _check_labels(splits)
        tokenizer = load_tokenizer(vocabulary, splits, report=tell)
        _check_vocabulary(experiment, tokenizer)
        examples = tokenise(splits, tokenizer, experiment.length, progress=partial(tell, "tokenised"))
        return fit_to_data(experiment, tokenizer, splits, examples), LabelledTexts(splits, tokenizer, examples)

    def codec(self, path: Path) -> TextTokenizer:
        return TextTokenizer.load(path)

    def metrics(self, experiment: Experiment, scored: Iterable[Scored]) -> dict[str, float]:
        real = [(part, part.batch["weights"] > 0) for part in scored]
        labels = np.concatenate([part.batch["labels"][rows] for part, rows in real])
        predictions = np.concatenate([part.predictions[rows] for part, rows in real])
        return classification_metrics(labels, predictions, experiment.model.arguments["num_classes"])

    def example_batch(self, twin: Twin, inputs: Batch, seed: int) -> Batch:
        rows = len(next(iter(inputs.values())))
        weights = np.ones(rows, np.float32)
        weights[-1 - seed % 2 :] = 0.0  # the last row is padding; with every other seed, the last two
        classes = twin.arguments.get("num_classes", 2)
        labels = np.random.default_rng(seed).integers(0, classes, rows).astype(np.int32)
        return {**inputs, "labels": labels, "weights": weights}


def fit_to_data(
    experiment: Experiment, tokenizer: TextTokenizer, splits: Splits, examples: dict[str, Examples]
) -> Experiment:
    """Fill in the model arguments that are None; such an experiment also gets the length that its data needs."""
    arguments = experiment.model.arguments
    if not any(arguments.get(name, 0) is None for name in OPEN):
        return experiment
    longest = max(int(part.lengths.max()) for part in examples.values())
    length = min(experiment.length, -(-longest // LENGTH_STEP) * LENGTH_STEP)
    found = {
        "vocabulary_size": tokenizer.vocabulary_size,
        "num_classes": len(splits.label_names),
        "sequence_length": length,
    }
    fitted = {name: found.get(name) if value is None else value for name, value in arguments.items()}
    return replace(experiment, length=length, model=replace(experiment.model, arguments=fitted))


def _dataset(experiment: Experiment, source: str | None) -> str:
    """The experiment's own dataset; if its classes are open, one with as many labels as the folder."""
    is_open = experiment.model.arguments.get("num_classes", 0) is None
    if not is_open or source is None or source == "hub" or not Path(source).is_dir():
        return experiment.dataset
    labels = len(recognise(Path(source)).labels)
    names = [experiment.dataset, *DATASETS]
    return next((name for name in names if len(DATASETS[name].label_names) == labels), experiment.dataset)


def _check_labels(splits: Splits) -> None:
    """Raise IsogradError for training examples that all have one label: nothing can be learnt from them."""
    present = set(splits.train.labels)
    if len(present) == 1:
        raise IsogradError(
            f"expected training examples of several labels, got {splits.label_names[present.pop()]} alone "
            f"({splits.origin}): provide examples of the others"
        )


def _check_vocabulary(experiment: Experiment, tokenizer: TextTokenizer) -> None:
    size = experiment.model.arguments.get("vocabulary_size")
    if size is not None and tokenizer.vocabulary_size > size:
        raise IsogradError(
            f"{experiment.name} has a vocabulary of {size:,} tokens, but {tokenizer.origin} has "
            f"{tokenizer.vocabulary_size:,}: pass a smaller one with --vocab FILE"
        )
