"""One update of named tensors: clipped gradients, a rule for each parameter group, a moving average.
Twin: torch_impl/update.py.
"""

import functools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from jax_impl.optimizer import RULES, Tensors
from shared.configs.optimizer import OptimizerConfig, TrainingConfig
from shared.parameter_groups import by_group
from shared.training_state import AVERAGE, GATHERED, GRADIENT_SUM, WEIGHTS

Groups = dict[str, Tensors]  # weights, the optimiser's own, ... -> name -> tensor


class Update:
    """The optimiser with separate hyperparameters for each parameter group, plus clipping and averaging."""

    def __init__(self, optimizer: OptimizerConfig, training: TrainingConfig, names: Iterable[str]):
        self.training = training
        self.state = optimizer.state
        self.groups = []
        for group, members in by_group(names, training.groups):
            if not group.trainable:
                continue
            decay = optimizer.weight_decay if group.weight_decay is None else group.weight_decay
            rule = RULES[type(optimizer)](replace(optimizer, weight_decay=decay))
            self.groups.append((rule, group.rate_factor, members))

    def coefficients(self, update: int, learning_rate: float) -> list[tuple[float, ...]]:
        """Update-dependent coefficients (the first update is 1), one row per parameter group."""
        return [rule.coefficients(update, factor * learning_rate) for rule, factor, _ in self.groups]

    def apply(self, tensors: Groups, gradients: Tensors, coefficients: Array) -> Groups:
        """All tensors after one update by these gradients; consumes the tensors it is given."""
        moved = {group: dict(tensors[group]) for group in (WEIGHTS, *self.state)}
        for (rule, _, names), row in zip(self.groups, coefficients, strict=True):
            for name in names:
                parts = _moved(rule, tuple(tensors[group][name] for group in moved), gradients[name], row)
                for group, part in zip(moved.values(), parts, strict=True):
                    group[name] = part
        if self.training.average_decay is None:
            return {**tensors, **moved}
        return {**tensors, **moved, AVERAGE: averaged(tensors[AVERAGE], moved[WEIGHTS], self.training.average_decay)}


@functools.partial(jax.jit, static_argnums=0)
def _moved(rule: Any, parts: tuple[Array, ...], gradient: Array, coefficients: Array) -> tuple[Array, ...]:
    """One weight and its optimiser state after an update: JAX traces it once for all weights of a shape."""
    weights, *state = ({"": part} for part in parts)
    weights, state = rule.update(weights, {"": gradient}, tuple(state), coefficients)
    return tuple(part[""] for part in (weights, *state))


def global_norm(gradients: Tensors) -> Float[Array, ""]:
    """The L2 norm of all gradients together."""
    return optax.tree.norm(gradients)


def clipped(gradients: Tensors, norm: Float[Array, ""], clip_norm: float | None) -> Tensors:
    """Gradients times min(1, clip_norm / norm): `torch.nn.utils.clip_grad_norm_` divides by norm + 1e-6 instead."""
    if clip_norm is None:
        return gradients
    factor = jnp.where(norm > clip_norm, clip_norm / norm, 1.0)
    return {name: gradient * factor for name, gradient in gradients.items()}


def averaged(average: Tensors, weights: Tensors, decay: float) -> Tensors:
    """decay average + (1 - decay) weights, the exponential moving average."""
    return {name: decay * average[name] + (1 - decay) * weights[name] for name in average}


def gathered(tensors: Groups, gradients: Tensors, rows: Float[Array, ""]) -> Groups:
    """The sums with a batch's mean gradients over `rows` real rows added to them."""
    sums = {name: total + rows * gradients[name] for name, total in tensors[GRADIENT_SUM].items()}
    return {**tensors, GRADIENT_SUM: sums, GATHERED: tensors[GATHERED] + rows}


def mean_gradients(tensors: Groups) -> Tensors:
    """The mean gradients over all accumulated rows; zero if there are none."""
    rows = tensors[GATHERED]
    return {name: total / (rows + (rows == 0)) for name, total in tensors[GRADIENT_SUM].items()}


def emptied(tensors: Groups) -> Groups:
    """The sums reset to zero."""
    sums = {name: jnp.zeros_like(total) for name, total in tensors[GRADIENT_SUM].items()}
    return {**tensors, GRADIENT_SUM: sums, GATHERED: jnp.zeros_like(tensors[GATHERED])}
