"""Start a run in a new folder, or resume one: everything is checked before anything is written."""

import importlib.metadata
import math
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.catalogue import find_experiment
from experiments.progress.display import Progress, Record
from experiments.training.checkpoints import newest_checkpoint, notes_on_best
from experiments.training.folder import TOKENIZER, check_folder, check_unused, locked
from experiments.training.patience import Patience
from experiments.training.plan import total_steps, total_updates
from experiments.training.preparation import Prepared, prepare, preparing, with_buckets
from experiments.training.run_config import RunConfig, check_unedited, read_config, write_config
from experiments.training.run_log import notes_on_history, read_history
from experiments.training.runner import Runner
from experiments.training.same_settings import check_settings_of
from experiments.training.settings import Place, Settings, check_settings, check_updates, problems_of, with_settings
from shared.backend import Backend, find_backend, load_backend
from shared.configs.experiment import Experiment
from shared.configs.optimizer import TrainingConfig
from shared.errors import IsogradError
from shared.metrics_log import MetricsLog
from shared.parameter_groups import trainable_shapes
from shared.pretrained.initial import initial_arrays
from shared.run_folder import PREFIX
from shared.tasks.table import task_of
from shared.tasks.task import Codec


def start(name: str, settings: Settings, folder: Path, progress: Progress, *, stop_at: int | None = None) -> None:
    """Train an experiment from scratch in a new run folder; `stop_at` a step leaves the rest to `resume`."""
    experiment, place = resolve(name, settings), settings.place
    check_unused(folder)
    check_folder(folder)
    find_backend(place.backend, dtype=place.dtype, device=place.device, tell=progress.note)
    prepared = prepared_for(experiment, settings, progress)
    _check_stop(stop_at, 0, prepared)
    backend = backend_for(prepared.experiment, *place)
    state = backend.init_state(initial_arrays(prepared.experiment))
    parameters = _parameters(backend.state_to_arrays(state), prepared.experiment.training)
    config = _config(place, prepared, backend, parameters)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        check_unused(folder)
        prepared.data.codec.save(folder / TOKENIZER)
        write_config(folder, config)
        with MetricsLog(folder) as log:
            Runner(backend, prepared, folder, log, progress).run(state, step=0, stop_at=stop_at)


def resume(
    folder: Path,
    progress: Progress,
    *,
    backend: str | None = None,
    device: str | None = None,
    steps: int | None = None,
    patience: int | None = None,
    stop_at: int | None = None,
) -> None:
    """Resume from the newest good checkpoint, with either backend; records of later steps are dropped."""
    config = read_config(folder)
    with locked(folder):
        longer = Settings(steps=steps, patience=patience)
        check_settings(longer)
        experiment = replace(config.experiment, **longer.given)
        config = replace(config, experiment=experiment, device=device or config.device)
        find_backend(backend or config.backend, dtype=config.dtype, device=config.device, tell=progress.note)
        arrays, saved, notes = newest_checkpoint(folder) or ({}, {"step": 0}, [])
        check_settings_of(saved, experiment, folder)
        check_unedited(folder)
        step = int(saved["step"])
        history = read_history(folder, task_of(experiment), step)
        lost = notes_on_history(folder, history, step, experiment.patience)
        for note in [*notes, *notes_on_best(folder), *lost]:
            progress.note(note)
        prepared = prepared_from(config, folder, progress)
        loaded = backend_for(prepared.experiment, backend or config.backend, config.dtype, config.device)
        state = loaded.state_from_arrays(arrays) if arrays else loaded.init_state(initial_arrays(experiment))
        if ended := _ended(prepared, step, history):
            progress.note(f"{folder} is complete: {ended}")
            return
        _check_stop(stop_at, step, prepared)
        resumed = [*config.resumed, {"step": step, "backend": loaded.name, "versions": _versions(loaded)}]
        write_config(folder, replace(config, resumed=resumed))
        with MetricsLog(folder) as log:
            log.restart(history, step)
            Runner(loaded, prepared, folder, log, progress, history).run(state, step, stop_at=stop_at)


def _check_stop(stop_at: int | None, step: int, prepared: Prepared) -> None:
    total = total_steps(prepared)
    if stop_at is not None and not step <= stop_at <= total:
        raise IsogradError(f"--stop-at: expected a step from {step} to {total}, the last of the run, got {stop_at}")


def _ended(prepared: Prepared, step: int, history: Sequence[Record]) -> str:
    """Why the run is complete at this step; empty if it is not."""
    total = total_steps(prepared)
    if step >= total:
        return f"step {step} of {total}; raise --steps to continue"
    patience = Patience(prepared.experiment.patience, prepared.task.figures, history)
    if not patience.is_spent:
        return ""
    return f"stopped early at step {step} of {total}, {patience}; raise --patience to continue"


