"""Losses and means over the real rows of a batch. Twin: torch_impl/losses.py."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Shaped

from jax_impl.precision import at_least_float32


def cross_entropy(logits: Float[Array, "B C"], labels: Int[Array, "B"]) -> Float[Array, "B"]:
    """-log softmax(logits)[label] of each example, in float32 at least; labels of any integer type."""
    log_probabilities = jax.nn.log_softmax(at_least_float32(logits), axis=-1)
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=-1)[:, 0]


def predicted_classes(logits: Float[Array, "B C"]) -> Int[Array, "B"]:
    """The class of the largest logit, in int32."""
    return logits.argmax(axis=-1).astype(jnp.int32)


def weighted_mean(values: Shaped[Array, "B"], weights: Float[Array, "B"]) -> Float[Array, ""]:
    """sum(w v) / sum(w): rows of weight 0 only fill the batch; 0 where no row is real."""
    total = weights.sum()
    return (weights * values).sum() / (total + (total == 0))
