"""The checkpoints of one run, written in the background: the last few, and the one with the best validation so far."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from experiments.progress.display import Record
from shared.arrays import Arrays
from shared.atomic import remove_leftovers
from shared.backend import State
from shared.errors import IsogradError
from shared.run_folder import (
    CHECKPOINTS,
    best_checkpoint,
    keep_last,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    read_state,
    save_best,
    save_checkpoint,
)
from shared.tasks.task import Figure, merit

KEPT = 3
TOGETHER = 2  # snapshots in memory: a step may be both a new best and due for a checkpoint


class Diverged(IsogradError):
    """A run whose numbers are no longer finite, or whose loss is far too large."""


class Checkpoints:
    """Saves the runner's snapshots; the best validation has the best first figure, then the lowest loss.

    A save returns at once unless two are unfinished; they are written one at a time, in order, and an error is
    raised by the next call, such as `check`. Leaving the context waits for the last one.
    """

    def __init__(
        self,
        folder: Path,
        to_arrays: Callable[[State], Arrays],
        figures: Sequence[Figure],
        sync_log: Callable[[], None] = lambda: None,
        advice: str = "",
    ) -> None:
        self.folder, self.figures, self.advice = folder, figures, advice
        self._to_arrays = to_arrays
        self._sync_log = sync_log  # a checkpoint must not hold steps that the log could lose in a power cut
        for place in (folder, folder / CHECKPOINTS):
            remove_leftovers(place)
        self._best = self._merit_of(best_checkpoint(folder))
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._unfinished: list[Future[None]] = []

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.shutdown(wait=True)
        if error is None:
            self.wait()

    def save(self, snapshot: State, state: dict[str, Any]) -> None:
        """Write checkpoints/step-N from a snapshot that nothing else modifies, and prune the older ones."""
        self._write_later(self._save, snapshot, state)

    def check(self) -> None:
        """Raise the error of a write that has failed by now, without waiting."""
        while self._unfinished and self._unfinished[0].done():
            self._unfinished.pop(0).result()

    def wait(self) -> None:
        """Return when everything is on disk; raises the error of a write that failed."""
        while self._unfinished:
            self._unfinished.pop(0).result()

    def _write_later(self, write: Callable[[Arrays, dict[str, Any]], None], snapshot: State, state: dict) -> None:
        while len(self._unfinished) >= TOGETHER:
            self._unfinished.pop(0).result()
        self._unfinished.append(self._writer.submit(self._write, write, snapshot, state))

    def _write(self, write: Callable[[Arrays, dict[str, Any]], None], snapshot: State, state: dict) -> None:
        arrays = self._finite_arrays(snapshot, state)
        if not self.folder.is_dir():  # a write would recreate it without the rest of the run
            raise IsogradError(f"training stopped: the run folder {self.folder} was moved or removed")
        try:
            self._sync_log()
            write(arrays, state)
        except (IsogradError, OSError) as error:
            go_on = f"resume with `isograd train --resume {self.folder}`"
            raise IsogradError(f"training stopped: {error}; {self._kept()}; then {go_on}") from error

    def _save(self, arrays: Arrays, state: dict[str, Any]) -> None:
        save_checkpoint(self.folder, state["step"], arrays, state)
        keep_last(self.folder, KEPT)

    def _save_best(self, arrays: Arrays, state: dict[str, Any]) -> None:
        save_best(self.folder, arrays, state)

    def _finite_arrays(self, snapshot: State, state: dict[str, Any]) -> Arrays:
        arrays = self._to_arrays(snapshot)
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise self.diverged(f"{name} is not finite after step {state['step']}")
        return arrays

    def diverged(self, what: str) -> Diverged:
        """The error that ends a run whose numbers are no longer finite."""
        return Diverged(f"training stopped: {what}; {self._kept()}; try a smaller --learning-rate{self.advice}")

    def _kept(self) -> str:
        saved = self.newest_path()
        return f"the last good checkpoint is {saved}" if saved else "no checkpoint had been written yet"

    def is_best(self, record: Record) -> bool:
        """Whether a validation is better than all earlier ones of the run."""
        return self._best is None or merit(record, self.figures) > self._best

    def save_best(self, snapshot: State, state: dict[str, Any]) -> None:
        """Write best/ from a snapshot."""
        self._best = merit(state["validation"], self.figures)
        self._write_later(self._save_best, snapshot, state)

    def _merit_of(self, best: Path | None) -> tuple[float, float] | None:
        try:
            return merit(read_state(best)["validation"], self.figures) if best else None
        except (IsogradError, KeyError):  # damaged: the next validation replaces it
            return None

    def newest_path(self) -> Path | None:
        """The newest intact checkpoint; None if there is none."""
        try:
            return latest_checkpoint(self.folder)[0]
        except IsogradError:
            return None


def newest_checkpoint(run: Path) -> tuple[Arrays, dict[str, Any], list[str]] | None:
    """The checkpoint to resume from, with notes on damaged ones that were skipped; IsogradError if all are damaged."""
    if not list_checkpoints(run):
        return None
    path, notes = latest_checkpoint(run)
    arrays, state = load_checkpoint(path)
    return arrays, state, notes


def notes_on_best(run: Path) -> list[str]:
    """A note if best/ is damaged, which stops nothing."""
    best = best_checkpoint(run)
    try:
        if best is not None:
            read_state(best)
    except IsogradError as error:
        return [f"the best checkpoint is damaged, and the next validation replaces it: {error}"]
    return []
