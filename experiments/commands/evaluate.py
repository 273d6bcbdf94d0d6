"""`isograd eval`: the metrics of a run's best checkpoint, computed by either backend."""

from dataclasses import replace
from pathlib import Path

from experiments.progress.display import Progress, make_progress, print_json
from experiments.training.evaluation import evaluate
from experiments.training.launch import backend_for, prepared_from
from experiments.training.run_config import RunConfig, read_config
from shared.backend import find_backend
from shared.run_folder import best_checkpoint, latest_checkpoint, load_checkpoint

SHOWN = 12  # characters of a metric's name


def evaluate_command(
    run: Path,
    /,
    *,
    backend: str | None = None,
    data: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    newest: bool = False,
    json: bool = False,
) -> None:
    """Evaluate a run's best checkpoint on its validation split, with either backend.

    Args:
        run: The run folder.
        backend: torch or jax; if omitted, the run's.
        data: A folder or hub, instead of the run's data.
        device: cpu or cuda; if omitted, the run's.
        dtype: float32, float64 or bfloat16; if omitted, the run's.
        newest: Evaluate the newest checkpoint instead of the best.
        json: Print JSON.
    """
    config = read_config(run)
    config = replace(config, device=device or config.device, dtype=dtype or config.dtype)
    with make_progress(quiet=json) as progress:
        result = _evaluate(run, config, backend or config.backend, data, newest, progress)
    if json:
        print_json(result)
        return
    print(f"{result['checkpoint']}, step {result['step']}, by {result['backend']}, on {result['data']}:")
    for name, value in result["metrics"].items():
        print(f"  {name.replace('_', ' '):<{2 * SHOWN}} {value:.6g}")


def _evaluate(run: Path, config: RunConfig, backend: str, data: str | None, newest: bool, progress: Progress) -> dict:
    find_backend(backend, dtype=config.dtype, device=config.device)
    best = None if newest else best_checkpoint(run)
    checkpoint = latest_checkpoint(run)[0] if best is None else best
    arrays, saved = load_checkpoint(checkpoint)
    prepared = prepared_from(config, run, progress, data)
    loaded = backend_for(prepared.experiment, backend, config.dtype, config.device)
    metrics = evaluate(loaded, loaded.state_from_arrays(arrays), prepared)
    return {
        "checkpoint": str(checkpoint),
        "step": saved["step"],
        "backend": backend,
        "data": prepared.data.origin,
        prepared.task.unit: prepared.data.counts["validation"],
        "metrics": metrics,
    }
