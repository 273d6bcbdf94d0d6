"""A classifier's metrics, against cases computed by hand."""

import math

import numpy as np
import pytest

from shared.data import classification_metrics, confusion_matrix, metrics_of_confusion
from shared.errors import IsogradError


def test_two_classes_give_accuracy_f1_and_rates():
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    guesses = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])  # TP 3, FN 1, FP 2, TN 4
    metrics = classification_metrics(labels, guesses, 2)
    assert metrics == {
        "accuracy": 7 / 10,
        "f1": 2 * 3 / (2 * 3 + 2 + 1),
        "true_positive_rate": 3 / 4,
        "false_positive_rate": 2 / 6,
        "true_negative_rate": 4 / 6,
        "false_negative_rate": 1 / 4,
    }


def test_three_classes_give_the_mean_f1_of_those_that_occur():
    # class 0: TP 2, FP 1 -> 4/5; class 1: FN 1 -> 0; class 2: TP 1, FN 1 -> 2/3; class 3: never; class 4: FP 1 -> 0
    metrics = classification_metrics(np.array([0, 0, 1, 2, 2]), np.array([0, 0, 0, 2, 4]), 5)
    assert metrics == {"accuracy": 3 / 5, "f1": (4 / 5 + 0 + 2 / 3 + 0) / 4}


def test_a_rate_over_no_examples_is_not_a_number_and_f1_is_zero():
    metrics = classification_metrics(np.array([0, 0]), np.array([0, 0]), 2)
    assert math.isnan(metrics["true_positive_rate"])
    assert math.isnan(metrics["false_negative_rate"])
    assert (metrics["accuracy"], metrics["f1"], metrics["true_negative_rate"]) == (1.0, 0.0, 1.0)


def test_lists_count_like_arrays():
    assert np.array_equal(confusion_matrix([0, 1, 1], [1, 1, 0], 2), [[0, 1], [1, 1]])
    assert metrics_of_confusion([[3, 1], [0, 4]]) == metrics_of_confusion(np.array([[3, 1], [0, 4]]))


def test_confusion_matrices_of_batches_add_up():
    labels, guesses = np.array([0, 1, 1, 0, 1]), np.array([1, 1, 0, 0, 1])
    parts = confusion_matrix(labels[:2], guesses[:2], 2) + confusion_matrix(labels[2:], guesses[2:], 2)
    assert parts.tolist() == [[1, 1], [1, 2]]
    assert metrics_of_confusion(parts) == classification_metrics(labels, guesses, 2)


def test_invalid_arguments_are_refused():
    with pytest.raises(IsogradError, match=r"got shapes \(2,\) and \(3,\)"):
        classification_metrics(np.array([0, 1, 1]), np.array([0, 1]), 2)
    with pytest.raises(IsogradError, match="expected classes 0 to 1, got 0 to 2"):
        classification_metrics(np.array([0, 1]), np.array([0, 2]), 2)
    with pytest.raises(IsogradError, match="at least one example"):
        classification_metrics(np.array([], int), np.array([], int), 2)
