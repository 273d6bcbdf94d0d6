"""config.json of a run: everything needed to repeat it, written atomically and checked when read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from experiments.training.folder import CONFIG
from experiments.training.settings import problems_of
from shared.checkpoint import write_json
from shared.configs.experiment import Experiment, ModelConfig, SamplesConfig
from shared.configs.optimizer import OPTIMIZERS, ParameterGroup, ScheduleConfig, TrainingConfig
from shared.digests import digest_of_json
from shared.errors import IsogradError
from shared.json_text import parse_object

DIGEST = "sha256"  # in config.json: of what stays the same in all of a run
BESIDES = ("dtype", "data_fingerprint", "tokenizer_fingerprint")  # the experiment
MAY_CHANGE = ("steps", "patience", "title")  # of an experiment, between a run and its continuation
BEFORE_TASKS = ("training_examples", "validation_examples", "majority_accuracy")


@dataclass(frozen=True)
class RunConfig:
    """Everything that is needed to repeat a run, and what it ran on."""

    experiment: Experiment
    backend: str
    dtype: str
    device: str
    data_source: str | None  # None = built in, "hub", or a folder
    data_origin: str
    data_fingerprint: str
    tokenizer_origin: str
    tokenizer_fingerprint: str
    counts: dict[str, int]  # split -> number of the task's units
    parameters: int
    baseline: dict[str, float] = field(default_factory=dict)  # what a model must beat, by the name of a figure
    versions: dict[str, str] = field(default_factory=dict)
    resumed: list[dict[str, Any]] = field(default_factory=list)  # step and backend of each resumption


def write_config(folder: Path, config: RunConfig) -> None:
    """Write config.json atomically, with a digest of what must stay the same."""
    values = asdict(config)
    write_json(folder / CONFIG, {**values, DIGEST: _digest(values)})


def read_config(folder: Path) -> RunConfig:
    """Read config.json; raises IsogradError if this is not a run folder or the file was altered."""
    path = folder / CONFIG
    if not path.is_file():
        found = [part.name for part in sorted(folder.glob("*/")) if (part / CONFIG).is_file()]
        hint = f"; did you mean {' or '.join(str(folder / name) for name in found)}?" if found else ""
        raise IsogradError(f"expected a run folder with {CONFIG}, got {folder}{hint}")
    try:
        values = parse_object(path.read_text("utf-8"))
        values.pop(DIGEST, None)
        values = _as_today(values)
        config = RunConfig(**{**values, "experiment": experiment_from_json(values["experiment"])})
        if wrong := _wrong_types(config):
            raise TypeError(f"values of the wrong type: {', '.join(wrong)}")
        if wrong := problems_of(config.experiment):
            raise ValueError(f"values out of range: {'; '.join(wrong)}")
        return config
    except (ValueError, TypeError, KeyError) as error:
        raise IsogradError(f"{path}: expected a run configuration written by isograd, got {error}") from error


def check_unedited(folder: Path) -> None:
    """Raise IsogradError if the settings in config.json are not those that were written there; an old one can't tell.

    No checkpoint is needed, which would name them.
    """
    values = parse_object((folder / CONFIG).read_text("utf-8"))
    if DIGEST in values and values[DIGEST] != _digest(values):
        raise IsogradError(
            f"{folder / CONFIG} was edited: expected the settings that the run began with, got different ones: "
            "restore them, or start a new run with the new ones"
        )


def _digest(values: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in values["experiment"].items() if name not in MAY_CHANGE}
    return digest_of_json([kept, *(values.get(name) for name in BESIDES)])


def _as_today(values: dict[str, Any]) -> dict[str, Any]:
    """Rename the fields of a config.json written before there were tasks."""
    if "training_examples" not in values:
        return values
    kept = {name: value for name, value in values.items() if name not in BEFORE_TASKS}
    counts = {"train": values["training_examples"], "validation": values["validation_examples"]}
    majority = values.get("majority_accuracy")
    return {**kept, "counts": counts, "baseline": {} if majority is None else {"accuracy": majority}}


def _wrong_types(part: Any, place: str = "") -> list[str]:
    """The fields of a dataclass, including nested ones, whose values have the wrong type."""
    values = {name: (getattr(part, name), kind) for name, kind in get_type_hints(type(part)).items()}
    inner = [_wrong_types(part, f"{at}.") for name in values for at, part in _parts(values[name][0], place + name)]
    outer = [
        f"{place}{name} {value!r}"
        for name, (value, kind) in values.items()
        if not is_dataclass(value) and not _is_of(value, kind)
    ]
    return sum(inner, outer)


def _parts(value: Any, place: str) -> list[tuple[str, Any]]:
    """The dataclasses that a value is or holds, each with its place."""
    if isinstance(value, tuple):
        return [found for number, part in enumerate(value) for found in _parts(part, f"{place}.{number}")]
    return [(place, value)] if is_dataclass(value) else []


def _is_of(value: Any, kind: Any) -> bool:
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    plain = tuple(get_origin(part) or part for part in kinds)
    return isinstance(value, plain + ((int,) if float in plain else ())) and (
        bool in plain or not isinstance(value, bool)
    )


def experiment_from_json(values: dict[str, Any]) -> Experiment:
    """The inverse of `dataclasses.asdict` through JSON, where tuples have become lists."""
    model, training, buckets = values["model"], values["training"], values["bucket_lengths"]
    optimizer, samples = dict(values["optimizer"]), values.get("samples")
    groups = tuple(ParameterGroup(**{**group, "patterns": tuple(group["patterns"])}) for group in training["groups"])
    restored = {
        "model": ModelConfig(**{**model, "inputs": tuple(model["inputs"])}),
        "optimizer": OPTIMIZERS[optimizer.pop("name")](**optimizer),
        "training": TrainingConfig(**{**training, "groups": groups}),
        "schedule": ScheduleConfig(**values["schedule"]),
        "bucket_lengths": None if buckets is None else tuple(buckets),
        "fold": None if values.get("fold") is None else tuple(values["fold"]),
        "samples": None if samples is None else SamplesConfig(**{**samples, "prompts": tuple(samples["prompts"])}),
    }
    return Experiment(**{**values, **restored})
