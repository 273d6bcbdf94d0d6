"""Formulas of losses, predictions and means."""

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.twins.formulas.layers import Arguments
from crosscheck.twins.formulas.weights import Weights


def cross_entropy(w: Weights, a: Arguments, logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(logits)[label] by torch's own function, which wants the classes on axis 1."""
    return F.cross_entropy(logits.movedim(-1, 1), labels, reduction="none")


def predicted_classes(w: Weights, a: Arguments, logits: Tensor) -> Tensor:
    """The first class that no other exceeds, in int32."""
    classes = torch.arange(logits.shape[-1])
    is_largest = (logits[..., :, None] >= logits[..., None, :]).all(-1)
    return torch.where(is_largest, classes, len(classes)).amin(-1).int()


def weighted_mean(w: Weights, a: Arguments, values: Tensor, weights: Tensor) -> Tensor:
    """sum(w v) / sum(w), and sum(w v) = 0 where no position counts."""
    total, weighed = weights.sum(), torch.dot(weights.flatten(), values.flatten())
    return weighed if total == 0 else weighed / total
