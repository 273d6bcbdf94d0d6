"""Several runs are evaluated as one classifier by the mean of their logits, whatever framework each is of."""

import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
from fake_backend import FakeBackend

from crosscheck.criterion import prove
from experiments import cli
from experiments.commands import evaluate
from experiments.progress.display import Progress
from experiments.training import ensemble, launch
from experiments.training.launch import prepared_from
from experiments.training.run_config import read_config
from shared.run_folder import best_checkpoint, load_weights

SPLITS = ("train", "validation")
# Batches of up to four lengths: their order is not that of the data.
BUCKETED = ("reviews-1-small", "--bucketing", "--data", "mine")
SECOND = ("--seed", "1", "--batch-size", "32")
THIRD = ("--seed", "2")


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_reviews(tmp_path / "mine", ["good", "bad", "food", "soup", "room", "view"])


@pytest.fixture
def numpy_backend(monkeypatch):
    monkeypatch.setattr(launch, "load_backend", lambda name, **given: FakeBackend(**given))


def train(run, experiment, *options):
    assert cli.main(["train", experiment, "--out", run, "--steps", "9", "--quiet", *options]) == 0


def write_reviews(folder, words):
    """Reviews of 1 to 12 words, whose labels depend on some of them."""
    folder.mkdir()
    draw = random.Random(0)
    for name in ("train", "test"):
        texts = [draw.choices(words, k=draw.randint(1, 12)) for _ in range(60)]
        rows = [f'"{1 + (words[0] in text)}","{" ".join(text)}"\n' for text in texts]
        (folder / f"{name}.csv").write_text("".join(rows), "utf-8")


