"""The checkpoints of one run: the last few, and the one with the best validation so far."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.progress import Record
from shared.errors import IsogradError
from shared.run_folder import (
    best_checkpoint,
    keep_last,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    read_state,
    save_best,
    save_checkpoint,
)

KEPT = 3
Arrays = dict[str, np.ndarray]


class Checkpoints:
    """Saves what the runner hands over; best = highest validation accuracy, then lowest validation loss."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._best = _merit_of(best_checkpoint(folder))

    def save(self, arrays: Arrays, state: dict[str, Any]) -> None:
        save_checkpoint(self.folder, state["step"], arrays, state)
        keep_last(self.folder, KEPT)

    def is_best(self, record: Record) -> bool:
        """Whether a validation is better than every earlier one of the run."""
        return self._best is None or _merit(record) > self._best

    def save_best(self, arrays: Arrays, state: dict[str, Any]) -> None:
        save_best(self.folder, arrays, state)
        self._best = _merit(state["validation"])

    def newest_path(self) -> Path | None:
        """The newest whole checkpoint; None if none was written yet."""
        return latest_checkpoint(self.folder)[0] if list_checkpoints(self.folder) else None

    def newest(self) -> tuple[Arrays, dict[str, Any], list[str]] | None:
        """What to go on from, with notes on damaged ones that were passed over; IsogradError if all are damaged."""
        if not list_checkpoints(self.folder):
            return None
        path, notes = latest_checkpoint(self.folder)
        arrays, state = load_checkpoint(path)
        return arrays, state, notes


def _merit_of(best: Path | None) -> tuple[float, float] | None:
    try:
        return _merit(read_state(best)["validation"]) if best else None
    except (IsogradError, KeyError):  # damaged: the next validation takes its place
        return None


def _merit(validation: Record) -> tuple[float, float]:
    return validation["accuracy"], -validation["loss"]
