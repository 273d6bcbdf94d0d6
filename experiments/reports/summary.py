"""The figures of one run: its row in the table of a report, and a note on fit and stability."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.reports.runs import Run
from experiments.training.run_log import describe_missing

MEBIBYTE = 2**20
NEIGHBOURS = 25  # preceding steps that a loss is compared with
SPIKE = 2.0  # a loss this many times the median of its neighbours is counted as a spike
NOTES = (  # what the notes mean
    f"The gap is training minus validation at the best validation, with training averaged over the last "
    f"{NEIGHBOURS} steps up to it. A loss spike is a step whose loss exceeds {SPIKE:g} times the median of the "
    f"{NEIGHBOURS} steps before it. Gradient norms are measured before clipping."
)


def row(run: Run) -> dict[str, Any]:
    """A run's entries in the table: seconds, bytes and fractions, not yet formatted; its label and its settings."""
    config, best = run.config, run.best or {}
    totals, names = (run.validation or run.train)[-1], [figure.name for figure in run.task.figures]
    return {
        "label": run.label,
        "differing": run.differing,
        "folder": str(run.folder),
        "experiment": run.experiment,
        "architecture": config.experiment.title,
        "backend": run.backend,
        "dtype": config.dtype,
        "device": config.versions.get("device", config.device),
        "parameters": config.parameters,
        "steps": run.train[-1]["step"],
        **{f"baseline_{name}": value for name, value in config.baseline.items()},
        **{f"validation_{name}": best.get(name) for name in ("loss", *names)},
        "best_step": best.get("step"),
        **_means_of_the_last_epoch(run, ("loss", *names)),
        "training_seconds": totals.get("seconds"),
        "evaluation_seconds": sum(record["evaluation_seconds"] for record in run.validation),
        "compile_seconds": totals.get("compile_seconds"),
        "unit": run.task.unit,
        "per_second": _throughput(run),
        "steady_bytes": totals.get("steady_bytes"),
        "peak_bytes": totals.get("peak_bytes"),
        "note": note(run),
    }


def note(run: Run) -> str:
    """Overfitting, underfitting and instability: the gap at the best validation, loss spikes, gradient norms."""
    losses = np.array([record["loss"] for record in run.train])
    norms = np.array([record["gradient_norm"] for record in run.train])
    parts = [_gap(run)] if run.best else []
    spikes = _spikes(losses)
    parts.append(f"{spikes or 'no'} loss spike{'' if spikes == 1 else 's'}")
    parts.append(f"gradient norm: median {np.median(norms):.3g}, largest {norms.max():.3g}")
    return "; ".join(filter(None, [describe_missing(run.missing), *parts]))


def _gap(run: Run) -> str:
    best, (name, title) = run.best or {}, _compared(run)
    before = [record[name] for record in run.train if best["step"] - NEIGHBOURS < record["step"] <= best["step"]]
    gap = float(np.mean(before)) - best[name] if before else float("nan")
    lowest, final = min(record["loss"] for record in run.validation), run.validation[-1]["loss"]
    rise = f"{final / lowest:.2f} times the lowest" if lowest else f"{final:.3g}, the lowest 0"
    return f"{title} gap {gap:+.3f}; final validation loss {rise}"


def _compared(run: Run) -> tuple[str, str]:
    """Key and title of the task's first figure that both training and validation have, or of the loss."""
    both = [figure for figure in run.task.figures if figure.name in run.train[-1]]
    return (both[0].name, both[0].title) if both else ("loss", "loss")


def _spikes(losses: np.ndarray) -> int:
    return sum(bool(losses[i] > SPIKE * np.median(losses[i - NEIGHBOURS : i])) for i in range(NEIGHBOURS, len(losses)))


def _means_of_the_last_epoch(run: Run, names: Sequence[str]) -> dict[str, float]:
    """train_NAME for every figure that the training records have."""
    last = [record for record in run.train if record["epoch"] == run.train[-1]["epoch"]]
    return {f"train_{name}": float(np.mean([record[name] for record in last])) for name in names if name in last[-1]}


def _throughput(run: Run) -> float | None:
    """The median over the log lines: the first ones may include warm-up."""
    name = f"{run.task.unit}_per_second"
    speeds = [record[name] for record in run.train if name in record]
    return float(np.median(speeds)) if speeds else None
