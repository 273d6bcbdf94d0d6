"""Metrics of a state over the whole validation split: the mean loss, and the figures of the task."""

import time
from typing import Any

import numpy as np

from experiments.training.preparation import Prepared
from experiments.training.written_words import written_words
from shared.backend import Backend, State
from shared.data import prefetch
from shared.tasks.task import Scored


def evaluate(backend: Backend, state: State, prepared: Prepared, split: str = "validation") -> dict[str, Any]:
    """Evaluate a split once; `evaluation_seconds` excludes compilation."""
    started, compiled = time.perf_counter(), backend.compile_seconds
    order = prepared.data.epoch(prepared.experiment, split, 0).start_at(0)
    waiting = [(batch, backend.eval_step(state, batch)) for batch in prefetch(order)]  # metrics stay on the device
    scored = [Scored(batch, **backend.fetch(metrics)) for batch, metrics in waiting]
    seconds = time.perf_counter() - started - (backend.compile_seconds - compiled)
    figures = prepared.task.metrics(prepared.experiment, scored)
    figures |= written_words(backend, state, prepared)
    return {"loss": _mean_loss(scored), **figures, "evaluation_seconds": seconds}


def _mean_loss(scored: list[Scored]) -> float:
    """The weighted mean over all batches, summed in float64; padding rows are left out, whatever they hold."""
    real = [part.batch["weights"] > 0 for part in scored]
    weights = np.concatenate([part.batch["weights"][rows] for part, rows in zip(scored, real, strict=True)])
    losses = np.concatenate([part.losses[rows] for part, rows in zip(scored, real, strict=True)])
    return float(np.average(losses.astype(np.float64), weights=weights))
