"""`isograd eval`: the metrics of a run's best checkpoint, computed by either backend."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.progress.display import Progress, make_progress, print_json
from experiments.training.evaluation import evaluate
from experiments.training.launch import backend_for, prepared_from
from experiments.training.preparation import Prepared
from experiments.training.run_config import RunConfig, read_config
from experiments.training.same_settings import OF_MODEL, check_settings_of
from experiments.training.threads import choose_threads
from shared.arrays import Arrays
from shared.backend import find_backend
from shared.configs.validation import check_choice
from shared.run_folder import OPTIMIZER, WEIGHTS, best_or_newest, latest_checkpoint, load_checkpoint, load_weights

SHOWN = 12  # characters of a metric's name


def evaluate_command(
    run: Path,
    /,
    *,
    backend: str | None = None,
    data: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    split: str = "validation",
    newest: bool = False,
    json: bool = False,
) -> None:
    """Evaluate a run's best checkpoint on a split of its data, with either backend.

    Args:
        run: The run folder.
        backend: torch or jax; if omitted, the run's.
        data: A folder or hub, instead of the run's data.
        device: cpu or cuda; if omitted, the run's.
        dtype: float32, float64 or bfloat16; if omitted, the run's.
        split: validation, or for classifiers train or test; train is evaluated without dropout.
        newest: Evaluate the newest checkpoint instead of the best.
        json: Print JSON.
    """
    config = read_config(run)
    config = replace(config, device=device or config.device, dtype=dtype or config.dtype)
    choose_threads(config.experiment)
    with make_progress(quiet=json) as progress:
        result = evaluated(run, config, backend or config.backend, data, split, newest, progress)
    if json:
        print_json(result)
        return
    place = f"{result['data']}, {result['split']}"
    print(f"{result['checkpoint']}, step {result['step']}, by {result['backend']}, on {place}:")
    for name, value in result["metrics"].items():
        print(f"  {name.replace('_', ' '):<{2 * SHOWN}} {value:.6g}")


def evaluated(
    run: Path, config: RunConfig, backend: str, data: str | None, split: str, newest: bool, progress: Progress
) -> dict[str, Any]:
    """The figures of a split of the run's data, or of other data, and where they come from."""
    find_backend(backend, dtype=config.dtype, device=config.device, tell=progress.note)
    is_averaged = config.experiment.training.average_decay is not None
    load = load_checkpoint if is_averaged else load_weights  # the averages are in the optimiser's file
    checkpoint = checkpoint_of(run, (WEIGHTS, OPTIMIZER) if is_averaged else (WEIGHTS,), newest, progress)
    arrays, saved = load(checkpoint)
    check_settings_of(saved, config.experiment, run, OF_MODEL)
    prepared = prepared_from(config, run, progress, data)
    check_choice("split", split, prepared.data.counts)
    loaded = backend_for(prepared.experiment, backend, config.dtype, config.device)
    initial = loaded.state_to_arrays(loaded.init_state())
    whole = arrays if is_averaged else {**initial, **arrays}
    metrics = evaluate(loaded, loaded.state_from_arrays(_in_dtypes(whole, initial)), prepared, split)
    metrics |= baselines(prepared, split)
    return {
        "checkpoint": str(checkpoint),
        "step": saved["step"],
        "backend": backend,
        "data": prepared.data.content.origin,
        "split": split,
        prepared.task.unit: prepared.data.counts[split],
        "metrics": metrics,
    }


def baselines(prepared: Prepared, split: str) -> dict[str, float]:
    """The figures that a model must beat on a split."""
    return {f"baseline_{name}": value for name, value in prepared.data.baseline(split).items()}


def _in_dtypes(arrays: Arrays, others: Arrays) -> Arrays:
    """The arrays in the dtypes of others, for an evaluation in a different precision than the run's."""
    dtypes = {name: array.dtype for name, array in others.items()}
    return {name: array.astype(dtypes.get(name, array.dtype), copy=False) for name, array in arrays.items()}


def checkpoint_of(run: Path, needed: Sequence[str], newest: bool, progress: Progress) -> Path:
    """The best checkpoint, or the newest whose needed files are intact."""
    found, notes = (
        latest_checkpoint(run, needed)
        if newest
        else best_or_newest(run, needed, lambda path: f"`isograd eval {run} --newest` evaluates {path}")
    )
    for note in notes:
        progress.note(note)
    return found
