"""The trials of a search: each is a run, or one for each fold, in folders of its own; interrupted ones are resumed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.progress.display import Progress
from experiments.search.space import Space, settings_of
from experiments.training import launch
from experiments.training.checkpoints import Diverged
from experiments.training.folder import CONFIG
from experiments.training.run_config import read_config
from shared.errors import IsogradError
from shared.run_folder import best_checkpoint, read_state
from shared.tasks.table import task_of

JOURNAL, NAME = "trials.jsonl", "search"
FINISHED = ("complete", "fail")


class Search:
    """Trials of optuna in a folder, by its tree-structured Parzen estimator (Bergstra et al. 2011).

    The values of trial n depend on the seed of the search, on n and on the results before it: a search that was
    interrupted and resumed tries the same.
    """

    def __init__(self, folder: Path, space: Space, backend: str | None, device: str | None) -> None:
        self.folder, self.space, self.place = folder, space, (backend, device)
        figure = task_of(launch.find_experiment(space.experiment)).figures[0]
        self.figure = figure
        self.study = _study(folder / JOURNAL, "maximize" if figure.higher_is_better else "minimize")

    def run(self, count: int, progress: Progress) -> None:
        """Finish trials until there are `count` of them; a trial that diverges counts as failed."""
        for trial in self.study.trials:
            if trial.state.name.lower() not in FINISHED:
                self._go_on_with(trial, progress)
        while len(self.study.trials) < count:
            self.study.sampler = _sampler(self.space.seed + len(self.study.trials))
            trial = self.study.ask()
            self._finish(trial.number, self.space.drawn(trial), progress)

    def _go_on_with(self, trial: Any, progress: Progress) -> None:
        """Finish an interrupted trial; one that had not yet drawn its values counts as failed."""
        from optuna.trial import TrialState

        if trial.params.keys() == {"batch_size", "learning_rate", "epochs"}:
            self._finish(trial.number, trial.params, progress)
        else:
            self.study.tell(trial.number, state=TrialState.FAIL)

    def _finish(self, number: int, values: dict[str, Any], progress: Progress) -> None:
        from optuna.trial import TrialState

        progress.note(f"trial {number}: {', '.join(f'{name} {value:g}' for name, value in values.items())}")
        settings = settings_of(self.space, values, *self.place)
        try:
            for fold, run in self.runs(number).items():
                if (run / CONFIG).is_file():
                    launch.resume(run, progress)
                else:
                    launch.start(self.space.experiment, replace(settings, fold=fold), run, progress)
        except Diverged as error:
            progress.note(f"trial {number} failed: {error}")
            self.study.tell(number, state=TrialState.FAIL)
        else:
            self.study.tell(number, self.best_of(number)[self.figure.name])

    def runs(self, number: int) -> dict[tuple[int, int] | None, Path]:
        """The run folder of a trial, or one for each fold."""
        path, count = self.folder / f"trial-{number:03}", self.space.folds
        if count is None:
            return {None: path}
        return {(fold, count): path / f"fold-{fold}" for fold in range(1, count + 1)}

    def best_of(self, number: int) -> dict[str, float]:
        """The step and the figures of a trial's best checkpoint, or the means over its folds."""
        saved = [_best(run) for run in self.runs(number).values()]
        found = [{"best_step": state["step"], **state["validation"]} for state in saved]
        return (
            found[0] if len(found) == 1 else {name: float(np.mean([each[name] for each in found])) for name in found[0]}
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """What each finished trial tried, and its best validation."""
        for trial in self.study.trials:
            row = {"trial": trial.number, **trial.params, "state": trial.state.name.lower()}
            if row["state"] == "complete":
                first, *_ = self.runs(trial.number).values()
                row |= {"backend": read_config(first).backend, **self.best_of(trial.number)}
            yield row

    def best(self) -> int:
        """The number of the trial with the best validation, the first of equals; raises IsogradError if all failed."""
        done = [row for row in self.rows() if row["state"] == "complete"]
        if not done:
            raise IsogradError(f"every trial in {self.folder} diverged: try lower --rates")
        sign = 1 if self.figure.higher_is_better else -1
        return max(done, key=lambda row: (sign * row[self.figure.name], -row["loss"], -row["trial"]))["trial"]


def _best(run: Path) -> dict[str, Any]:
    best = best_checkpoint(run)
    if best is None:
        raise IsogradError(f"{run} has no best checkpoint: remove the folder of the search and start it again")
    return read_state(best)


def _study(journal: Path, direction: str) -> Any:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    Path(f"{journal}.lock").unlink(missing_ok=True)  # left by a process that was killed: the folder's own lock holds
    try:
        lock = JournalFileOpenLock(str(journal))
        storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
        return optuna.create_study(storage=storage, study_name=NAME, direction=direction, load_if_exists=True)
    except (ValueError, KeyError, TypeError) as error:
        raise IsogradError(f"{journal} is damaged ({error}): restore it, or start a new search") from error


def _sampler(seed: int) -> Any:
    import optuna

    return optuna.samplers.TPESampler(seed=seed)
