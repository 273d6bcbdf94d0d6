"""A search is resumed as it began, keeps the best checkpoint, and ends with figures of every split."""

import json
from pathlib import Path

import pytest
from fake_backend import FakeBackend

from experiments import cli
from experiments.catalogue import find_experiment
from experiments.search.outcome import TABLE, as_markdown
from experiments.search.space import Space, settings_of, space_of
from experiments.search.trials import JOURNAL, Search
from experiments.training import launch
from experiments.training.run_config import read_config
from experiments.training.settings import Settings
from shared.run_folder import best_checkpoint, read_state
from shared.tasks.table import task_of

VALUES = ["--rates", "1e-4", "1e-1", "--epoch-counts", "1", "2"]
SEARCH = ["search", "reviews-1-small", *VALUES, "--out", "found", "--json"]


@pytest.fixture(autouse=True)
def numpy_backend(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "load_backend", lambda name, **given: FakeBackend(**given))


def a_space(experiment="reviews-1-small", **given):
    kept = {"batch_sizes": (2,), "learning_rates": (1e-4, 1e-1), "epochs": (1,), "seed": 0}
    return Space(experiment, {}, **{**kept, **given})


def searched(capsys, trials, *options):
    assert cli.main([*SEARCH, "--trials", str(trials), *options]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def test_a_resumed_search_tries_what_the_uninterrupted_one_tries(capsys, tmp_path):
    whole = searched(capsys, 5)
    (tmp_path / "found").rename(tmp_path / "whole")
    searched(capsys, 2)
    assert searched(capsys, 5)["trials"] == whole["trials"]
    assert len({row["learning_rate"] for row in whole["trials"]}) == 5


def test_an_interrupted_trial_is_finished(capsys, tmp_path, monkeypatch):
    whole = searched(capsys, 2)["trials"]
    (tmp_path / "found").rename(tmp_path / "whole")
    start = launch.start

    def stopping(*given, **named):
        start(*given, **named, stop_at=3)
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "start", stopping)
    assert cli.main([*SEARCH, "--trials", "2"]) == 130
    monkeypatch.setattr(launch, "start", start)
    capsys.readouterr()
    assert searched(capsys, 2)["trials"] == whole


def test_a_trial_that_was_stopped_before_it_had_drawn_its_values_counts_as_failed(capsys, monkeypatch):
    def stopping(space, trial):
        trial.suggest_categorical("batch_size", space.batch_sizes)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Space, "drawn", stopping)
        assert cli.main([*SEARCH, "--trials", "2"]) == 130
    capsys.readouterr()
    assert [row["state"] for row in searched(capsys, 2)["trials"]] == ["fail", "complete"]


def test_the_best_trial_has_the_best_validation_and_is_scored_on_every_split(capsys, tmp_path):
    found = searched(capsys, 4)
    rows = {row["trial"]: row for row in found["trials"]}
    assert rows[found["best"]]["accuracy"] == max(row["accuracy"] for row in rows.values())
    saved = read_state(best_checkpoint(tmp_path / "found" / f"trial-{found['best']:03}"))
    assert (
        rows[found["best"]]["accuracy"] == saved["validation"]["accuracy"] == found["scores"]["validation"]["accuracy"]
    )
    assert found["scores"].keys() == {"train", "validation"}
    assert all("baseline_accuracy" in score for score in found["scores"].values())
    table = (tmp_path / "found" / TABLE).read_text()
    assert table.count("\n| ") == 1 + len(rows) + 1 + len(found["scores"])
    assert (tmp_path / "found" / "search.svg").read_text().startswith("<svg")


