"""Losses and means over the real positions of a batch. Twin: torch_impl/losses.py."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Shaped

from jax_impl.precision import at_least_float32


def cross_entropy(logits: Float[Array, "*N C"], labels: Int[Array, "*N"]) -> Float[Array, "*N"]:
    """-log softmax(logits)[label] of each position, in float32 at least; labels of any integer type."""
    log_probabilities = jax.nn.log_softmax(at_least_float32(logits), axis=-1)
    return -jnp.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0]


def predicted_classes(logits: Float[Array, "*N C"]) -> Int[Array, "*N"]:
    """The class of the largest logit, in int32."""
    return logits.argmax(axis=-1).astype(jnp.int32)


def weighted_mean(values: Shaped[Array, "*N"], weights: Float[Array, "*N"]) -> Float[Array, ""]:
    """sum(w v) / sum(w): positions of weight 0 are padding; 0 if all are."""
    total = weights.sum()
    return (weights * values).sum() / (total + (total == 0))


Scores = tuple[Array, Array, dict[str, Array]]  # losses, predictions, other metrics; shaped like weights


def classify(outputs: Float[Array, "*N C"], batch: Mapping[str, Array]) -> Scores:
    """Cross-entropy and the most likely class of each position; a training step also reports accuracy."""
    losses, predictions = cross_entropy(outputs, batch["labels"]), predicted_classes(outputs)
    return losses, predictions, {"accuracy": predictions == batch["labels"]}


LOSSES = {"cross_entropy": classify}  # the loss of a task -> (outputs, batch) -> Scores
