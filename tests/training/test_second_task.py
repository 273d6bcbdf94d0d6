"""A task is one file and one row: sequence labelling is trained, stopped early, resumed, handed over, certified and
reported by the same code as classification, with both backends.
"""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import sequence_labelling
from bounds import roundings_of_two_sums
from records import without_times

from crosscheck.runs.compare_runs import compare_runs
from crosscheck.runs.lockstep import BOUNDS, by_group, group_error
from experiments.progress.display import Lines, Progress
from experiments.reports.report import collect, write_report
from experiments.training import launch
from experiments.training.certificate import certify
from experiments.training.run_config import read_config
from experiments.training.settings import Settings
from shared.backend import PACKAGES, load_backend
from shared.errors import IsogradError
from shared.metrics_log import read
from shared.registry import TWINS
from shared.run_folder import best_checkpoint, latest_checkpoint, load_checkpoint, read_state
from shared.tasks.table import TASKS

pytestmark = pytest.mark.slow

NAME, LABELLING = "tagging", sequence_labelling.SequenceLabelling()
STEPS = 18
SETTINGS = Settings(steps=STEPS, dtype="float64")


@pytest.fixture(scope="module", autouse=True)
def _second_task():
    """The row of the task, the twin of its model, its experiment; one backend for all runs of one experiment."""
    import jax

    loaded = {}

    def load_once(name, **given):
        key = f"{name} {given}"
        loaded[key] = loaded.get(key) or load_backend(name, **given)
        return loaded[key]

    before = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(TASKS, "sequence_labelling", LABELLING)
        patched.setitem(TWINS, "Tagger", sequence_labelling.TWIN)
        for name, module in sequence_labelling.MODULES.items():
            patched.setitem(sys.modules, name, module)
        patched.setattr(launch, "find_experiment", lambda name: sequence_labelling.EXPERIMENT)
        patched.setattr(launch, "load_backend", load_once)
        yield
    jax.config.update("jax_enable_x64", before[0])
    jax.config.update("jax_default_matmul_precision", before[1])


def train(folder, backend, stops=(), **changes):
    """A run that is resumed with the backend of each (step, backend) in `stops`."""
    ends = [*(step for step, _ in stops), None]
    launch.start(NAME, replace(SETTINGS, backend=backend, **changes), folder, Progress(), stop_at=ends[0])
    for (_, other), stop_at in zip(stops, ends[1:], strict=True):
        launch.resume(folder, Progress(), backend=other, stop_at=stop_at)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {side: train(tmp_path_factory.mktemp("runs") / side, side) for side in PACKAGES}


def arrays_of(folder):
    return load_checkpoint(latest_checkpoint(folder)[0])[0]


@pytest.mark.parametrize("side", PACKAGES)
def test_it_learns_and_logs_its_own_figures_and_unit(runs, side):
    records = read(runs[side])
    steps, validations = ([r for r in records if r["kind"] == kind] for kind in ("train", "validation"))
    assert validations[-1]["loss"] < steps[0]["loss"]
    assert [r["step"] for r in validations] == [6, 12, 18]
    assert {"error_rate", "whole_sequences"} <= validations[0].keys()
    assert "examples" not in steps[0]
    batch = next(sequence_labelling.Digits().epoch(read_config(runs[side]).experiment, "train", 0).start_at(0))
    assert steps[0]["tokens"] == batch["lengths"].sum()
    assert "tokens_per_second" in steps[-1]
    assert "accuracy" not in validations[0]


def test_config_json_holds_its_counts_and_its_baseline(runs):
    config = read_config(runs["torch"])
    assert (config.counts, config.baseline) == (sequence_labelling.COUNTS, {"error_rate": 1 - 1 / 3})
    assert config.experiment.task == "sequence_labelling"
    assert json.loads((runs["torch"] / "tokenizer.json").read_text()) == sequence_labelling.DIGITS


@pytest.mark.parametrize("side", PACKAGES)
def test_the_best_checkpoint_is_that_of_the_lowest_error_rate_then_loss(runs, side):
    validations = [r for r in read(runs[side]) if r["kind"] == "validation"]
    best = min(validations, key=lambda r: (r["error_rate"], r["loss"]))
    assert read_state(best_checkpoint(runs[side]))["step"] == best["step"]


