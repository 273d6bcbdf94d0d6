"""Fine-tuning starts from the weights and the vocabulary of a folder, in both frameworks, whole or frozen."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tiny_bert import SIZES, WORDS, write_bert

from experiments import cli
from experiments.catalogue import EXPERIMENTS, find_experiment
from experiments.catalogue.fine_tuning import FINE_TUNED, FULL
from experiments.progress.display import Progress
from experiments.training import launch
from experiments.training.certificate import certify
from experiments.training.launch import prepared_for, resolve
from experiments.training.plan import rate_by_step, total_steps
from experiments.training.run_config import read_config
from experiments.training.settings import Settings, with_settings
from shared.backend import PACKAGES, load_backend
from shared.configs.bert import BertConfig
from shared.configs.experiment import ModelConfig
from shared.data import load_reviews
from shared.errors import IsogradError
from shared.metrics_log import read
from shared.parameter_groups import trainable_shapes
from shared.pretrained.initial import DROPOUTS, initial_arrays, with_sizes
from shared.registry import TWINS
from shared.run_folder import latest_checkpoint, load_checkpoint
from torch_impl.build import build_twin
from torch_impl.weights import parameter_shapes

ANY = Progress()
TRAINABLE_OF_REVIEWS_8 = 1538  # SPEC.md E1, row 8
UPDATES_OF_THE_COURSE, WARMUP = 42, 4
FASTEST = {"steps": 2, "batch_size": 32}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def bert(tmp_path):
    folder = tmp_path / "bert"
    return folder, write_bert(folder)


def backend_of(side, arguments):
    """The backend of a classifier on a CPU."""
    experiment = find_experiment("sst2")
    model = replace(experiment.model, arguments=arguments)
    training = {"optimizer": experiment.optimizer, "training": experiment.training, "loss": "cross_entropy", "seed": 0}
    return load_backend(side, model=model, **training, dtype="float32", device="cpu")


def weights_of(folder):
    arrays = load_checkpoint(latest_checkpoint(folder)[0])[0]
    return {name.removeprefix("weights/"): array for name, array in arrays.items() if name.startswith("weights/")}


def test_every_experiment_has_a_small_sibling_that_needs_no_folder():
    assert all(f"{experiment.name}-small" in EXPERIMENTS for experiment in FULL)
    assert not [each.name for each in FINE_TUNED if each.name.endswith("-small") and each.initial]
    assert {experiment.optimizer.name for experiment in FULL} == {"adamw", "sgd", "adagrad"}


@pytest.mark.parametrize("experiment", FINE_TUNED, ids=lambda experiment: experiment.name)
def test_batches_are_padded_to_at_most_four_lengths(experiment):
    assert len({*(experiment.bucket_lengths or ()), experiment.length}) <= 4


def test_a_frozen_bert_of_the_course_has_its_trainable_parameters():
    experiment = find_experiment("reviews-8-frozen")
    arguments = vars(BertConfig(num_classes=2, pooler=experiment.model.arguments["pooler"]))
    module = build_twin(TWINS[experiment.model.twin], arguments, abstract=True)
    shapes = trainable_shapes(parameter_shapes(module), experiment.training.groups)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == TRAINABLE_OF_REVIEWS_8


def test_arithmetic_has_the_updates_and_the_warm_up_of_the_course(bert):
    settings = Settings(initial=str(bert[0]))
    prepared = prepared_for(resolve("arithmetic", settings), settings, ANY)
    assert total_steps(prepared) == UPDATES_OF_THE_COURSE
    assert (prepared.experiment.schedule.warmup, prepared.experiment.schedule.warmup_part) == (WARMUP, 0)
    rate = rate_by_step(prepared)
    rates = [rate(step) for step in range(UPDATES_OF_THE_COURSE)]
    assert rates.index(max(rates)) == WARMUP
    assert rates[0] == 0 < rates[-1] < rates[WARMUP]


def test_what_is_refitted_is_all_that_was_split_and_nothing_of_the_test():
    split, whole = load_reviews("verbal_arithmetic_70_30"), load_reviews("verbal_arithmetic_refit")
    assert sorted(whole.train.texts) == sorted(split.train.texts + split.validation.texts)
    assert (whole.validation, whole.test) == (split.validation, split.test)
    assert not set(whole.train.texts) & set(whole.test.texts)


def test_a_rate_of_dropout_that_was_asked_for_goes_before_the_folder_s(bert):
    settings = Settings(initial=str(bert[0]), dropout=0.25)
    model = prepared_for(resolve("arithmetic", settings), settings, ANY).experiment.model
    assert {model.arguments[name] for name in DROPOUTS} == {0.25}


def test_a_run_keeps_where_its_folder_is_wherever_it_goes_on(bert, monkeypatch):
    folder, _ = bert
    monkeypatch.chdir(folder.parent)
    assert with_sizes(replace(find_experiment("sst2"), initial=folder.name)).initial == str(folder.resolve())


def test_a_model_without_dropout_refuses_a_rate():
    plain = replace(find_experiment("reviews-1-small"), model=ModelConfig("GRU", {}))
    with pytest.raises(IsogradError, match="GRU has no dropout: leave out --dropout"):
        with_settings(plain, Settings(dropout=0.25))


def test_its_validation_split_has_each_label_in_its_share():
    splits = load_reviews("verbal_arithmetic_70_30")
    parts = splits.parts()
    assert {name: len(part) for name, part in parts.items()} == {"train": 448, "validation": 192, "test": 160}
    assert not set(parts["train"].texts) & set(parts["validation"].texts)
    labels = {name: [part.labels.count(label) for label in range(3)] for name, part in parts.items()}
    assert labels == {"train": [104, 12, 332], "validation": [45, 5, 142], "test": [41, 4, 115]}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("side", PACKAGES)
def test_a_run_starts_from_the_bytes_of_the_folder(side, dtype, tmp_path):
    arrays = write_bert(tmp_path / "bert", dtype)
    experiment = with_sizes(resolve("sst2", Settings(initial=str(tmp_path / "bert"))))
    backend = backend_of(side, {**experiment.model.arguments, "num_classes": 2})
    state = backend.state_to_arrays(backend.init_state(initial_arrays(experiment)))
    fresh = backend.state_to_arrays(backend.init_state())
    for name, array in arrays.items():
        assert np.array_equal(state[f"weights/bert.{name}"], array.astype(np.float32))
    assert np.array_equal(state["weights/head.weight"], fresh["weights/head.weight"])


def test_a_probe_leaves_the_folder_s_weights_as_they_are(bert, tmp_path):
    folder, arrays = bert
    settings = Settings("torch", initial=str(folder), **FASTEST)
    launch.start("arithmetic-frozen", settings, tmp_path / "run", ANY)
    found = weights_of(tmp_path / "run")
    assert all(np.array_equal(found[f"bert.{name}"], array) for name, array in arrays.items())
    assert read_config(tmp_path / "run").parameters == found["head.weight"].size + found["head.bias"].size


def test_a_run_goes_on_and_is_evaluated_without_its_folder(bert, tmp_path, capsys):
    folder, _ = bert
    settings = Settings("torch", initial=str(folder), steps=4, batch_size=32)
    launch.start("arithmetic", settings, tmp_path / "whole", ANY)
    launch.start("arithmetic", settings, tmp_path / "run", ANY, stop_at=2)
    shutil.rmtree(folder)
    launch.resume(tmp_path / "run", ANY, stop_at=3)
    launch.resume(tmp_path / "run", ANY)
    ours, theirs = weights_of(tmp_path / "run"), weights_of(tmp_path / "whole")
    assert all(array.tobytes() == theirs[name].tobytes() for name, array in ours.items())
    capsys.readouterr()
    assert cli.main(["eval", str(tmp_path / "run"), "--split", "test"]) == 0
    assert "baseline accuracy" in capsys.readouterr().out
    assert cli.main(["eval", str(tmp_path / "run"), "--split", "tset"]) == 2
    assert "unknown split 'tset'" in capsys.readouterr().err


def test_a_run_that_stopped_before_its_first_step_starts_from_its_folder(bert, tmp_path):
    folder, arrays = bert
    settings = Settings("torch", initial=str(folder), learning_rate=0.0, **FASTEST)
    launch.start("arithmetic-frozen", settings, tmp_path / "run", ANY, stop_at=0)
    launch.resume(tmp_path / "run", ANY)
    found = weights_of(tmp_path / "run")
    assert all(np.array_equal(found[f"bert.{name}"], array) for name, array in arrays.items())


@pytest.mark.slow
def test_after_the_first_epoch_nothing_is_compiled(bert, tmp_path, monkeypatch):
    random, texts = np.random.default_rng(0), tmp_path / "texts"
    texts.mkdir()
    for part, size in (("train", 60), ("dev", 20)):
        with (texts / f"{part}.tsv").open("w", newline="") as file:
            rows = csv.writer(file, delimiter="\t")
            rows.writerow(["sentence", "label"])
            rows.writerows([" ".join(random.choice(WORDS[5:], 1 + row % 13)), row % 2] for row in range(size))
    often = {"length": 16, "bucket_lengths": (6,), "evaluate_every": 8}  # steps, as many as an epoch has
    monkeypatch.setattr(launch, "find_experiment", lambda name: replace(find_experiment(name), **often))
    settings = Settings("jax", data=str(texts), initial=str(bert[0]), batch_size=8, epochs=3)
    launch.start("sst2", settings, tmp_path / "run", ANY)
    seconds = [record["compile_seconds"] for record in read(tmp_path / "run") if record["kind"] == "validation"]
    assert len(seconds) == 3
    assert 0 < seconds[0] == seconds[1] == seconds[2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sst2", "--initial", "nowhere"], "nowhere is no folder"),
        (["reviews-1-small", "--initial", "bert"], "unknown twin that starts from a folder 'ReviewClassifierGRU'"),
        (["arithmetic", "--initial", "bert", "--vocab", "big.txt"], "has a vocabulary of 27 tokens, but"),
        (["arithmetic", "--steps", "3", "--epochs", "2"], "--steps and --epochs both set the length of a run"),
        (["arithmetic", "--epochs", "0"], "--epochs: expected at least 1, got 0"),
    ],
)
def test_what_can_not_be_fine_tuned_is_refused_in_one_sentence(
    arguments, sentence, bert, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "big.txt").write_text("\n".join([*WORDS, "more"]) + "\n")
    assert cli.main(["train", *arguments, "--out", "run"]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_weights_of_the_wrong_shape_are_refused(bert):
    _, arrays = bert
    backend = backend_of("torch", vars(BertConfig(**{**SIZES, "vocabulary_size": len(WORDS), "hidden_dim": 13})))
    with pytest.raises(IsogradError, match="wrong shape bert.layers.0.activated_mlp.in_proj.weight"):
        backend.init_state({f"bert.{name}": array for name, array in arrays.items()})


class Begun(Exception):
    """With the weights that a lockstep is given."""


def test_a_certificate_begins_at_the_weights_of_the_folder(bert, tmp_path, monkeypatch):
    def lockstep(ours, theirs, course, judge, initial=None):
        raise Begun(initial)

    monkeypatch.setattr("crosscheck.runs.lockstep.lockstep", lockstep)
    settings = Settings(initial=str(bert[0]), dtype="float64", **FASTEST)
    with pytest.raises(Begun) as begun:
        certify("arithmetic", settings, tmp_path / "certificate", ANY)
    (initial,) = begun.value.args
    assert all(np.array_equal(initial[f"bert.{name}"], array) for name, array in bert[1].items())


@pytest.mark.slow
def test_two_frameworks_draw_the_same_curve(bert, tmp_path):
    curves = {}
    for side in PACKAGES:
        settings = Settings(side, initial=str(bert[0]), dtype="float64", **FASTEST)
        launch.start("arithmetic", settings, tmp_path / side, ANY)
        curves[side] = [record["loss"] for record in read(tmp_path / side)]
    lockstep = pytest.importorskip("crosscheck.runs.lockstep")
    torch_curve, jax_curve = map(np.array, curves.values())
    assert np.linalg.norm(torch_curve - jax_curve) <= lockstep.BOUNDS["float64"] * np.linalg.norm(torch_curve)
