"""The settings that `isograd train` may change, checked and applied; the ranges of its numbers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from shared.backend import DROPOUT_RNGS
from shared.configs.experiment import IMPLEMENTATIONS, Experiment, ModelConfig
from shared.configs.optimizer import OPTIMIZERS, ScheduleConfig
from shared.configs.validation import check_choice
from shared.data.batches import INPUTS
from shared.errors import IsogradError
from shared.parameter_groups import unused_settings
from shared.pretrained.initial import DROPOUTS, WITH_HEADS
from shared.schedules import SCHEDULES
from shared.tasks.table import TASKS


@dataclass(frozen=True)
class Settings:
    """Changes to an experiment of the catalogue, and what it runs on; anything left out keeps its value.

    Args:
        backend: torch, jax, or both in turn and then a report; if omitted, torch or the resumed run's.
        data: A folder with the dataset's files, or hub; if omitted, the built-in data.
        vocab: A vocab.txt or tokenizer.json.
        steps: The number of batches, instead of epochs.
        epochs: Passes over the data.
        batch_size: Examples per batch.
        learning_rate: The learning rate; with a schedule, its peak.
        seed: Seed of the weights, the data order and dropout.
        optimizer: sgd, adam, adamw, rmsprop or adagrad (`isograd list optimizers`), at the experiment's learning rate.
        fold: The number and the count of folds: this part of the training examples is the validation, for
            cross-validation.
        initial: A folder in the layout of Hugging Face, or minilm: start from its weights (BERT classifiers).
        schedule: constant, linear, cosine, step or epoch.
        warmup: Updates over which the rate rises from 0.
        decay_every: With `--schedule step`: updates between two decays.
        decay_factor: With `--schedule step` or `epoch`: the factor of each decay of the rate.
        decay_to: With `--schedule linear` or `cosine`: the fraction of the rate left at the end.
        clip_norm: The largest global norm of the gradients; larger ones are scaled down to it.
        accumulate: Batches whose gradients are accumulated into one update.
        dropout: The rate of every dropout of the model.
        average_decay: Evaluate a moving average of the weights with this decay.
        dropout_rng: shared (the same masks in both frameworks) or native (each framework's own).
        implementation: fused (as fast as the framework allows) or reference (written like the mathematics).
        bucketing: Pad batches to quarters of the length: the same results in less time.
        patience: Stop after this many validations without improvement.
        dtype: float32, float64, or bfloat16 (compute; the weights stay float32).
        device: cpu or cuda.
    """

    backend: str | None = None
    data: str | None = None
    vocab: Path | None = None
    steps: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    optimizer: str | None = None
    fold: tuple[int, int] | None = None
    initial: str | None = None
    schedule: str | None = None
    warmup: int | None = None
    decay_every: int | None = None
    decay_factor: float | None = None
    decay_to: float | None = None
    clip_norm: float | None = None
    accumulate: int | None = None
    dropout: float | None = None
    average_decay: float | None = None
    dropout_rng: str | None = None
    implementation: str | None = None
    bucketing: bool = False
    patience: int | None = None
    dtype: str | None = None
    device: str | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The settings that were given."""
        return {name: value for name, value in vars(self).items() if value is not None and value is not False}

    @property
    def place(self) -> "Place":
        """The backend, dtype and device of the run."""
        return Place(**{name: value for name, value in self.given.items() if name in Place._fields})


class Place(NamedTuple):
    """The backend, dtype and device of a run, which no experiment specifies."""

    backend: str = "torch"
    dtype: str = "float32"
    device: str = "cpu"


LARGEST_BATCH = 2**31  # tokens: batch size times length
COUNTS = ("length", "epochs", "evaluate_every", "checkpoint_every")  # not settings, but part of a run's config.json
RANGES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("steps", lambda steps: steps >= 1, "at least 1"),
    ("steps", lambda steps: steps < 2**63, "a number below 2**63"),
    ("warmup_part", lambda part: 0 <= part < 1, "a fraction of the updates, from 0 to below 1"),
    ("batch_size", lambda size: size >= 1, "at least 1"),
    ("batch_size", lambda size: size < 2**31, "a number below 2**31"),
    ("seed", lambda seed: 0 <= seed < 2**32, "a number from 0 to 4294967295"),
    ("learning_rate", lambda rate: 0 <= rate < float("inf"), "a finite number of at least 0"),
    ("warmup", lambda updates: updates >= 0, "at least 0"),
    ("decay_every", lambda updates: updates >= 1, "at least 1"),
    ("decay_factor", lambda factor: 0 <= factor < float("inf"), "a finite number of at least 0"),
    ("decay_to", lambda part: 0 <= part <= 1, "a fraction of the learning rate, from 0 to 1"),
    ("clip_norm", lambda norm: 0 < norm < float("inf"), "a finite number above 0"),
    ("accumulate", lambda batches: batches >= 1, "at least 1"),
    ("dropout", lambda rate: 0 <= rate < 1, "a number from 0 to below 1"),
    ("average_decay", lambda decay: 0 <= decay < 1, "a number from 0 to below 1"),
    ("fold", lambda fold: 1 <= fold[0] <= fold[1] and fold[1] >= 2, "a number and a count, such as 1 5"),
    ("patience", lambda validations: validations >= 1, "at least 1"),
    *((name, lambda count: count >= 1, "at least 1") for name in COUNTS),
    *((name, lambda count: count < 2**63, "a number below 2**63") for name in COUNTS),
)
MODEL_RANGES: dict[type, tuple[Callable[[Any], bool], str]] = {  # by the type of a model's argument
    int: (lambda count: 1 <= count < 2**31, "at least 1 and below 2**31"),
    float: (lambda rate: 0 <= rate < 1, "a number from 0 to below 1"),
}
MAY_BE_ZERO = ("padding_idx", "token_types")  # arguments of models
CHOICES: dict[str, Iterable[str]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "dropout_rng": DROPOUT_RNGS,
    "implementation": IMPLEMENTATIONS,
}
OF_SCHEDULES = {  # schedule -> the settings that it takes besides the warm-up
    "constant": (),
    "linear": ("decay_to",),
    "cosine": ("decay_to",),
    "step": ("decay_factor", "decay_every"),
    "epoch": ("decay_factor",),
}
SCHEDULE_FIELDS = {  # setting -> field of the schedule
    "schedule": "name",
    "warmup": "warmup",
    "decay_every": "every",
    "decay_factor": "factor",
    "decay_to": "final",
}
PLACES = {  # where in an experiment a setting goes; "" = the experiment itself
    "": ("steps", "epochs", "batch_size", "seed", "patience", "initial", "fold"),
    "optimizer": ("learning_rate",),
    "training": ("clip_norm", "accumulate", "average_decay", "dropout_rng"),
}


