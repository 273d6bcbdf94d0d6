"""`isograd search`: the batch size, learning rate and number of epochs with the best validation."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from experiments.catalogue import find_experiment
from experiments.commands.evaluate import Chosen, evaluated
from experiments.commands.options import command_line
from experiments.progress.display import Progress, make_progress, print_json
from experiments.search.outcome import TABLE, as_markdown, write_outcome
from experiments.search.space import SPACE, keep, space_of
from experiments.search.trials import Search
from experiments.training.folder import check_folder, locked
from experiments.training.run_config import RunConfig, read_config
from experiments.training.settings import Settings, typed
from experiments.training.threads import choose_threads
from shared.errors import IsogradError

NO_SETTINGS = Settings()
SPLITS = ("train", "validation", "test")


def search_command(
    experiment: str,
    /,
    settings: Settings = NO_SETTINGS,
    *,
    trials: int = 20,
    batch_sizes: tuple[int, ...] = (16, 32, 64),
    rates: tuple[float, float] = (1e-5, 1e-3),
    epoch_counts: tuple[int, ...] = (3, 10, 30),
    folds: int | None = None,
    search_seed: int = 0,
    out: Path | None = None,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Search the best batch size, learning rate and number of epochs of an experiment; again, it resumes.

    Each trial is a run whose best checkpoint counts. The best of all is evaluated on every split at the end; with
    folds, on none but the validation.

    Args:
        experiment: A name from the catalogue (`isograd list experiments`).
        settings: Changes to the experiment.
        trials: The number of runs in all; raise it to continue a search.
        batch_sizes: The sizes to choose from.
        rates: The lowest and the highest learning rate.
        epoch_counts: The numbers of epochs to choose from.
        folds: Cross-validation: a trial is the mean of so many runs, each validated on another part of the training
            examples.
        search_seed: The seed of the search; `--seed` is that of its runs.
        out: The folder of the search; if omitted, runs/EXPERIMENT-search.
        quiet: Show nothing until the end.
        json: Print JSON.
    """
    typed = _typed(experiment, settings, dict(locals()))
    values = {"batch_sizes": batch_sizes, "learning_rates": rates, "epochs": epoch_counts, "folds": folds}
    found_experiment, space = find_experiment(experiment), space_of(settings, experiment, values, search_seed)
    if trials < 1:
        raise IsogradError(f"--trials: expected at least 1, got {trials}")
    folder = out or Path("runs") / f"{experiment}-search"
    check_folder(folder)
    _check_ours(folder)
    choose_threads(found_experiment)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder), make_progress(quiet=quiet or json) as progress:
        keep(folder, space)
        search = Search(folder, space, settings.backend, settings.device)
        search.run(trials, progress)
        found = {"command": typed, "space": asdict(space), **_outcome(search, progress)}
        write_outcome(folder, found, search.figure)
    if json:
        print_json(found)
    else:
        print(as_markdown(found, search.figure), end="")
        print(f"wrote {folder / TABLE}, a figure beside it, and the runs")


def _outcome(search: Search, progress: Progress) -> dict[str, Any]:
    number = search.best()
    run, *others = search.runs(number).values()
    config = read_config(run)
    return {
        "experiment": search.space.experiment,
        "backend": config.backend,
        "device": config.versions["device"],
        "trials": list(search.rows()),
        "best": number,
        "scores": {"validation": _of_folds(search, number)} if others else _of_splits(run, config, progress),
    }


def _of_splits(run: Path, config: RunConfig, progress: Progress) -> dict[str, dict[str, Any]]:
    splits = [split for split in SPLITS if split in config.counts]
    scored = {split: evaluated(run, config, Chosen(split=split), progress) for split in splits}
    return {split: score["metrics"] for split, score in scored.items()}


def _of_folds(search: Search, number: int) -> dict[str, Any]:
    """The means over the folds of a trial, and of what a model must beat; no other split is looked at."""
    baselines = [read_config(run).baseline for run in search.runs(number).values()]
    means = {f"baseline_{name}": float(np.mean([each[name] for each in baselines])) for name in baselines[0]}
    return {**search.best_of(number), **means}


def _check_ours(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / SPACE).is_file():
        raise IsogradError(f"{folder} is not empty and holds no search: choose a different folder with --out")


def _typed(experiment: str, settings: Settings, given: dict[str, Any]) -> str:
    line = command_line("search", search_command, {**given, "settings": NO_SETTINGS, "out": None, "json": False})
    return " ".join([line, *map(shlex.quote, typed(settings.given))])
