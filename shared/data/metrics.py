"""The metrics of a classifier: accuracy, F1 and rates, all computed from one confusion matrix."""

from __future__ import annotations

import numpy as np

from shared.errors import IsogradError

RATES = {  # name: (label, prediction) of a binary confusion matrix, over all examples with that label
    "true_positive_rate": (1, 1),
    "false_positive_rate": (0, 1),
    "true_negative_rate": (0, 0),
    "false_negative_rate": (1, 0),
}


def classification_metrics(labels: np.ndarray, predictions: np.ndarray, number_of_classes: int) -> dict[str, float]:
    """Accuracy, F1 (of the positive class; macro for more than two classes) and, for two classes, the four rates."""
    return metrics_of_confusion(confusion_matrix(labels, predictions, number_of_classes))


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, number_of_classes: int) -> np.ndarray:
    """int64 (classes, classes): how often label i was predicted as j. Matrices of several batches may be added."""
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise IsogradError(f"expected as many predictions as labels, got shapes {predictions.shape} and {labels.shape}")
    both = np.concatenate([labels, predictions])
    if len(both) and not (both.min() >= 0 and both.max() < number_of_classes):
        raise IsogradError(f"expected classes 0 to {number_of_classes - 1}, got {both.min()} to {both.max()}")
    counts = np.zeros((number_of_classes, number_of_classes), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def metrics_of_confusion(counts: np.ndarray) -> dict[str, float]:
    """The metrics of a confusion matrix (labels in rows); a rate over no examples is NaN."""
    counts = np.asarray(counts, np.float64)
    if counts.sum() == 0:
        raise IsogradError("expected at least one example to compute metrics from, got none")
    metrics = {"accuracy": float(np.trace(counts) / counts.sum()), "f1": _f1(counts)}
    if len(counts) == 2:
        metrics |= {name: _ratio(counts[cell], counts[cell[0]].sum()) for name, cell in RATES.items()}
    return metrics


def _f1(counts: np.ndarray) -> float:
    """2 TP / (labelled + predicted), of class 1 out of two, else the mean over classes that occur at all."""
    occurrences = counts.sum(axis=0) + counts.sum(axis=1)
    scores = 2 * np.diag(counts) / np.maximum(occurrences, 1)  # 0 for a class that never occurs
    return float(scores[1] if len(counts) == 2 else scores[occurrences > 0].mean())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
