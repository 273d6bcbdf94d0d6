"""AdamW with every hyperparameter passed. Twin: torch_impl/optimizer.py."""

import jax
import jax.numpy as jnp
from jax import Array

from shared.configs.experiment import AdamWConfig

Tensors = dict[str, Array]


class AdamW:
    """Adam with decoupled weight decay on every parameter (Loshchilov & Hutter 2019), as a function of named tensors.

    m' = b1 m + (1 - b1) g, v' = b2 v + (1 - b2) g^2,
    w' = w - lr (m' / (1 - b1^t) / (sqrt(v' / (1 - b2^t)) + eps) + decay w)
    """

    def __init__(self, config: AdamWConfig):
        self.config = config

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """What changes from step to step (the first is 1), in Python's float64; the last argument of `update`.

        `optax.adamw` computes 1 - b2^t on the device, where float32 leaves it 4 digits at the first step.
        """
        return 1 - self.config.beta_1**step, 1 - self.config.beta_2**step, learning_rate

    def update(
        self,
        weights: Tensors,
        gradients: Tensors,
        exp_avg: Tensors,
        exp_avg_sq: Tensors,
        coefficients: Array,
    ) -> tuple[Tensors, Tensors, Tensors]:
        """Weights and both moments after one step; those of the arguments are used up (donated by the caller)."""
        correction_1, correction_2, learning_rate = coefficients
        beta_1, beta_2 = self.config.beta_1, self.config.beta_2
        eps, weight_decay = self.config.eps, self.config.weight_decay

        def moved(w: Array, m: Array, v: Array) -> Array:
            return w - learning_rate * (m / correction_1 / (jnp.sqrt(v / correction_2) + eps) + weight_decay * w)

        exp_avg = jax.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, exp_avg, gradients)
        exp_avg_sq = jax.tree.map(lambda v, g: beta_2 * v + (1 - beta_2) * g * g, exp_avg_sq, gradients)
        return jax.tree.map(moved, weights, exp_avg, exp_avg_sq), exp_avg, exp_avg_sq