def evaluated(capsys, *arguments):
    capsys.readouterr()
    assert cli.main(["eval", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def logits_of(run, split, tmp_path):
    """What the numpy model gives for every text, in the order of the data; and the labels."""
    prepared = prepared_from(read_config(tmp_path / run), tmp_path / run, Progress())
    table = load_weights(best_checkpoint(tmp_path / run))[0]["weights/table"]
    examples = prepared.data.examples[split]
    texts = np.split(examples.ids, examples.offsets[1:-1])
    return np.array([table[ids].sum(0) for ids in texts]), examples.labels


@pytest.mark.parametrize("split", SPLITS)
def test_the_figures_are_those_of_the_mean_logits(numpy_backend, split, capsys, tmp_path):
    train("a", *BUCKETED)
    train("b", *BUCKETED, *SECOND)
    train("c", *BUCKETED, *THIRD)
    found = evaluated(capsys, *"abc", "--split", split)
    (first, labels), (second, _), (third, _) = (logits_of(run, split, tmp_path) for run in "abc")
    mean = (first + second + third) / 3
    right = mean.argmax(1) == labels
    assert (found["metrics"]["accuracy"], found["examples"]) == (right.mean(), len(labels))
    commonest = np.bincount(logits_of("a", "train", tmp_path)[1]).argmax()
    assert found["metrics"]["baseline_accuracy"] == (labels == commonest).mean()
    losses = np.log(np.exp(mean).sum(1)) - mean[np.arange(len(labels)), labels]
    assert prove(losses.mean(), np.float64(found["metrics"]["loss"]), 0.0).agrees
    assert (first.argmax(1) != second.argmax(1)).any()  # two different models
    assert (first.argmax(1) == labels).mean() != right.mean() or (second.argmax(1) == labels).mean() != right.mean()


def test_logits_of_real_rows_are_added_up_in_float64():
    batches = [{"weights": np.array([1.0, 0.0])}, {"weights": np.array([1.0, 1.0])}]
    texts = SimpleNamespace(in_order=lambda *_: SimpleNamespace(start_at=lambda first: batches[first:]))
    backend = SimpleNamespace(logits_of=lambda state, batch: np.ones((2, 5), np.float32))
    found = ensemble.logits_of(backend, {}, SimpleNamespace(experiment=None), texts, "validation")
    assert (found.shape, found.dtype) == ((3, 5), np.float64)


def test_every_option_reaches_the_evaluation(monkeypatch):
    told = []
    monkeypatch.setattr(evaluate, "read_config", lambda run: SimpleNamespace(experiment=None))
    monkeypatch.setattr(evaluate, "choose_threads", lambda experiment: None)
    monkeypatch.setattr(evaluate, "evaluated", lambda run, config, *chosen: told.append(chosen[0]) or {})
    given = {"backend": "jax", "data": "d", "device": "cpu", "dtype": "float64", "split": "test"}
    options = [word for name, value in given.items() for word in (f"--{name}", value)]
    assert cli.main(["eval", "a", *options, "--newest", "--json"]) == 0
    assert told == [evaluate.Chosen(**given, newest=True)]


@pytest.mark.parametrize("asked", [("torch", "float32", "cpu"), ("jax", "float64", "cuda")])
def test_a_run_is_evaluated_where_it_was_trained_unless_it_is_asked_otherwise(numpy_backend, monkeypatch, asked):
    train("a", *BUCKETED)
    found = []

    def load(name, *, dtype, device, **given):
        found.append((name, dtype, device))
        return FakeBackend(dtype=dtype, device=device, **given)

    monkeypatch.setattr(launch, "load_backend", load)
    monkeypatch.setattr(evaluate, "find_backend", lambda *_, **named: None)
    names, usual = ("--backend", "--dtype", "--device"), ("torch", "float32", "cpu")
    options = [word for pair in zip(names, asked, strict=True) for word in pair if asked != usual]
    assert cli.main(["eval", "a", *options, "--json"]) == 0
    assert found == [asked]


def test_other_data_is_evaluated_where_it_is_given(numpy_backend, capsys, tmp_path):
    train("a", *BUCKETED)
    write_reviews(tmp_path / "others", ["good", "bad"])
    losses = [
        evaluated(capsys, "a", "--data", data, "--split", "train")["metrics"]["loss"] for data in ("mine", "others")
    ]
    assert losses[0] == evaluated(capsys, "a", "--split", "train")["metrics"]["loss"] != losses[1]


def test_each_run_has_the_figures_that_it_has_alone(numpy_backend, capsys):
    train("a", *BUCKETED)
    train("b", *BUCKETED, *SECOND)
    train("c", *BUCKETED, *THIRD)
    found = evaluated(capsys, *"abc")
    alone = [evaluated(capsys, run) for run in "abc"]
    for together, single in zip(found["runs"], alone, strict=True):
        assert {name: together[name] for name in ("checkpoint", "step", "backend")}.items() <= single.items()
        assert together["metrics"]["accuracy"] == single["metrics"]["accuracy"]
        assert prove(np.float64(single["metrics"]["loss"]), np.float64(together["metrics"]["loss"]), 0.0).agrees
    accuracies = [single["metrics"]["accuracy"] for single in alone]
    assert found["mean_of_runs"]["accuracy"] == np.mean(accuracies) != np.median(accuracies)
    assert found["metrics"]["baseline_accuracy"] == alone[0]["metrics"]["baseline_accuracy"]


def test_the_text_names_every_run_and_its_accuracy(numpy_backend, capsys):
    train("a", *BUCKETED)
    train("b", *BUCKETED, *SECOND)
    found = evaluated(capsys, "a", "b")
    assert cli.main(["eval", "a", "b"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("the mean logits of 2 runs, on ")
    for row in found["runs"]:
        assert f"{row['metrics']['accuracy']:.6g}  {row['checkpoint']}, step {row['step']}, by torch\n" in printed


RUNS = {
    "none": ((), "expected a run folder, got none"),
    "the same twice": (("a", "./a"), "expected different runs, got a more than once"),
    "the same by a link": (("a", "link"), "expected different runs, got a more than once"),
    "no run": (("a", "nowhere"), "expected a run folder with config.json, got nowhere"),
    "another validation": (("a", "fold"), "expected runs with the same validation examples, got "),
    "other labels": (("a", "signs"), "labels, got negative, positive in a and negative, zero, positive in signs"),
    "another task": (("a", "words"), "words was trained for language_modelling: evaluate it alone"),
    "an unknown split": (("a", "b", "--split", "held"), "unknown split 'held'"),
}


@pytest.mark.parametrize(("runs", "sentence"), RUNS.values(), ids=RUNS)
def test_runs_that_are_no_ensemble_are_refused(numpy_backend, runs, sentence, capsys, tmp_path):
    trained = {
        "a": BUCKETED,
        "b": (*BUCKETED, *SECOND),
        "fold": (*BUCKETED, "--fold", "1", "3"),
        "signs": ("reviews-1-small",),
        "words": BUCKETED,
    }
    for run in [run for run in trained if run in runs]:
        train(run, *trained[run])
    if "link" in runs:
        (tmp_path / "link").symlink_to("a")
    if "words" in runs:
        config = tmp_path / "words" / "config.json"
        config.write_text(config.read_text("utf-8").replace('"classification"', '"language_modelling"'), "utf-8")
    capsys.readouterr()
    assert cli.main(["eval", *runs]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("settings_of_jax")
def test_runs_of_two_frameworks_are_one_ensemble_in_either(capsys):
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    train("a", "arithmetic-small", "--backend", "torch")
    train("b", "arithmetic-small", "--backend", "jax", "--average-decay", "0.9", "--seed", "1")
    mixed = evaluated(capsys, "a", "b", "--dtype", "float64")
    assert [row["backend"] for row in mixed["runs"]] == ["torch", "jax"]
    for side in ("torch", "jax"):
        found = evaluated(capsys, "a", "b", "--dtype", "float64", "--backend", side)
        assert found["metrics"]["accuracy"] == mixed["metrics"]["accuracy"]
        assert prove(np.float64(found["metrics"]["loss"]), np.float64(mixed["metrics"]["loss"]), 0.0).agrees
