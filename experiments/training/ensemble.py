"""Several classifiers as one: the mean of their logits."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.training.preparation import Prepared
from shared.backend import Backend, State
from shared.data import prefetch
from shared.errors import IsogradError
from shared.tasks.classification import LabelledTexts
from shared.tasks.task import Scored

TASK = "classification"


def check_classifiers(tasks: Mapping[Path, str]) -> None:
    """Raise IsogradError for a run of another task."""
    for run, task in tasks.items():
        if task != TASK:
            raise IsogradError(
                f"several runs are evaluated together by the mean logits of classifiers, and {run} was trained for "
                f"{task}: evaluate it alone"
            )


def check_alike(texts: LabelledTexts, run: Path, others: LabelledTexts, other: Path, split: str) -> None:
    """Raise IsogradError unless two runs classify the same texts of a split by the same labels."""
    first, second = texts.content, others.content
    if first.label_names != second.label_names:
        ours, theirs = (", ".join(each.label_names) for each in (first, second))
        raise IsogradError(f"expected runs with the same labels, got {ours} in {run} and {theirs} in {other}")
    if first.parts()[split] != second.parts()[split]:
        raise IsogradError(
            f"expected runs with the same {split} examples, got {texts.counts[split]:,} in {run} and different ones "
            f"({others.counts[split]:,}) in {other}: choose a --split that they share, or --data for all of them"
        )


def logits_of(backend: Backend, state: State, prepared: Prepared, texts: LabelledTexts, split: str) -> np.ndarray:
    """(examples, classes) float64 of a split, in the order of the data, without dropout."""
    order = texts.in_order(prepared.experiment, split).start_at(0)
    rows = [backend.logits_of(state, batch)[batch["weights"] > 0] for batch in prefetch(order)]
    return np.concatenate(rows).astype(np.float64)


def figures_of(logits: np.ndarray, prepared: Prepared, texts: LabelledTexts, split: str) -> dict[str, float]:
    """The mean loss and the figures of the task for the logits of a split."""
    labels = texts.examples[split].labels
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels]
    batch = {"labels": labels, "weights": np.ones(len(labels), np.float32)}
    scored = Scored(batch, losses, logits.argmax(axis=1))
    return {"loss": float(losses.mean()), **prepared.task.metrics(prepared.experiment, [scored])}


def means_of(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over several runs."""
    return {name: float(np.mean([each[name] for each in figures])) for name in figures[0]}
