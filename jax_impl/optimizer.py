"""Optimisers with every hyperparameter passed, as functions of named tensors. Twin: torch_impl/optimizer.py."""

import jax
import jax.numpy as jnp
from jax import Array

from shared.configs.optimizer import AdagradConfig, AdamConfig, AdamWConfig, RMSpropConfig, SGDConfig

Tensors = dict[str, Array]
Named = tuple[Tensors, ...]


class SGD:
    """g' = g + decay w, b' = momentum b + g', w' = w - lr b'; Nesterov: w' = w - lr (g' + momentum b')."""

    def __init__(self, config: SGDConfig):
        self.config = config

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Step-dependent coefficients (the first step is 1), in Python's float64; the last argument of `update`."""
        return (learning_rate,)

    def update(self, weights: Tensors, gradients: Tensors, state: Named, coefficients: Array) -> tuple[Tensors, Named]:
        """Weights and momentum buffer (none without momentum) after one step; consumes its arguments."""
        (learning_rate,) = coefficients
        momentum = self.config.momentum
        directions = _with_decay(gradients, weights, self.config.weight_decay)
        if state:
            buffers = jax.tree.map(lambda b, g: momentum * b + g, state[0], directions)
            ahead = jax.tree.map(lambda g, b: g + momentum * b, directions, buffers)
            directions, state = ahead if self.config.nesterov else buffers, (buffers,)
        return jax.tree.map(lambda w, d: w - learning_rate * d, weights, directions), state


class AdamW:
    """m' = b1 m + (1 - b1) g, v' = b2 v + (1 - b2) g^2,
    w' = w - lr (m' / (1 - b1^t) / (sqrt(v' / (1 - b2^t)) + eps) + decay w)
    """

    def __init__(self, config: AdamWConfig):
        self.config = config

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Step-dependent coefficients (the first step is 1), in Python's float64; the last argument of `update`.

        `optax.adamw` computes 1 - b2^t on the device, where float32 leaves it 4 digits at the first step.
        """
        return 1 - self.config.beta_1**step, 1 - self.config.beta_2**step, learning_rate

    def update(self, weights: Tensors, gradients: Tensors, state: Named, coefficients: Array) -> tuple[Tensors, Named]:
        """Weights and both moments after one step; consumes its arguments."""
        correction_1, correction_2, learning_rate = coefficients
        beta_1, beta_2 = self.config.beta_1, self.config.beta_2
        eps, weight_decay = self.config.eps, self.config.weight_decay
        exp_avg, exp_avg_sq = state

        def moved(w: Array, m: Array, v: Array) -> Array:
            return w - learning_rate * (m / correction_1 / (jnp.sqrt(v / correction_2) + eps) + weight_decay * w)

        exp_avg = jax.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, exp_avg, gradients)
        exp_avg_sq = jax.tree.map(lambda v, g: beta_2 * v + (1 - beta_2) * g * g, exp_avg_sq, gradients)
        return jax.tree.map(moved, weights, exp_avg, exp_avg_sq), (exp_avg, exp_avg_sq)


class Adam:
    """AdamW without decay, of the gradients g' = g + decay w."""

    def __init__(self, config: AdamConfig):
        self.config = config
        undecayed = AdamWConfig(config.learning_rate, config.beta_1, config.beta_2, config.eps, weight_decay=0.0)
        self.rule = AdamW(undecayed)

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Step-dependent coefficients (the first step is 1), in Python's float64; the last argument of `update`."""
        return self.rule.coefficients(step, learning_rate)

    def update(self, weights: Tensors, gradients: Tensors, state: Named, coefficients: Array) -> tuple[Tensors, Named]:
        """Weights and both moments after one step; consumes its arguments."""
        gradients = _with_decay(gradients, weights, self.config.weight_decay)
        return self.rule.update(weights, gradients, state, coefficients)


class RMSprop:
    """g' = g + decay w, s' = alpha s + (1 - alpha) g'^2, w' = w - lr g' / (sqrt(s') + eps)."""

    def __init__(self, config: RMSpropConfig):
        self.config = config

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Step-dependent coefficients (the first step is 1), in Python's float64; the last argument of `update`."""
        return (learning_rate,)

    def update(self, weights: Tensors, gradients: Tensors, state: Named, coefficients: Array) -> tuple[Tensors, Named]:
        """Weights and mean squares after one step; consumes its arguments."""
        (learning_rate,) = coefficients
        (square_avg,) = state
        alpha, eps = self.config.alpha, self.config.eps
        gradients = _with_decay(gradients, weights, self.config.weight_decay)
        square_avg = jax.tree.map(lambda s, g: alpha * s + (1 - alpha) * g * g, square_avg, gradients)
        moved = jax.tree.map(
            lambda w, g, s: w - learning_rate * g / (jnp.sqrt(s) + eps), weights, gradients, square_avg
        )
        return moved, (square_avg,)


class Adagrad:
    """g' = g + decay w, s' = s + g'^2, w' = w - lr g' / (sqrt(s') + eps)."""

    def __init__(self, config: AdagradConfig):
        self.config = config

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Step-dependent coefficients (the first step is 1), in Python's float64; the last argument of `update`."""
        return (learning_rate,)

    def update(self, weights: Tensors, gradients: Tensors, state: Named, coefficients: Array) -> tuple[Tensors, Named]:
        """Weights and sums of squares after one step; consumes its arguments."""
        (learning_rate,) = coefficients
        (total,) = state
        eps = self.config.eps
        gradients = _with_decay(gradients, weights, self.config.weight_decay)
        total = jax.tree.map(lambda s, g: s + g * g, total, gradients)
        moved = jax.tree.map(lambda w, g, s: w - learning_rate * g / (jnp.sqrt(s) + eps), weights, gradients, total)
        return moved, (total,)


RULES = {SGDConfig: SGD, AdamWConfig: AdamW, AdamConfig: Adam, RMSpropConfig: RMSprop, AdagradConfig: Adagrad}


def _with_decay(gradients: Tensors, weights: Tensors, weight_decay: float) -> Tensors:
    """Decay as L2: the gradient of weight_decay / 2 times the sum of squares is added."""
    if not weight_decay:
        return gradients
    return {name: gradient + weight_decay * weights[name] for name, gradient in gradients.items()}