def check_settings(settings: Settings) -> None:
    """Raise one IsogradError with every setting that is out of range, or for the first unknown name."""
    problems = [f"{flag(name)}: {problem}" for name, problem in _out_of_range(vars(settings))]
    if problems:
        raise IsogradError("; ".join(problems))
    if settings.steps is not None and settings.epochs is not None:
        raise IsogradError("--steps and --epochs both set the length of a run: leave one of them out")
    for name, choices in CHOICES.items():
        if getattr(settings, name) is not None:
            check_choice(name, getattr(settings, name), choices)


def problems_of(experiment: Experiment) -> list[str]:
    """The out-of-range values of an experiment that was read from a file."""
    values: dict[str, Any] = {}
    for place in PLACES:
        values |= vars(getattr(experiment, place) if place else experiment)
    values |= {name: getattr(experiment.schedule, field) for name, field in SCHEDULE_FIELDS.items()}
    found = _out_of_range(values)
    for name, value in experiment.model.arguments.items():
        may_be_zero = name in MAY_BE_ZERO and value == 0
        is_right, expected = MODEL_RANGES.get(type(value), (lambda value: True, ""))
        if not may_be_zero and not is_right(value):
            found.append((name, f"expected {expected}, got {value}"))
    if experiment.batch_size * experiment.length >= LARGEST_BATCH:
        found.append(("batch_size", f"expected fewer than {LARGEST_BATCH:,} tokens in a batch"))
    if experiment.task not in TASKS:
        found.append(("task", f"expected one of {', '.join(TASKS)}, got {experiment.task}"))
    if unused := unused_settings(experiment.training.groups):
        found.append(("groups", f"expected frozen groups without weight_decay or rate_factor, got {', '.join(unused)}"))
    if unknown := set(experiment.model.inputs) - set(INPUTS):
        found.append(("inputs", f"expected some of {', '.join(INPUTS)}, got {sorted(map(str, unknown))}"))
    return [f"{name}: {problem}" for name, problem in found]


