"""The task of classification: its order of the examples, its baseline, its figures."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.catalogue import find_experiment
from experiments.training.preparation import prepare
from shared.tasks.task import Scored


@pytest.fixture
def prepared(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))
    return prepare(find_experiment("reviews-1-small"), None)


def rows(prepared, split, number):
    """The ids of all real rows in the order of an epoch."""
    order = prepared.data.epoch(prepared.experiment, split, number).start_at(0)
    return np.concatenate([batch["ids"][batch["weights"] > 0] for batch in order])


def test_training_examples_come_in_a_new_order_in_every_epoch_and_those_of_the_validation_as_they_are(prepared):
    found = {(split, number): rows(prepared, split, number) for split in ("train", "validation") for number in (0, 1)}
    for split, examples in prepared.data.examples.items():
        tokens = [examples.ids[first:last] for first, last in zip(examples.offsets, examples.offsets[1:], strict=False)]
        padded = [np.pad(ids, (0, found[split, 0].shape[1] - len(ids))) for ids in tokens]
        equal = {number: np.array_equal(found[split, number], padded) for number in (0, 1)}
        assert equal == {0: split == "validation", 1: split == "validation"}
    assert not np.array_equal(found["train", 0], found["train", 1])
    assert np.array_equal(np.sort(found["train", 0], axis=0), np.sort(found["train", 1], axis=0))


def test_the_baseline_is_the_share_of_the_label_that_is_most_common_in_training(prepared):
    train, validation = (prepared.data.examples[split].labels for split in ("train", "validation"))
    commonest = max(range(3), key=list(train).count)
    assert prepared.data.baseline() == {"accuracy": list(validation).count(commonest) / len(validation)}


def test_finding_the_vocabulary_of_many_texts_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))
    for part in ("train", "test"):
        (tmp_path / f"{part}.csv").write_text("".join(f'"{1 + number % 2}","good {number}"\n' for number in range(700)))
    told = []
    prepare(find_experiment("reviews-1"), str(tmp_path), report=lambda what, *counts: told.append(what))
    assert "looked up the word pieces of" in told


def test_figures_count_real_rows_only(prepared):
    batches = [
        {"labels": np.array([0, 1, 2]), "weights": np.array([1.0, 1.0, 0.0])},
        {"labels": np.array([2, 0]), "weights": np.array([0.5, 1.0])},
    ]
    predictions = np.array([0, 0, 0]), np.array([2, 1])
    scored = [Scored(batch, np.zeros(len(found)), found) for batch, found in zip(batches, predictions, strict=True)]
    metrics = prepared.task.metrics(prepared.experiment, iter(scored))
    assert metrics["accuracy"] == 2 / 4


def test_rates_are_of_the_labels_and_not_of_the_predictions(prepared):
    batch = {"labels": np.array([1, 0, 0, 0]), "weights": np.ones(4)}
    scored = [Scored(batch, np.zeros(4), np.array([1, 1, 1, 0]))]
    model = replace(prepared.experiment.model, arguments={"num_classes": 2})
    metrics = prepared.task.metrics(replace(prepared.experiment, model=model), scored)
    assert metrics["true_positive_rate"] == 1
    assert metrics["false_positive_rate"] == 2 / 3
