"""A run with patience ends after that many validations without improvement, resumed or not, and says so."""

from dataclasses import replace
from functools import partial

import pytest
from fake_backend import FakeBackend
from notes import Notes
from records import without_times

from experiments.catalogue import find_experiment
from experiments.progress.display import Progress
from experiments.training import launch
from experiments.training.settings import Settings
from shared.errors import IsogradError
from shared.metrics_log import read
from shared.run_folder import best_checkpoint, latest_checkpoint, read_state

NAME = "reviews-1-small"
PATIENT = Settings(steps=400, patience=3, learning_rate=0.05)


@pytest.fixture(autouse=True)
def _fake(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(launch, "load_backend", lambda name, **given: FakeBackend(**given))
    often = partial(replace, evaluate_every=5, checkpoint_every=10)
    monkeypatch.setattr(launch, "find_experiment", lambda name: often(find_experiment(name)))


def validations(folder):
    return [record for record in read(folder) if record["kind"] == "validation"]


def since_best(folder):
    merits = [(record["accuracy"], -record["loss"]) for record in validations(folder)]
    return len(merits) - 1 - merits.index(max(merits))


@pytest.fixture
def whole(tmp_path):
    launch.start(NAME, PATIENT, tmp_path / "whole", notes := Notes())
    return tmp_path / "whole", notes.texts


def test_it_ends_at_the_first_validation_that_spends_the_patience_and_saves(whole):
    folder, notes = whole
    last = validations(folder)[-1]["step"]
    assert last < 400
    assert since_best(folder) == 3
    assert read_state(latest_checkpoint(folder)[0])["step"] == last
    assert read_state(best_checkpoint(folder))["step"] == last - 3 * 5
    assert f"stopped early at step {last} of 400: 3 validations without improvement" in notes


@pytest.mark.parametrize("back", [2, 7, 11])
def test_a_resumed_run_counts_what_it_had_seen(whole, tmp_path, back):
    folder, _ = whole
    last = validations(folder)[-1]["step"]
    launch.start(NAME, PATIENT, tmp_path / "run", Progress(), stop_at=last - back)
    launch.resume(tmp_path / "run", Progress())
    assert without_times(read(tmp_path / "run")) == without_times(read(folder))


def test_a_run_that_has_stopped_is_complete_until_more_patience_is_asked_for(whole):
    folder, _ = whole
    before = read(folder)
    launch.resume(folder, notes := Notes())
    last = before[-1]["step"]
    sentence = f"stopped early at step {last} of 400, 3 validations without improvement; raise --patience to continue"
    assert notes.texts == ["loading torch", f"{folder} is complete: {sentence}"]
    assert read(folder) == before
    launch.resume(folder, Progress(), patience=5)
    assert read(folder)[: len(before)] == before
    assert since_best(folder) == 5 or validations(folder)[-1]["step"] == 400


def test_without_patience_a_run_goes_to_its_end(tmp_path):
    launch.start(NAME, replace(PATIENT, patience=None, steps=60), tmp_path / "run", Progress())
    assert validations(tmp_path / "run")[-1]["step"] == 60


@pytest.mark.parametrize("patience", [0, -1])
def test_a_patience_below_one_is_refused(tmp_path, patience):
    with pytest.raises(IsogradError, match=f"--patience: expected at least 1, got {patience}"):
        launch.start(NAME, replace(PATIENT, patience=patience), tmp_path / "run", Progress())
    assert not (tmp_path / "run").exists()