def _out_of_range(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The names in RANGES with invalid values, and what is wrong with them; None means left out."""
    return [
        (name, f"expected {expected}, got {values[name]}")
        for name, is_right, expected in RANGES
        if values.get(name) is not None and not is_right(values[name])
    ]


def with_settings(experiment: Experiment, settings: Settings) -> Experiment:
    """The experiment with the settings applied."""
    if settings.optimizer not in (None, experiment.optimizer.name):
        rule = OPTIMIZERS[str(settings.optimizer)](learning_rate=experiment.optimizer.learning_rate)
        experiment = replace(experiment, optimizer=rule)
    if settings.epochs is not None:
        experiment = replace(experiment, steps=None)
    for place, names in PLACES.items():
        given = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
        part: Any = getattr(experiment, place) if place else experiment
        experiment = replace(experiment, **({place: replace(part, **given)} if place else given))
    if settings.implementation is not None:
        experiment = replace(experiment, model=_implemented(experiment.model, settings.implementation))
    if settings.dropout is not None:
        experiment = replace(experiment, model=_with_dropout(experiment.model, settings.dropout))
    changes: dict[str, Any] = {
        field: getattr(settings, name) for name, field in SCHEDULE_FIELDS.items() if getattr(settings, name) is not None
    }
    if settings.warmup is not None:
        changes["warmup_part"] = 0.0
    schedule = replace(experiment.schedule, **changes)
    _check_decay(settings, schedule)
    return replace(experiment, schedule=schedule)


def _implemented(model: ModelConfig, implementation: str) -> ModelConfig:
    if "implementation" not in model.arguments:
        raise IsogradError(f"{model.twin} has only one implementation: leave out --implementation")
    return replace(model, arguments={**model.arguments, "implementation": implementation})


def _with_dropout(model: ModelConfig, rate: float) -> ModelConfig:
    rates = {name: rate for name in DROPOUTS if name in model.arguments or model.twin in WITH_HEADS}
    if not rates:
        raise IsogradError(f"{model.twin} has no dropout: leave out --dropout")
    return replace(model, arguments={**model.arguments, **rates})


def _check_decay(settings: Settings, schedule: ScheduleConfig) -> None:
    """Raise for settings that the schedule would ignore, and for decays that change nothing."""
    taken = OF_SCHEDULES[schedule.name]
    ignored = [
        flag(name)
        for names in OF_SCHEDULES.values()
        for name in names
        if name not in taken and getattr(settings, name) is not None
    ]
    if ignored:
        names = " and no ".join(dict.fromkeys(ignored))
        raise IsogradError(f"the {schedule.name} schedule has no {names}: leave it out or change --schedule")
    if "decay_factor" in taken and schedule.factor == 1:
        raise IsogradError(
            f"the {schedule.name} schedule multiplies the rate by a factor: expected --decay-factor, such as 0.5"
        )


def check_updates(settings: Settings, steps: int, experiment: Experiment) -> list[str]:
    """Raise for given settings that a run of so many steps never gets to use; returns notes on the experiment's own."""
    batches, warmup = experiment.training.accumulate, experiment.schedule.warmup
    updates = steps // batches
    if settings.accumulate is not None and updates < 1:
        raise IsogradError(f"--accumulate {batches}: a run of {steps} steps makes no update: expected at most {steps}")
    if settings.warmup is not None and warmup > updates:
        raise IsogradError(
            f"--warmup {warmup}: the run has only {updates} updates and would end before its full rate: expected at "
            f"most {updates}, or more --steps"
        )
    if warmup > updates:
        return [f"the warm-up of {experiment.name} takes {warmup} updates, and this run ends after {updates}"]
    return []


def flag(option: str) -> str:
    """The option as typed on the command line."""
    return f"--{option.replace('_', '-')}"


def typed(given: Mapping[str, Any]) -> list[str]:
    """The words that give these options their values on the command line."""
    return [word for name, value in given.items() for word in (flag(name), *words_of(value))]


def words_of(value: Any) -> list[str]:
    """A value as typed: none of its own for a switch, several for a tuple."""
    return [] if value is True else [str(part) for part in (value if isinstance(value, tuple) else (value,))]
