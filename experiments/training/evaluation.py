"""Metrics of a state over the whole of a split: the mean loss, accuracy, F1 and rates."""

import time
from typing import Any

import numpy as np

from shared.backend import Backend, State
from shared.configs.experiment import Experiment
from shared.data import Examples, batches, classification_metrics, prefetch


def evaluate(backend: Backend, state: State, examples: Examples, experiment: Experiment) -> dict[str, Any]:
    """Evaluate every example once; `evaluation_seconds` excludes compilation."""
    started, compiled = time.perf_counter(), backend.compile_seconds
    order = batches(
        examples,
        experiment.batch_size,
        length=experiment.length,
        seed=experiment.seed,
        epoch=0,
        shuffle=False,
        bucket_lengths=experiment.bucket_lengths,
    )
    waiting, kept = [], []
    for batch in prefetch(order):
        waiting.append(backend.eval_step(state, batch))  # stays on the device
        kept.append({name: batch[name] for name in ("labels", "weights")})
    fetched = [backend.fetch(metrics) for metrics in waiting]
    seconds = time.perf_counter() - started - (backend.compile_seconds - compiled)
    real = np.concatenate([batch["weights"] > 0 for batch in kept])
    losses, predictions = (np.concatenate([part[name] for part in fetched])[real] for name in ("losses", "predictions"))
    labels = np.concatenate([batch["labels"] for batch in kept])[real]
    metrics = classification_metrics(labels, predictions, experiment.model.arguments["num_classes"])
    return {"loss": float(losses.astype(np.float64).mean()), **metrics, "evaluation_seconds": seconds}
