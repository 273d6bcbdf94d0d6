"""What a search varies, and what stays the same: kept in its folder, so that it is resumed as it began."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from experiments.training.settings import Settings, check_settings
from shared.checkpoint import write_json
from shared.errors import IsogradError
from shared.json_text import parse_object, to_json

SPACE = "space.json"
VARIED = ("batch_size", "learning_rate", "epochs", "steps", "fold")  # settings that a search does not take


@dataclass(frozen=True)
class Space:
    """An experiment with its settings, and the values that are tried; rates are drawn between two, by their logarithm.

    `seed` is that of the search; that of the runs is a setting. A trial trains once for each of the `folds`.
    """

    experiment: str
    settings: dict[str, Any]
    batch_sizes: tuple[int, ...]
    learning_rates: tuple[float, float]
    epochs: tuple[int, ...]
    seed: int
    folds: int | None = None

    def check(self) -> None:
        """Raise IsogradError for values that no run can have."""
        low, high = self.learning_rates
        if not 0 < low <= high:
            raise IsogradError(f"--rates: expected two rates above 0, the lower one first, got {low} and {high}")
        for size in self.batch_sizes:
            check_settings(Settings(batch_size=size, learning_rate=high))
        for number in self.epochs:
            check_settings(Settings(epochs=number))
        if self.folds is not None and self.folds < 2:
            raise IsogradError(f"--folds: expected at least 2, got {self.folds}")

    def drawn(self, trial: Any) -> dict[str, Any]:
        """The values of a new trial of optuna."""
        return {
            "batch_size": trial.suggest_categorical("batch_size", self.batch_sizes),
            "learning_rate": trial.suggest_float("learning_rate", *self.learning_rates, log=True),
            "epochs": trial.suggest_categorical("epochs", self.epochs),
        }


def space_of(settings: Settings, experiment: str, values: dict[str, Any], seed: int) -> Space:
    """The space of a search; raises IsogradError for settings that it varies."""
    given = {name: value for name, value in settings.given.items() if name not in ("backend", "device")}
    if varied := [name for name in VARIED if name in given]:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in varied)
        raise IsogradError(f"a search varies {names} itself: use --batch-sizes, --rates, --epoch-counts and --folds")
    given = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    space = Space(experiment, given, **values, seed=seed)
    space.check()
    return space


def keep(folder: Path, space: Space) -> None:
    """Write the space into a new folder, or raise IsogradError if the folder holds a search with a different one."""
    ours, file = parse_object(to_json(asdict(space))), folder / SPACE
    if not file.is_file():
        write_json(file, ours)
        return
    theirs = parse_object(file.read_text("utf-8"))
    if different := [name for name in ours if ours[name] != theirs.get(name)]:
        texts = [f"{name} {theirs.get(name)}, not {ours[name]}" for name in different]
        raise IsogradError(f"{folder} holds a search with {'; '.join(texts)}: resume it as it began, or change --out")


def settings_of(space: Space, values: dict[str, Any], backend: str | None, device: str | None) -> Settings:
    """The settings of one trial."""
    given: dict[str, Any] = {name: Path(value) if name == "vocab" else value for name, value in space.settings.items()}
    return replace(Settings(**given), **values, backend=backend, device=device)
