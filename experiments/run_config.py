"""The folder of a run: what is in it, its config.json, and the lock that keeps a second process out."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from experiments.settings import problems_of
from shared.checkpoint import write_json
from shared.configs.experiment import Experiment, ModelConfig
from shared.configs.optimizer import OPTIMIZERS, ParameterGroup, ScheduleConfig, TrainingConfig
from shared.errors import IsogradError

CONFIG, TOKENIZER, LOCK = "config.json", "tokenizer.json", ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of a file system without them, such as some of clusters


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
    training_examples: int
    validation_examples: int
    parameters: int
    majority_accuracy: float | None = None  # on the validation split, of the commonest training label
    versions: dict[str, str] = field(default_factory=dict)
    resumed: list[dict[str, Any]] = field(default_factory=list)  # step and backend of each resumption


def write_config(folder: Path, config: RunConfig) -> None:
    """Write config.json atomically."""
    write_json(folder / CONFIG, asdict(config))


def read_config(folder: Path) -> RunConfig:
    """Read config.json; raises IsogradError if this is no run folder or the file is not as it was written."""
    path = folder / CONFIG
    if not path.is_file():
        found = [part.name for part in sorted(folder.glob("*/")) if (part / CONFIG).is_file()]
        hint = f"; did you mean {' or '.join(str(folder / name) for name in found)}?" if found else ""
        raise IsogradError(f"expected a run folder with {CONFIG}, got {folder}{hint}")
    try:
        values = json.loads(path.read_text("utf-8"))
        config = RunConfig(**{**values, "experiment": experiment_from_json(values["experiment"])})
        if wrong := _wrong_types(config):
            raise TypeError(f"values of another type: {', '.join(wrong)}")
        if wrong := problems_of(config.experiment):
            raise ValueError(f"values out of range: {'; '.join(wrong)}")
        return config
    except (ValueError, TypeError, KeyError) as error:
        raise IsogradError(f"{path}: expected the configuration of a run as isograd writes it, got {error}") from error


def _wrong_types(part: Any, place: str = "") -> list[str]:
    """The fields of a dataclass, and of those within it, whose values are not of the type that they have there."""
    values = {name: (getattr(part, name), kind) for name, kind in get_type_hints(type(part)).items()}
    inner = [_wrong_types(value, f"{place}{name}.") for name, (value, _) in values.items() if is_dataclass(value)]
    outer = [
        f"{place}{name} {value!r}"
        for name, (value, kind) in values.items()
        if not is_dataclass(value) and not _is_of(value, kind)
    ]
    return sum(inner, outer)


def _is_of(value: Any, kind: Any) -> bool:
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    plain = tuple(get_origin(part) or part for part in kinds)
    return isinstance(value, plain + ((int,) if float in plain else ())) and (
        bool in plain or not isinstance(value, bool)
    )


def experiment_from_json(values: dict[str, Any]) -> Experiment:
    """The inverse of `dataclasses.asdict` through JSON, where tuples have become lists."""
    model, training, buckets = values["model"], values["training"], values["bucket_lengths"]
    optimizer = dict(values["optimizer"])
    groups = tuple(ParameterGroup(**{**group, "patterns": tuple(group["patterns"])}) for group in training["groups"])
    restored = {
        "model": ModelConfig(**{**model, "inputs": tuple(model["inputs"])}),
        "optimizer": OPTIMIZERS[optimizer.pop("name")](**optimizer),
        "training": TrainingConfig(**{**training, "groups": groups}),
        "schedule": ScheduleConfig(**values["schedule"]),
        "bucket_lengths": None if buckets is None else tuple(buckets),
    }
    return Experiment(**{**values, **restored})


def check_unused(folder: Path) -> None:
    """Raise unless a new run may go here."""
    if folder.exists() and not folder.is_dir():
        raise IsogradError(f"expected a folder for the run, got the file {folder}: choose another one with --out")
    if folder.is_dir() and not _is_unused(folder):
        is_run = (folder / CONFIG).is_file()
        hint = f"go on with its run by `isograd train --resume {folder}`, or " if is_run else ""
        raise IsogradError(f"{folder} is not empty: {hint}choose another folder with --out")


def _is_unused(folder: Path) -> bool:
    """Empty, or left by a process that was killed before its run began: only such a folder has a lock and no config."""
    names = {entry.name for entry in folder.iterdir()}
    begun = {name for name in names if name in (LOCK, TOKENIZER) or name.endswith(".tmp")}
    return not names or (LOCK in names and names == begun)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder; the system releases it when the process ends, however it ends."""
    if os.name == "nt":
        yield
        return
    import fcntl

    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise IsogradError(
                f"{folder} is in use by another isograd process: wait for it, or choose another folder with --out"
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield
