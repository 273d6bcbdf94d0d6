"""Start a run in a new folder, or go on with one: everything is checked before anything is written."""

import importlib.metadata
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.catalogue import find_experiment
from experiments.progress.display import Progress
from experiments.training.checkpoints import newest_checkpoint
from experiments.training.folder import TOKENIZER, check_folder, check_unused, locked
from experiments.training.plan import total_steps, total_updates
from experiments.training.preparation import Prepared, prepare, with_buckets
from experiments.training.run_config import RunConfig, read_config, write_config
from experiments.training.runner import Runner
from experiments.training.settings import Settings, check_settings, with_settings
from shared.atomic import new_file
from shared.backend import Backend, find_backend, load_backend
from shared.configs.experiment import Experiment
from shared.errors import IsogradError
from shared.metrics_log import FILE, MetricsLog, read


def start(settings: Settings, folder: Path, progress: Progress, *, stop_at: int | None = None) -> None:
    """Train from the beginning into a new run folder; `stop_at` a step leaves the rest to `resume`."""
    find_experiment(settings.experiment)
    check_settings(settings)
    check_unused(folder)
    check_folder(folder)
    find_backend(settings.backend, dtype=settings.dtype, device=settings.device)
    prepared = prepared_for(settings, progress)
    backend = backend_for(prepared.experiment, settings.backend, settings.dtype, settings.device)
    state = backend.init_state()
    config = _config(settings, prepared, backend, _parameters(backend.state_to_arrays(state)))
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        check_unused(folder)
        with new_file(folder / TOKENIZER) as temporary:
            temporary.write_text(prepared.tokenizer.tokenizer.to_str(), encoding="utf-8")
        write_config(folder, config)
        with MetricsLog(folder) as log:
            Runner(backend, prepared, folder, log, progress, spent={}).run(state, step=0, stop_at=stop_at)


def resume(
    folder: Path,
    progress: Progress,
    *,
    backend: str | None = None,
    device: str | None = None,
    steps: int | None = None,
    stop_at: int | None = None,
) -> None:
    """Go on from the newest good checkpoint, with either backend; records of later steps are dropped."""
    config = read_config(folder)
    with locked(folder):
        check_settings(Settings(config.experiment.name, steps=steps))
        experiment = config.experiment if steps is None else replace(config.experiment, steps=steps)
        config = replace(config, experiment=experiment, device=device or config.device)
        find_backend(backend or config.backend, dtype=config.dtype, device=config.device)
        prepared = prepared_from(config, folder, progress)
        loaded = backend_for(prepared.experiment, backend or config.backend, config.dtype, config.device)
        arrays, saved, notes = newest_checkpoint(folder) or ({}, {"step": 0}, [])
        for note in notes:
            progress.note(note)
        state = loaded.state_from_arrays(arrays) if arrays else loaded.init_state()
        step = int(saved["step"])
        if step >= total_steps(prepared):
            progress.note(f"{folder} is complete: step {step} of {total_steps(prepared)}; ask for more with --steps")
            return
        history = [*config.resumed, {"step": step, "backend": loaded.name, "versions": _versions(loaded)}]
        write_config(folder, replace(config, resumed=history))
        with MetricsLog(folder) as log:
            log.truncate_after(step)
            Runner(loaded, prepared, folder, log, progress, spent=_spent(folder)).run(state, step, stop_at=stop_at)


def prepared_for(settings: Settings, progress: Progress) -> Prepared:
    """The experiment of the catalogue with its settings, and its data."""
    experiment = with_settings(find_experiment(settings.experiment), settings)
    prepared = prepare(experiment, settings.data, settings.vocab, _tokenising(progress))
    if settings.bucketing:
        prepared = replace(prepared, experiment=with_buckets(prepared.experiment))
    return _with_horizon(prepared)


def _with_horizon(prepared: Prepared) -> Prepared:
    """The schedule's end is settled when the run begins: a later `--steps` does not bend it."""
    experiment = prepared.experiment
    schedule = experiment.schedule
    if schedule.horizon is None:
        schedule = replace(schedule, horizon=max(total_updates(prepared), schedule.warmup))  # a trial may end earlier
    return replace(prepared, experiment=replace(experiment, schedule=schedule))


def prepared_from(config: RunConfig, folder: Path, progress: Progress, data: str | None = None) -> Prepared:
    """The data of a run again; of other data (`data`) only the validation split is used, so any will do."""
    source = config.data_source if data is None else data
    prepared = prepare(config.experiment, source, folder / TOKENIZER, _tokenising(progress))
    if data is None and prepared.splits.fingerprint != config.data_fingerprint:
        raise IsogradError(
            f"the data ({source or 'built in'}) have changed since {folder} was trained on them: expected the "
            f"fingerprint {config.data_fingerprint[:12]}, got {prepared.splits.fingerprint[:12]}: "
            "bring the old files back"
        )
    return replace(prepared, experiment=config.experiment)


def backend_for(experiment: Experiment, name: str, dtype: str, device: str) -> Backend:
    """The backend of that name, with the experiment's model and all that trains it."""
    return load_backend(
        name,
        model=experiment.model,
        optimizer=experiment.optimizer,
        training=experiment.training,
        seed=experiment.seed,
        dtype=dtype,
        device=device,
    )


def _config(settings: Settings, prepared: Prepared, backend: Backend, parameters: int) -> RunConfig:
    splits, tokenizer = prepared.splits, prepared.tokenizer
    return RunConfig(
        experiment=prepared.experiment,
        backend=backend.name,
        dtype=settings.dtype,
        device=settings.device,
        data_source=str(splits.folder.resolve()) if splits.folder else splits.source,
        data_origin=splits.origin,
        data_fingerprint=splits.fingerprint,
        tokenizer_origin=tokenizer.origin,
        tokenizer_fingerprint=tokenizer.fingerprint,
        training_examples=len(prepared.examples["train"]),
        validation_examples=len(prepared.examples["validation"]),
        parameters=parameters,
        majority_accuracy=_majority_accuracy(prepared),
        versions=_versions(backend),
    )


def _majority_accuracy(prepared: Prepared) -> float:
    """What every classifier must beat."""
    commonest = np.bincount(prepared.examples["train"].labels).argmax()
    return float(np.mean(prepared.examples["validation"].labels == commonest))


def _versions(backend: Backend) -> dict[str, str]:
    try:
        ours = importlib.metadata.version("isograd")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        ours = "checkout"
    return {"isograd": ours, "python": platform.python_version(), "numpy": np.__version__, **backend.describe()}


def _parameters(arrays: dict[str, np.ndarray]) -> int:
    return sum(array.size for name, array in arrays.items() if name.startswith("weights/"))


def _spent(folder: Path) -> dict[str, Any]:
    """The time that the kept records have taken so far."""
    records = read(folder) if (folder / FILE).is_file() else []
    return next((record for record in reversed(records) if "seconds" in record), {})


def _tokenising(progress: Progress) -> Any:
    shown: set[int] = set()

    def report(done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if total > 20_000 and tenth not in shown:
            shown.add(tenth)
            progress.note(f"tokenised {done:,} of {total:,} texts")

    return report
