"""`isograd eval`: the metrics of a run's best checkpoint, computed by either backend; several runs by mean logits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from experiments.progress.display import Progress, make_progress, print_json
from experiments.training.ensemble import check_alike, check_classifiers, figures_of, logits_of, means_of
from experiments.training.evaluation import evaluate
from experiments.training.launch import backend_for, prepared_from
from experiments.training.preparation import Prepared
from experiments.training.run_config import RunConfig, read_config
from experiments.training.same_settings import OF_MODEL, check_settings_of
from experiments.training.threads import choose_threads
from shared.arrays import Arrays
from shared.backend import Backend, State, find_backend
from shared.configs.validation import check_choice
from shared.errors import IsogradError
from shared.run_folder import OPTIMIZER, WEIGHTS, best_or_newest, latest_checkpoint, load_checkpoint, load_weights
from shared.tasks.classification import LabelledTexts

SHOWN = 12  # characters of a metric's name


class Chosen(NamedTuple):
    """What of a run is evaluated, and where; None = as the run has it."""

    backend: str | None = None
    data: str | None = None
    device: str | None = None
    dtype: str | None = None
    split: str = "validation"
    newest: bool = False


class Loaded(NamedTuple):
    """A checkpoint on its backend, with the data of its run."""

    checkpoint: Path
    step: int
    backend: Backend
    state: State
    prepared: Prepared

    @property
    def origin(self) -> dict[str, Any]:
        """Where the figures of the checkpoint come from."""
        return {"checkpoint": str(self.checkpoint), "step": self.step, "backend": self.backend.name}


def evaluate_command(
    runs: tuple[Path, ...],
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

    Several runs of classifiers, of either backend, are evaluated together, too: by the mean of their logits.

    Args:
        runs: The run folder, or several.
        backend: torch or jax; if omitted, the run's.
        data: A folder or hub, instead of the run's data.
        device: cpu or cuda; if omitted, the run's.
        dtype: float32, float64 or bfloat16; if omitted, the run's.
        split: validation, or for classifiers train or test; train is evaluated without dropout.
        newest: Evaluate the newest checkpoint instead of the best.
        json: Print JSON.
    """
    _check_runs(runs)
    configs = {run: read_config(run) for run in runs}
    choose_threads(configs[runs[0]].experiment)
    chosen = Chosen(backend, data, device, dtype, split, newest)
    with make_progress(quiet=json) as progress:
        if len(runs) == 1:
            result = evaluated(runs[0], configs[runs[0]], chosen, progress)
        else:
            result = _evaluated_together(configs, chosen, progress)
    if json:
        print_json(result)
    else:
        _show(result)


def evaluated(run: Path, config: RunConfig, chosen: Chosen, progress: Progress) -> dict[str, Any]:
    """The figures of a split of the run's data, or of other data, and where they come from."""
    loaded = load(run, config, chosen, progress)
    metrics = evaluate(loaded.backend, loaded.state, loaded.prepared, chosen.split)
    return {**loaded.origin, **_of_split(loaded.prepared, chosen.split, metrics)}


def _evaluated_together(configs: dict[Path, RunConfig], chosen: Chosen, progress: Progress) -> dict[str, Any]:
    """The figures of the mean logits of several classifiers, of each on its own, and the means of these."""
    check_classifiers({run: config.experiment.task for run, config in configs.items()})
    members, logits, rows, split = [], [], [], chosen.split
    for run, config in configs.items():
        progress.note(f"evaluating {run}")
        loaded = load(run, config, chosen, progress)
        texts = cast(LabelledTexts, loaded.prepared.data)
        members.append((texts, run))
        check_alike(*members[0], *members[-1], split)
        logits.append(logits_of(loaded.backend, loaded.state, loaded.prepared, texts, split))
        rows.append({**loaded.origin, "metrics": figures_of(logits[-1], loaded.prepared, texts, split)})
    together = figures_of(np.mean(logits, axis=0), loaded.prepared, texts, split)
    means = means_of([row["metrics"] for row in rows])
    return {**_of_split(loaded.prepared, split, together), "mean_of_runs": means, "runs": rows}


def load(run: Path, config: RunConfig, chosen: Chosen, progress: Progress) -> Loaded:
    """The best checkpoint of a run, or the newest, on its backend."""
    dtype, device = chosen.dtype or config.dtype, chosen.device or config.device
    backend = chosen.backend or config.backend
    find_backend(backend, dtype=dtype, device=device, tell=progress.note)
    is_averaged = config.experiment.training.average_decay is not None
    read = load_checkpoint if is_averaged else load_weights  # the averages are in the optimiser's file
    needed = (WEIGHTS, OPTIMIZER) if is_averaged else (WEIGHTS,)
    checkpoint = checkpoint_of(run, needed, chosen.newest, progress)
    arrays, saved = read(checkpoint)
    check_settings_of(saved, config.experiment, run, OF_MODEL)
    prepared = prepared_from(config, run, progress, chosen.data)
    check_choice("split", chosen.split, prepared.data.counts)
    loaded = backend_for(prepared.experiment, backend, dtype, device)
    initial = loaded.state_to_arrays(loaded.init_state())
    whole = arrays if is_averaged else {**initial, **arrays}
    state = loaded.state_from_arrays(_in_dtypes(whole, initial))
    return Loaded(checkpoint, saved["step"], loaded, state, prepared)


def _of_split(prepared: Prepared, split: str, metrics: dict[str, Any]) -> dict[str, Any]:
    """The split that was evaluated, and the metrics beside what a model must beat there."""
    return {
        "data": prepared.data.content.origin,
        "split": split,
        prepared.task.unit: prepared.data.counts[split],
        "metrics": {**metrics, **baselines(prepared, split)},
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


def _check_runs(runs: Sequence[Path]) -> None:
    if not runs:
        raise IsogradError("expected a run folder, got none: `isograd eval runs/a`")
    places = [run.resolve() for run in runs]
    if twice := [run for run, place in zip(runs, places, strict=True) if places.count(place) > 1]:
        raise IsogradError(f"expected different runs, got {twice[0]} more than once: name it once")


def _show(result: dict[str, Any]) -> None:
    runs, place = result.get("runs"), f"{result['data']}, {result['split']}"
    if runs is None:
        print(f"{_origin(result)}, on {place}:")
        _show_metrics(result["metrics"])
        return
    print(f"the mean logits of {len(runs)} runs, on {place}:")
    _show_metrics(result["metrics"])
    print("the mean of their figures:")
    _show_metrics(result["mean_of_runs"])
    print("the accuracy of each:")
    for row in runs:
        print(f"  {row['metrics']['accuracy']:.6g}  {_origin(row)}")


def _show_metrics(metrics: Mapping[str, float]) -> None:
    for name, value in metrics.items():
        print(f"  {name.replace('_', ' '):<{2 * SHOWN}} {value:.6g}")


def _origin(row: Mapping[str, Any]) -> str:
    return f"{row['checkpoint']}, step {row['step']}, by {row['backend']}"