@pytest.mark.parametrize("side", PACKAGES)
def test_the_loss_of_a_validation_is_the_mean_over_all_its_tokens(runs, side):
    prepared = launch.prepared_from(read_config(runs[side]), runs[side], Progress())
    backend = launch.backend_for(prepared.experiment, side, "float64", "cpu")
    state = backend.state_from_arrays(arrays_of(runs[side]))
    losses = []
    for batch in prepared.data.epoch(prepared.experiment, "validation", 0).start_at(0):
        found = backend.fetch(backend.eval_step(state, batch))
        losses += found["losses"][batch["weights"] > 0].tolist()
    last = [r for r in read(runs[side]) if r["kind"] == "validation"][-1]
    assert len(losses) > 23  # tokens, not sequences
    assert abs(last["loss"] - np.mean(losses)) <= roundings_of_two_sums(len(losses)) * np.mean(losses)


@pytest.mark.parametrize("side", PACKAGES)
def test_padding_has_no_effect(side):
    experiment = sequence_labelling.EXPERIMENT
    arguments = {**experiment.model.arguments, "vocabulary_size": 11}
    experiment = replace(experiment, model=replace(experiment.model, arguments=arguments))
    backend = launch.backend_for(experiment, side, "float64", "cpu")
    batch = next(sequence_labelling.Digits().epoch(experiment, "validation", 0).start_at(1))
    padded = {**batch, "labels": np.where(batch["weights"] > 0, batch["labels"], (batch["labels"] + 1) % 3)}
    padded["labels"] = padded["labels"].astype(np.int32)
    assert (batch["weights"] == 0).any()
    first, second = (backend.gradients_of(backend.init_state(), each) for each in (batch, padded))
    assert all((first[name] == second[name]).all() for name in first)
    assert any(array.any() for array in first.values())


@pytest.mark.parametrize("side", PACKAGES)
def test_a_resumed_run_has_the_bits_of_the_uninterrupted_one(runs, tmp_path, side):
    resumed = train(tmp_path / "run", side, stops=((7, side),))
    assert without_times(read(resumed)) == without_times(read(runs[side]))
    whole = arrays_of(runs[side])
    assert all((array == whole[name]).all() for name, array in arrays_of(resumed).items())


@pytest.mark.parametrize("first", PACKAGES)
def test_a_run_handed_over_equals_the_run_of_either_alone(runs, tmp_path, first):
    (other,) = PACKAGES.keys() - {first}
    handed = by_group(arrays_of(train(tmp_path / "run", first, stops=((5, other), (11, first)))))
    for side in PACKAGES:
        whole = by_group(arrays_of(runs[side]))
        assert max(group_error(handed[group], whole[group])[0] for group in whole) <= BOUNDS["float64"]


def test_it_is_certified(tmp_path):
    certificate = certify(NAME, replace(SETTINGS, steps=6), tmp_path / "certificate", Progress())
    assert certificate["certified"], certificate["largest"]
    assert certificate["steps"] == 6


def test_a_run_of_it_is_cross_checked():
    report = compare_runs("Tagger", steps=2)
    assert report.agrees, str(report)


def test_it_is_reported_by_its_own_figures(runs, tmp_path):
    page = write_report(list(runs.values()), tmp_path / "report")
    text = page.with_name("report.md").read_text()
    assert "| E_val | L_val | S_val |" in text
    assert "dtype float64; E_base 66.7%; steps 18." in text
    assert "best validation (lowest error rate, then lowest loss)" in text
    assert "speed: training tokens per second" in text
    assert (page.parent / "validation_error_rate.png").is_file()
    rows = collect(list(runs.values()))["runs"]
    assert rows[0]["validation_error_rate"] == min(
        r["error_rate"] for r in read(runs["torch"]) if r["kind"] == "validation"
    )
    assert "loss gap " in rows[0]["note"]  # training shows no error rate


def test_a_line_of_progress_shows_its_figures(runs, capsys):
    lines = Lines()
    lines.start("a run", 0, STEPS, LABELLING)
    lines.record({"kind": "validation", "step": 6, "loss": 0.5, "error_rate": 0.25, "whole_sequences": 0.125})
    assert "validation loss 0.5000, error rate 25.0%, whole sequences 0.125" in capsys.readouterr().err


def test_a_task_without_separate_examples_refuses_folds(tmp_path):
    with pytest.raises(IsogradError, match="--fold: .* has no separate examples to part"):
        train(tmp_path / "run", "torch", fold=(1, 5))


def test_a_loss_that_couples_rows_refuses_to_accumulate(monkeypatch, tmp_path):
    monkeypatch.setattr(LABELLING, "couples_rows", True, raising=False)
    with pytest.raises(IsogradError, match="compares the rows of a batch .* --accumulate"):
        train(tmp_path / "run", "torch", accumulate=2)
