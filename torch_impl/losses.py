"""Losses and means over the real positions of a batch. Twin: jax_impl/losses.py."""

from collections.abc import Mapping

import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from torch_impl.precision import at_least_float32


def cross_entropy(logits: Float[Tensor, "*N C"], labels: Int[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """-log softmax(logits)[label] of each position, in float32 at least; labels of any integer type."""
    log_probabilities = F.log_softmax(at_least_float32(logits), dim=-1)
    return -log_probabilities.gather(-1, labels[..., None].long())[..., 0]


def predicted_classes(logits: Float[Tensor, "*N C"]) -> Int[Tensor, "*N"]:
    """The class of the largest logit, in int32."""
    return logits.argmax(dim=-1).int()


def weighted_mean(values: Shaped[Tensor, "*N"], weights: Float[Tensor, "*N"]) -> Float[Tensor, ""]:
    """sum(w v) / sum(w): positions of weight 0 are padding; 0 if all are."""
    total = weights.sum()
    return (weights * values).sum() / (total + (total == 0))


Scores = tuple[Tensor, Tensor, dict[str, Tensor]]  # losses, predictions, other metrics; shaped like weights


def classify(outputs: Float[Tensor, "*N C"], batch: Mapping[str, Tensor]) -> Scores:
    """Cross-entropy and the most likely class of each position; a training step also reports accuracy."""
    losses, predictions = cross_entropy(outputs, batch["labels"]), predicted_classes(outputs)
    return losses, predictions, {"accuracy": predictions == batch["labels"]}


LOSSES = {"cross_entropy": classify}  # the loss of a task -> (outputs, batch) -> Scores