def resolve(name: str, settings: Settings) -> Experiment:
    """The catalogue's experiment with these settings; raises IsogradError for anything unknown or out of range."""
    experiment = find_experiment(name)
    check_settings(settings)
    return with_settings(experiment, settings)


def prepared_for(experiment: Experiment, settings: Settings, progress: Progress) -> Prepared:
    """The experiment with its data, buckets and the end of its schedule."""
    prepared = prepare(experiment, settings.data, settings.vocab, preparing(progress))
    if problems := problems_of(prepared.experiment):  # of which its config.json could not be read again
        raise IsogradError(f"{experiment.name} can't be trained: {'; '.join(problems)}")
    asked, examples = settings.batch_size, prepared.data.counts["train"]
    if asked is not None and asked > examples:  # every batch would be filled with padding
        raise IsogradError(
            f"--batch-size {asked}: the data has only {examples} training examples: expected at most as many"
        )
    if settings.bucketing:
        prepared = replace(prepared, experiment=with_buckets(prepared.experiment))
    for note in check_updates(settings, total_steps(prepared), prepared.experiment):
        progress.note(note)
    return _with_horizon(prepared)


def _with_horizon(prepared: Prepared) -> Prepared:
    """Fix the warm-up and the end of the schedule when the run starts: a later `--steps` does not change them."""
    experiment = prepared.experiment
    schedule = experiment.schedule
    end = schedule.horizon
    if end is None:
        end = max(total_updates(prepared), schedule.warmup)  # a trial may end early
    warmup = int(schedule.warmup_part * end) or schedule.warmup
    schedule = replace(schedule, horizon=end, warmup=warmup, warmup_part=0.0)
    return replace(prepared, experiment=replace(experiment, schedule=schedule))


def prepared_from(config: RunConfig, folder: Path, progress: Progress, data: str | None = None) -> Prepared:
    """Reload the data of a run; of different `data` only the validation split is used, so any will do."""
    source = config.data_source if data is None else data
    codec_of(config, folder)
    experiment = replace(config.experiment, initial=None)  # its sizes are known, and its weights may be gone
    prepared = prepare(experiment, source, folder / TOKENIZER, preparing(progress))
    if data is None and prepared.data.content.fingerprint != config.data_fingerprint:
        raise IsogradError(
            f"the data ({source or 'built in'}) have changed since {folder} was trained on them: expected the "
            f"fingerprint {config.data_fingerprint[:12]}, got {prepared.data.content.fingerprint[:12]}: "
            "restore the original files"
        )
    return replace(prepared, experiment=config.experiment)


def codec_of(config: RunConfig, folder: Path) -> Codec:
    """The tokenizer of a run; raises IsogradError unless it is the one that the run was trained with."""
    codec = task_of(config.experiment).codec(folder / TOKENIZER)
    found = codec.fingerprint
    if found != config.tokenizer_fingerprint:
        raise IsogradError(
            f"{folder / TOKENIZER} has changed since {folder} was trained with it: expected the fingerprint "
            f"{config.tokenizer_fingerprint[:12]}, got {found[:12]}: restore the original file"
        )
    return codec


def backend_for(experiment: Experiment, name: str, dtype: str, device: str) -> Backend:
    """The backend with this name, with the experiment's model and everything that trains it."""
    return load_backend(
        name,
        model=experiment.model,
        optimizer=experiment.optimizer,
        training=experiment.training,
        loss=task_of(experiment).loss,
        seed=experiment.seed,
        dtype=dtype,
        device=device,
    )


def _config(place: Place, prepared: Prepared, backend: Backend, parameters: int) -> RunConfig:
    data, content = prepared.data, prepared.data.content
    return RunConfig(
        experiment=prepared.experiment,
        backend=backend.name,
        dtype=place.dtype,
        device=place.device,
        data_source=content.source if content.source in (None, "hub") else str(Path(str(content.source)).resolve()),
        data_origin=content.origin,
        data_fingerprint=content.fingerprint,
        tokenizer_origin=data.codec.origin,
        tokenizer_fingerprint=data.codec.fingerprint,
        counts=dict(data.counts),
        parameters=parameters,
        baseline=dict(data.baseline()),
        versions=_versions(backend),
    )


def _versions(backend: Backend) -> dict[str, str]:
    try:
        ours = importlib.metadata.version("isograd")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        ours = "checkout"
    return {"isograd": ours, "python": platform.python_version(), "numpy": np.__version__, **backend.describe()}


def _parameters(arrays: dict[str, np.ndarray], training: TrainingConfig) -> int:
    """The number of trainable parameters."""
    shapes = {name.removeprefix(PREFIX): array.shape for name, array in arrays.items() if name.startswith(PREFIX)}
    return sum(math.prod(shape) for shape in trainable_shapes(shapes, training.groups).values())