def test_a_quiet_search_shows_nothing_until_its_end(capsys):
    assert cli.main([*SEARCH[:-1], "--trials", "1", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_trial_that_diverges_counts_as_failed(capsys, monkeypatch):
    monkeypatch.setattr(launch, "load_backend", lambda name, **given: FakeBackend(**given, nan_at=2))
    assert cli.main([*SEARCH, "--trials", "2"]) == 2
    assert "every trial in found diverged" in capsys.readouterr().err
    assert [row["state"] for row in Search(Path("found"), a_space(), None, None).rows()] == ["fail", "fail"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--trials", "0"], "--trials: expected at least 1, got 0"),
        (["--batch-size", "8"], "a search varies --batch-size itself: use --batch-sizes"),
        (["--rates", "1e-2", "inf"], "--learning-rate: expected a finite number"),
        (["--rates", "1e-2", "1e-3"], "--rates: expected two rates above 0, the lower one first"),
        (["--epoch-counts", "0"], "--epochs: expected at least 1, got 0"),
        (["--batch-sizes", "0"], "--batch-size: expected at least 1, got 0"),
        (["--folds", "1"], "--folds: expected at least 2, got 1"),
        (["--fold", "1", "2"], "a search varies --fold itself"),
        (["--out", "."], "is not empty and holds no search"),
    ],
)
def test_what_can_not_be_searched_is_refused_in_one_sentence(options, sentence, capsys, tmp_path):
    (tmp_path / "file").touch()
    assert cli.main([*SEARCH, *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "found").exists()


def test_a_search_keeps_its_space(capsys, tmp_path):
    searched(capsys, 1)
    assert cli.main([*SEARCH, "--trials", "2", "--seed", "1"]) == 2
    assert "found holds a search with settings {}, not {'seed': 1}" in capsys.readouterr().err
    (tmp_path / "found" / JOURNAL).write_text("nonsense\n")
    assert cli.main([*SEARCH, "--trials", "2"]) == 2
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(("experiment", "direction"), [("reviews-1-small", "MAXIMIZE"), ("lm-pydoc-small", "MINIMIZE")])
def test_a_search_learns_towards_the_better_figure(experiment, direction, tmp_path):
    assert Search(tmp_path, a_space(experiment), "torch", None).study.direction.name == direction


def test_rates_are_drawn_by_their_logarithm(tmp_path):
    space = a_space()
    trial = Search(tmp_path, space, "torch", None).study.ask()
    assert set(space.drawn(trial)) == {"batch_size", "learning_rate", "epochs"}
    assert trial.distributions["learning_rate"].log


def test_of_trials_alike_in_their_figure_the_lowest_loss_is_best_and_then_the_first(tmp_path, monkeypatch):
    losses = (0.3, 0.2, 0.2, 0.4)
    rows = [{"trial": n, "state": "complete", "accuracy": 0.5, "loss": loss} for n, loss in enumerate(losses)]
    monkeypatch.setattr(Search, "rows", lambda self: iter(rows))
    assert Search(tmp_path, a_space(), "torch", None).best() == 1


def test_of_language_models_the_one_of_the_lowest_perplexity_is_best(tmp_path, monkeypatch):
    rows = [{"trial": n, "state": "complete", "perplexity": each, "loss": 1.0} for n, each in enumerate((9, 7, 8))]
    monkeypatch.setattr(Search, "rows", lambda self: iter(rows))
    assert Search(tmp_path, a_space("lm-pydoc-small"), "torch", None).best() == 1


@pytest.mark.parametrize(("experiment", "best"), [("reviews-1-small", 0.75), ("lm-pydoc-small", 0.25)])
def test_the_table_begins_with_the_best_trial(experiment, best):
    figure = task_of(find_experiment(experiment)).figures[0]
    row = {"state": "complete", "batch_size": 2, "learning_rate": 0.1, "epochs": 1, "loss": 1.0, "best_step": 3}
    trials = [{**row, "trial": n, figure.name: each} for n, each in enumerate((0.5, 0.25, 0.75))]
    found = {"experiment": experiment, "backend": "torch", "command": "c", "trials": trials, "scores": {}, "best": 2}
    lines = as_markdown({**found, "space": {"folds": None}}, figure).splitlines()
    rows = [line for line in lines if line[:4] in ("| 0 ", "| 1 ", "| 2 ")]
    assert f" {figure.show.format(best)} " in rows[0]
    assert f" {figure.show.format(1 - best)} " in rows[-1]


def test_a_trial_has_the_settings_that_were_given_whatever_a_search_keeps_as_text():
    given = Settings(vocab=Path("words.txt"), patience=3, backend="jax", device="cuda")
    varied = {"batch_sizes": (2,), "learning_rates": (1e-4, 1e-1), "epochs": (1,), "folds": 2}
    space = space_of(given, "reviews-1-small", varied, seed=0)
    assert space.settings == {"vocab": "words.txt", "patience": 3}
    values = {"batch_size": 2, "learning_rate": 1e-2, "epochs": 1}
    assert settings_of(space, values, "torch", "cpu") == Settings(
        vocab=Path("words.txt"), patience=3, backend="torch", device="cpu", **values
    )


def test_the_values_depend_on_the_seed_of_the_search_and_on_the_number_of_the_trial(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(Search, "_finish", lambda self, number, values, progress: found.append(values["learning_rate"]))
    for seed in (0, 7):
        space = a_space(seed=seed)
        (tmp_path / str(seed)).mkdir()
        Search(tmp_path / str(seed), space, "torch", None).run(2, None)
    assert len(set(found)) == len(found) == 4


def test_with_folds_a_trial_is_the_mean_of_runs_that_validate_every_example_once(capsys, tmp_path):
    found = searched(capsys, 2, "--folds", "2")
    (row, *_) = found["trials"]
    runs = [tmp_path / "found" / "trial-000" / f"fold-{fold}" for fold in (1, 2)]
    saved = [read_state(best_checkpoint(run))["validation"] for run in runs]
    assert row["accuracy"] == sum(each["accuracy"] for each in saved) / 2
    counts = [read_config(run).counts for run in runs]
    assert len({read_config(run).experiment.seed for run in runs}) == 1
    assert sum(each["validation"] for each in counts) == sum(counts[0][split] for split in ("train", "validation"))
    assert found["scores"].keys() == {"validation"}
