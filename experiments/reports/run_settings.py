"""All settings of a run by heading, in the words and the order of labels and tables."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from experiments.plain_text import printable
from experiments.reports.runs import Run
from shared.configs.experiment import Experiment
from shared.configs.optimizer import ParameterGroup

HEADINGS = {  # field of a configuration -> its heading; other fields are their own
    "warmup": "warm-up",
    "warmup_part": "warm-up part",
    "final": "decay to",
    "every": "decay every",
    "factor": "decay factor",
    "accumulate": "batches per update",
    "dropout_rng": "dropout masks",
    "groups": "parameter groups",
    "with_attention": "attention",
}
OF_RUN = {"experiment", "task", "model", "backend", "dtype", "device", "data", "vocabulary", "folder"}
DIGITS = 8  # of a fingerprint


def settings_of(run: Run) -> dict[str, Any]:
    """All settings of a run by heading, in the order of a label."""
    config = run.config
    return {
        "experiment": run.experiment,
        "backend": run.backend,
        "dtype": config.dtype,
        "device": config.device,
        "data": _source(config.data_source),
        "data fingerprint": config.data_fingerprint[:DIGITS],
        "vocabulary": config.tokenizer_origin,
        "vocabulary fingerprint": config.tokenizer_fingerprint[:DIGITS],
        **of_experiment(config.experiment),
    }


def _source(source: str | None) -> str:
    return "built in" if source is None else Path(source).name or source


def of_experiment(experiment: Experiment) -> dict[str, Any]:
    """The settings that an experiment holds; arguments of its model that share a name with another are the model's."""
    others = _of_training(experiment)
    arguments = {_heading(name): value for name, value in experiment.model.arguments.items()}
    taken = others.keys() | OF_RUN
    return {
        "task": experiment.task,
        "model": experiment.model.twin,
        **{f"model {name}" if name in taken else name: value for name, value in arguments.items()},
        **others,
    }


def _of_training(experiment: Experiment) -> dict[str, Any]:
    optimizer = experiment.optimizer
    return {
        "inputs": experiment.model.inputs,
        "optimizer": type(optimizer).__name__.removesuffix("Config"),
        **_fields(optimizer, besides=("name",)),
        "schedule": experiment.schedule.name,
        **_fields(experiment.schedule, besides=("name",)),
        **_fields(experiment.training),
        "batch size": experiment.batch_size,
        "length": experiment.length,
        "bucket lengths": experiment.bucket_lengths,
        "planned length": _length(experiment),
        "evaluate every": experiment.evaluate_every,
        "checkpoint every": experiment.checkpoint_every,
        "fold": experiment.fold and "{} of {}".format(*experiment.fold),
        "patience": experiment.patience,
        "seed": experiment.seed,
        "initial weights": experiment.initial or "random",
    }


def _length(experiment: Experiment) -> str:
    number, unit = (experiment.steps, "step") if experiment.steps else (experiment.epochs, "epoch")
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _fields(config: Any, besides: Iterable[str] = ()) -> dict[str, Any]:
    names = [field.name for field in fields(config) if field.name not in besides]
    return {_heading(name): getattr(config, name) for name in names}


def _heading(name: str) -> str:
    return printable(HEADINGS.get(name, name.replace("_", " ")))


def show(value: Any) -> str:
    """A setting as the text of a table's cell; different values have different texts."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}" if float(f"{value:g}") == value else repr(value)
        case ParameterGroup():
            changed = {name: each for name, each in vars(value).items() if each != getattr(ParameterGroup, name, None)}
            return " ".join(f"{name.replace('_', ' ')} {show(each)}" for name, each in changed.items())
        case list() | tuple():
            return ", ".join(map(show, value)) or "none"
    return printable(str(value))
