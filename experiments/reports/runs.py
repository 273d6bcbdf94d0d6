"""Runs read back from their folders, and how far apart the loss curves of two backends are."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from experiments.plain_text import printable
from experiments.progress.display import Record
from experiments.training.folder import CONFIG
from experiments.training.run_config import RunConfig, read_config
from experiments.training.run_log import SAMPLES, missing_steps, read_log
from shared.errors import IsogradError
from shared.run_folder import list_checkpoints
from shared.tasks.table import task_of
from shared.tasks.task import Figure, Task, merit

PHRASES = {  # how a label words a setting; others are "learning rate 0.001", "patience" for yes, "no patience" for none
    **dict.fromkeys(("experiment", "backend", "dtype", "device", "optimizer", "planned length", "folder"), "{}"),
    "schedule": "{} schedule",
}
AS_USUAL = "settings of most runs"
SHORT = {"yes": "{heading}", "no": "no {heading}", "none": "no {heading}"}


@dataclass(frozen=True)
class Run:
    """A run, read from its folder."""

    folder: Path
    config: RunConfig
    train: list[Record]
    validation: list[Record]
    samples: list[Record] = field(default_factory=list)  # texts that a language model wrote at each of them
    missing: list[int] = field(default_factory=list)  # steps whose training records are lost
    differing: dict[str, str] = field(default_factory=dict)  # what tells it apart from the others of a report
    usual: dict[str, str] = field(default_factory=dict)  # values of most runs, which a label leaves out
    number: int = 0  # its place among them

    @property
    def experiment(self) -> str:
        return printable(self.config.experiment.name)

    @property
    def backend(self) -> str:
        """The backend of its steps: "torch", or "torch then jax" for a run that was handed over."""
        parts = {0: self.config.backend}
        for part in self.config.resumed:
            earlier = {step: name for step, name in parts.items() if step < part["step"]}
            parts = earlier | {part["step"]: part["backend"]}
        return printable(" then ".join(name for name, _ in itertools.groupby(parts.values())))

    @property
    def task(self) -> Task:
        return task_of(self.config.experiment)

    @property
    def label(self) -> str:
        """What tells the run apart: "torch, learning rate 0.001, seed 1"."""
        return self.label_without() or AS_USUAL

    def label_without(self, *headings: str) -> str:
        """The label without some of the settings."""
        told = {name: text for name, text in self.differing.items() if self.usual.get(name) != text}
        return ", ".join(_worded(name, text) for name, text in told.items() if name not in headings)

    @property
    def train_seconds(self) -> float:
        """Wall-clock time of the updates, without evaluation, checkpoints and compilation."""
        return float((self.validation or self.train)[-1].get("seconds", float("nan")))

    @property
    def best(self) -> Record | None:
        """The validation with the best first figure of the task, then the lowest loss."""
        return max(self.validation, key=lambda record: merit(record, self.task.figures), default=None)


def _worded(heading: str, text: str) -> str:
    phrase = PHRASES.get(heading) or SHORT.get(text, "{heading} {}")
    return phrase.format(text, heading=heading)


def read_run(folder: Path) -> Run:
    """Read a run; raises IsogradError if the folder holds none or nothing is logged yet."""
    config = read_config(folder)
    records = read_log(folder, task_of(config.experiment))
    train, validation, samples = (
        [record for record in records if record["kind"] == kind] for kind in ("train", "validation", SAMPLES)
    )
    if not train:
        raise IsogradError(f"{folder} has no logged steps yet: train it first")
    missing = missing_steps(train, max(_last_step(folder), train[-1]["step"]))
    return Run(folder, config, train, validation, samples, missing)


def _last_step(folder: Path) -> int:
    """The step of the newest checkpoint, by its name."""
    names = [path.name.rpartition("-")[2] for path in list_checkpoints(folder)]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def expand_runs(folders: Sequence[Path]) -> list[Path]:
    """The run folders among `folders` and anywhere below them."""
    found: dict[Path, Path] = {}  # without links -> as given
    for folder in folders:
        below = sorted(path.parent for path in folder.rglob(CONFIG))
        if (folder / CONFIG).is_file() or not below:
            read_config(folder)  # raises an error that says why this is not a run
            below = [folder]
        for path in below:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def pairs(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Runs of one experiment that differ only in the backend: (torch, jax)."""
    torch, jax = ([run for run in runs if run.backend == name] for name in ("torch", "jax"))
    return [(a, b) for a in torch for b in jax if _same_run(a.config, b.config)]


def _same_run(a: RunConfig, b: RunConfig) -> bool:
    return (a.experiment, a.dtype, a.data_fingerprint) == (b.experiment, b.dtype, b.data_fingerprint)


def figures_of(runs: Sequence[Run]) -> list[Figure]:
    """The figures of all their tasks, without duplicates."""
    return list(dict.fromkeys(figure for run in runs for figure in run.task.figures))


def loss_differences(a: Run, b: Run) -> tuple[np.ndarray, np.ndarray]:
    """The steps that both runs logged, and the absolute difference of their training losses there."""
    first, second = ({record["step"]: record["loss"] for record in run.train} for run in (a, b))
    steps = np.array(sorted(first.keys() & second.keys()), np.int64)
    return steps, np.array([abs(first[step] - second[step]) for step in steps.tolist()], np.float64)


def describe_pair(a: Run, b: Run) -> str:
    """One sentence on the largest difference between two loss curves."""
    steps, differences = loss_differences(a, b)
    told = a.label_without("experiment", "backend", "dtype")
    name = ", ".join(filter(None, (a.experiment, told)))
    if not len(steps):
        return f"{name}: the two runs have no steps in common"
    largest = int(differences.argmax())
    losses = f"{name}, {a.config.dtype}: the losses of {a.backend} and {b.backend}"
    if not differences.any():
        return f"{losses} are equal in all {len(steps)} steps"
    return f"{losses} differ by at most {differences[largest]:.3g} (step {steps[largest]} of {len(steps)})"
