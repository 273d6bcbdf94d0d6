"""Losses and means over the real rows of a batch. Twin: jax_impl/losses.py."""

import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from torch_impl.precision import at_least_float32


def cross_entropy(logits: Float[Tensor, "B C"], labels: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
    """-log softmax(logits)[label] of each example, in float32 at least; labels of any integer type."""
    log_probabilities = F.log_softmax(at_least_float32(logits), dim=-1)
    return -log_probabilities.gather(-1, labels[:, None].long())[:, 0]


def predicted_classes(logits: Float[Tensor, "B C"]) -> Int[Tensor, "B"]:
    """The class of the largest logit, in int32."""
    return logits.argmax(dim=-1).int()


def weighted_mean(values: Shaped[Tensor, "B"], weights: Float[Tensor, "B"]) -> Float[Tensor, ""]:
    """sum(w v) / sum(w): rows of weight 0 only fill the batch; 0 where no row is real."""
    total = weights.sum()
    return (weights * values).sum() / (total + (total == 0))
