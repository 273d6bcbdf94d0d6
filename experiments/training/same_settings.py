"""The settings that a checkpoint was trained with, kept in its state: an edited config.json is noticed."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.training.folder import CONFIG
from experiments.training.run_config import MAY_CHANGE
from shared.configs.experiment import Experiment
from shared.errors import IsogradError
from shared.json_text import parse_object, to_json

SETTINGS = "settings"  # in the state of a checkpoint
OF_MODEL = ("model", "length", "task")  # what an evaluation depends on


def settings_of(experiment: Experiment) -> dict[str, Any]:
    """The settings of an experiment that stay the same in all of its run, as JSON."""
    values = parse_object(to_json(asdict(experiment)))
    return {name: value for name, value in values.items() if name not in MAY_CHANGE}


def check_settings_of(
    state: Mapping[str, Any], experiment: Experiment, run: Path, names: Iterable[str] | None = None
) -> None:
    """Raise IsogradError if a config.json has different settings than the checkpoint with this state.

    A checkpoint that was written before its state had all settings holds only some of them.
    """
    ours = settings_of(experiment)
    saved = state.get(SETTINGS)
    theirs = saved if isinstance(saved, Mapping) else _of_older_state(state, ours)
    chosen = [name for name in ours if names is None or name in names]
    different = [text for name in chosen for text in _differences(name, ours[name], theirs.get(name, ours[name]))]
    if different:
        raise IsogradError(
            f"{run / CONFIG} was edited: expected the settings of the checkpoint, got {'; '.join(different)}: "
            "restore them, or start a new run with the new ones"
        )


def _of_older_state(state: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a state without SETTINGS: the seed, the schedule, the learning rate and the model's arguments."""
    saved = state.get("schedule")
    schedule = dict(saved) if isinstance(saved, Mapping) else {}
    rate = schedule.pop("learning_rate", ours["optimizer"]["learning_rate"])
    return {
        "seed": state.get("seed", ours["seed"]),
        "schedule": {**ours["schedule"], **schedule},
        "optimizer": {**ours["optimizer"], "learning_rate": rate},
        "model": {**ours["model"], "arguments": state.get("arguments", ours["model"]["arguments"])},
    }


def _differences(name: str, ours: Any, theirs: Any) -> list[str]:
    """Every setting in which two values differ, down to plain ones."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [key for key in (*theirs, *ours) if ours.get(key) != theirs.get(key)]
        return [
            text
            for key in dict.fromkeys(keys)
            for text in _differences(f"{name}.{key}", ours.get(key), theirs.get(key))
        ]
    return [] if ours == theirs else [f"{name} {ours} instead of {theirs}"]
