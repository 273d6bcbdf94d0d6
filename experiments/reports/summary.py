"""The figures of one run: its row in the table of a report, and a note on fit and stability."""

from typing import Any

import numpy as np

from experiments.reports.runs import Run

MEBIBYTE = 2**20
NEIGHBOURS = 25  # steps before a step that its loss is compared with
SPIKE = 2.0  # a loss this many times the median of its neighbours is counted as a spike


def row(run: Run) -> dict[str, Any]:
    """What the table shows of a run; seconds, bytes and fractions, not yet formatted."""
    config, best, last = run.config, run.best or {}, _last_epoch(run)
    totals = (run.validation or run.train)[-1]
    return {
        "experiment": run.experiment,
        "architecture": config.experiment.title,
        "backend": run.backend,
        "dtype": config.dtype,
        "device": config.versions.get("device", config.device),
        "parameters": config.parameters,
        "steps": run.train[-1]["step"],
        "majority_accuracy": config.majority_accuracy,
        "validation_accuracy": best.get("accuracy"),
        "validation_loss": best.get("loss"),
        "validation_f1": best.get("f1"),
        "best_step": best.get("step"),
        "train_loss": float(np.mean([record["loss"] for record in last])),
        "train_accuracy": float(np.mean([record["accuracy"] for record in last])),
        "training_seconds": totals.get("seconds"),
        "evaluation_seconds": sum(record["evaluation_seconds"] for record in run.validation),
        "compile_seconds": totals.get("compile_seconds"),
        "examples_per_second": _throughput(run),
        "steady_bytes": totals.get("steady_bytes"),
        "peak_bytes": totals.get("peak_bytes"),
        "note": note(run),
    }


def note(run: Run) -> str:
    """Over- or underfit and instability, computed: the gap at the best validation, loss spikes, gradient norms."""
    losses = np.array([record["loss"] for record in run.train])
    norms = np.array([record["gradient_norm"] for record in run.train])
    parts = [_gap(run)] if run.best else []
    spikes = _spikes(losses)
    parts.append(f"{spikes} steps with a loss above {SPIKE:g} times the median of the {NEIGHBOURS} before")
    parts.append(f"gradient norm: median {np.median(norms):.3g}, largest {norms.max():.3g}")
    return "; ".join(parts)


def _gap(run: Run) -> str:
    best = run.best or {}
    before = [record["accuracy"] for record in run.train if best["step"] - NEIGHBOURS < record["step"] <= best["step"]]
    gap = float(np.mean(before)) - best["accuracy"] if before else float("nan")
    lowest, final = min(record["loss"] for record in run.validation), run.validation[-1]["loss"]
    return (
        f"training accuracy minus validation accuracy at the best step: {gap:+.3f}; "
        f"final validation loss {final / lowest:.2f} times the lowest"
    )


def _spikes(losses: np.ndarray) -> int:
    return sum(bool(losses[i] > SPIKE * np.median(losses[i - NEIGHBOURS : i])) for i in range(NEIGHBOURS, len(losses)))


def _last_epoch(run: Run) -> list[dict[str, Any]]:
    return [record for record in run.train if record["epoch"] == run.train[-1]["epoch"]]


def _throughput(run: Run) -> float | None:
    """The median over the log lines: the first ones may hold a warm-up."""
    speeds = [record["examples_per_second"] for record in run.train if "examples_per_second" in record]
    return float(np.median(speeds)) if speeds else None
