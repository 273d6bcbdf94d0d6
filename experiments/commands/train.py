"""`isograd train`: one experiment with one backend or with both, from the start or from where a run was left."""

from dataclasses import fields
from pathlib import Path

from experiments.catalogue import find_experiment
from experiments.commands.side_by_side import check_both_installed, train_both
from experiments.progress.display import Progress, make_progress
from experiments.training import launch
from experiments.training.run_config import read_config
from experiments.training.settings import Settings, flag
from shared.backend import PACKAGES
from shared.configs.validation import check_choice
from shared.errors import IsogradError

BACKENDS = (*PACKAGES, "both")
CHANGES = {field.name for field in fields(Settings)} - {"experiment", "backend"}  # the options of the same names


def train(
    experiment: str | None = None,
    /,
    *,
    backend: str | None = None,
    data: str | None = None,
    vocab: Path | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    optimizer: str | None = None,
    schedule: str | None = None,
    warmup: int | None = None,
    decay_every: int | None = None,
    decay_factor: float | None = None,
    decay_to: float | None = None,
    clip_norm: float | None = None,
    accumulate: int | None = None,
    average_decay: float | None = None,
    dropout_rng: str | None = None,
    bucketing: bool = False,
    certify: bool = False,
    dtype: str | None = None,
    device: str | None = None,
    out: Path | None = None,
    stop_at: int | None = None,
    resume: Path | None = None,
    quiet: bool = False,
    json: bool = False,
) -> int | None:
    """Train an experiment of the catalogue, or go on with a run.

    Args:
        experiment: A name of the catalogue (`isograd list experiments`).
        backend: torch, jax, or both, one after the other and then a report (torch, or that of the resumed run).
        data: A folder with the dataset's files, or hub; left out: the built-in data.
        vocab: A vocab.txt or tokenizer.json.
        steps: The number of batches, in place of the epochs.
        batch_size: Examples in a batch.
        learning_rate: The learning rate, at its highest where there is a schedule.
        seed: Of the weights, the order of the data and dropout.
        optimizer: sgd, adam, adamw, rmsprop or adagrad (`isograd list optimizers`), at the experiment's learning rate.
        schedule: constant, linear, cosine, step or epoch.
        warmup: Updates in which the rate rises from 0.
        decay_every: With `--schedule step`: the updates of a stair.
        decay_factor: With `--schedule step` or `epoch`: what the rate is multiplied by after each stair or epoch.
        decay_to: With `--schedule linear` or `cosine`: the part of the rate that is left at the end.
        clip_norm: The largest norm of all gradients together; larger ones are scaled down to it.
        accumulate: Batches whose gradients make one update.
        average_decay: Evaluate a moving average of the weights with this decay.
        dropout_rng: shared (the same masks in both frameworks) or native (each framework's own).
        bucketing: Pad batches to quarters of the length: the same result for each example in less time.
        certify: With `--backend both`: run them in lockstep, compare all after every step, name where they part.
        dtype: float32, float64, or bfloat16 (compute; the weights stay float32).
        device: cpu or cuda.
        out: The run folder; left out: runs/EXPERIMENT-BACKEND.
        stop_at: Save and stop after this step; `--resume` does the rest, in either framework.
        resume: Go on with the run in this folder, with either backend.
        quiet: Show nothing until the end.
        json: Print every record as a JSON line.
    """
    chosen = {name: value for name, value in locals().items() if name in CHANGES}
    given = {name: value for name, value in chosen.items() if value is not None and value is not False}
    if backend is not None:
        check_choice("backend", backend, BACKENDS)
    _check_together(certify, resume, stop_at)
    with make_progress(quiet=quiet, json_lines=json) as progress:
        if resume is not None:
            _resume(resume, experiment, backend, {**given, **({"out": out} if out else {})}, progress, stop_at)
        elif experiment is None:
            raise IsogradError("expected the name of an experiment, got none: `isograd list experiments` shows them")
        elif certify:
            return _certify(experiment, backend, out, given, progress, json=json)
        elif backend == "both":
            both = {**given, **({} if stop_at is None else {"stop_at": stop_at})}
            train_both(experiment, out or Path("runs") / f"{experiment}-both", both, quiet=quiet, json=json)
        else:
            _start(Settings(experiment, backend or "torch", **given), out, progress, stop_at)
    return None


def _start(settings: Settings, out: Path | None, progress: Progress, stop_at: int | None) -> None:
    find_experiment(settings.experiment)
    folder = out or Path("runs") / f"{settings.experiment}-{settings.backend}"
    launch.start(settings, folder, progress, stop_at=stop_at)
    _tell(folder, progress)


def _check_together(certify: bool, resume: Path | None, stop_at: int | None) -> None:
    if certify and (resume is not None or stop_at is not None):
        raise IsogradError("--certify runs from the beginning to the end: leave out --resume and --stop-at")
    if stop_at is not None and stop_at < 0:
        raise IsogradError(f"--stop-at: expected a step of at least 0, got {stop_at}")


def _certify(
    experiment: str, backend: str | None, out: Path | None, given: dict, progress: Progress, *, json: bool
) -> int:
    """Exit code 1 if the runs part."""
    from experiments.training.certificate import certify, describe

    if backend != "both":
        raise IsogradError(f"--certify compares the two backends: expected --backend both, got {backend or 'none'}")
    check_both_installed()
    find_experiment(experiment)
    folder = out or Path("runs") / f"{experiment}-certificate"
    certificate = certify(Settings(experiment, **given), folder, progress)
    progress.close()
    if json:
        progress.record({"kind": "certificate", **certificate})
    else:
        print("\n".join([*describe(certificate), f"wrote {folder}"]))
    return 0 if certificate["certified"] else 1


def _tell(folder: Path, progress: Progress) -> None:
    progress.note(f"the run is in {folder}: `isograd report {folder}` draws it")


def _resume(
    folder: Path, experiment: str | None, backend: str | None, given: dict, progress: Progress, stop_at: int | None
) -> None:
    fixed = [flag(name) for name in given if name not in ("steps", "device")]
    name = read_config(folder).experiment.name
    if experiment not in (None, name):
        raise IsogradError(f"{folder} is a run of {name}, not of {experiment}: leave the experiment out")
    if fixed or backend == "both":
        fixed += ["--backend both"] if backend == "both" else []
        raise IsogradError(f"a run goes on as it was begun: {', '.join(fixed)} can't be changed by --resume")
    options = {name: given.get(name) for name in ("device", "steps")}
    launch.resume(folder, progress, backend=backend, stop_at=stop_at, **options)
    _tell(folder, progress)
