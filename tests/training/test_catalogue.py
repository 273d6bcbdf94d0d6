"""The catalogue of experiments has the figures of SPEC.md, and small experiments take their sizes from the data."""

import csv
import importlib

import numpy as np
import pytest

from experiments.catalogue import EXPERIMENTS, find_experiment
from experiments.training.preparation import prepare, with_buckets
from experiments.training.run_config import experiment_from_json
from experiments.training.runner import steps_of_an_epoch
from shared.configs.optimizer import AdamWConfig
from shared.errors import IsogradError
from shared.registry import TWINS

FULL = [f"reviews-{number}" for number in range(1, 8)]
SMALL = [f"{name}-small" for name in FULL]
PARAMETERS = {  # of SPEC.md
    "reviews-1": 8_603_650,
    "reviews-2": 8_603_650,
    "reviews-3": 8_998_402,
    "reviews-4": 9_195_522,
    "reviews-5": 8_672_258,
    "reviews-6": 9_463_810,
    "reviews-7": 8_672_258,
}
DROPOUT = [0.0, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]
WORDS = ["good", "bad", "fine", "poor", "great", "awful", "nice", "meh"]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def reviews(tmp_path):
    """A folder of 40 + 1,010 reviews of up to 90 words in the Yelp format."""
    random = np.random.default_rng(0)
    folder = tmp_path / "reviews"
    folder.mkdir()
    for part, size in (("train", 40), ("test", 1010)):
        with (folder / f"{part}.csv").open("w", newline="") as file:
            for row in range(size):
                words = random.choice(WORDS, 90 if row == 0 else 5)
                csv.writer(file, quoting=csv.QUOTE_ALL).writerow([1 + row % 2, " ".join(words)])
    return folder


def test_the_catalogue_holds_the_seven_and_their_small_siblings():
    assert [name for name in EXPERIMENTS if name.startswith("reviews") and "-8" not in name] == FULL + SMALL
    assert all(experiment.name == name for name, experiment in EXPERIMENTS.items())


@pytest.mark.parametrize("name", FULL)
def test_the_seven_train_as_the_spec_says(name):
    experiment = find_experiment(name)
    assert experiment.optimizer == AdamWConfig(1e-4, 0.9, 0.999, 1e-8, 0.01)
    sizes = (experiment.batch_size, experiment.length, experiment.epochs, experiment.evaluate_every, experiment.seed)
    assert sizes == (512, 256, 5, 25, 0)
    assert experiment.dataset == "yelp_polarity"


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_the_seven_have_the_parameters_of_the_spec(name, parameters):
    import torch

    model = find_experiment(name).model
    twin = TWINS[model.twin]
    with torch.device("meta"):
        module = getattr(importlib.import_module(f"torch_impl.{twin.module}"), model.twin)(**model.arguments)
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters


@pytest.mark.parametrize("suffix", ["", "-small"])
def test_dropout_is_that_of_the_table(suffix):
    assert [find_experiment(f"{name}{suffix}").model.arguments["dropout"] for name in FULL] == DROPOUT


@pytest.mark.parametrize("name", SMALL)
def test_small_experiments_fit_the_built_in_data(name):
    experiment = prepare(find_experiment(name), None).experiment
    arguments = experiment.model.arguments
    assert None not in arguments.values()
    assert (arguments["vocabulary_size"], arguments["num_classes"], experiment.length) == (24, 3, 8)
    assert arguments.get("sequence_length", 8) == 8


def test_small_experiments_fit_a_folder_of_reviews(reviews):
    prepared = prepare(find_experiment("reviews-5-small"), str(reviews))
    arguments = prepared.experiment.model.arguments
    assert arguments["num_classes"] == 2
    assert arguments["vocabulary_size"] == prepared.data.codec.vocabulary_size
    assert (prepared.experiment.length, arguments["sequence_length"]) == (64, 64)
    assert prepared.experiment.dataset == "yelp_polarity"


def test_full_experiments_keep_their_sizes_regardless_of_the_vocabulary(reviews):
    experiment = find_experiment("reviews-5")
    assert prepare(experiment, str(reviews)).experiment == experiment


def test_a_vocabulary_larger_than_the_model_is_refused(reviews, tmp_path):
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"word{i}" for i in range(30_519))]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n")
    with pytest.raises(IsogradError, match="reviews-5 has a vocabulary of 30,522 tokens, but .* has 30,523"):
        prepare(find_experiment("reviews-5"), str(reviews), tmp_path / "vocab.txt")


def test_buckets_are_quarters_and_pass_a_gru_the_lengths():
    gru, transformer = (with_buckets(find_experiment(name)) for name in ("reviews-1", "reviews-5"))
    assert gru.bucket_lengths == transformer.bucket_lengths == (64, 128, 192, 256)
    assert gru.model.inputs == ("ids", "mask", "lengths")
    assert transformer.model.inputs == ("ids", "mask")


def test_an_unknown_experiment_is_answered_with_the_nearest_names():
    with pytest.raises(IsogradError, match="unknown experiment 'review-5': did you mean .*'reviews-5'"):
        find_experiment("review-5")


@pytest.mark.parametrize("name", [*FULL, *SMALL])
def test_an_experiment_survives_json(name):
    import json
    from dataclasses import asdict

    experiment = with_buckets(find_experiment(name))
    assert experiment_from_json(json.loads(json.dumps(asdict(experiment)))) == experiment


def test_an_epoch_of_the_built_in_data_has_ten_steps():
    assert steps_of_an_epoch(prepare(find_experiment("reviews-1-small"), None)) == 10


def test_training_examples_that_all_have_one_label_are_refused(tmp_path):
    (tmp_path / "train.csv").write_text('"1","bad"\n"1","worse"\n')
    (tmp_path / "test.csv").write_text('"1","bad"\n"2","good"\n' * 4)
    with pytest.raises(IsogradError, match="expected training examples of several labels, got negative alone"):
        prepare(find_experiment("reviews-5-small"), str(tmp_path))
