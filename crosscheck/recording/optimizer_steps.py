"""Training steps of one side: optimiser state and weights after the first update and after the last.

Weights come last: an update computes them from everything else, so a fault shows in the state first.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from shared.arrays import Arrays
from shared.configs.optimizer import AdamWConfig, OptimizerConfig
from shared.training_state import WEIGHTS

RATE, DECAY = 1e-3, 0.1
# Adam scales the noise in a gradient that is zero in theory by up to rate / eps; with eps = rate it adds nothing.
CONFIG = AdamWConfig(learning_rate=RATE, beta_1=0.9, beta_2=0.99, eps=RATE, weight_decay=DECAY)
MOMENTS = {"exp_avg": "mu", "exp_avg_sq": "nu"}  # torch's names -> optax's


def rate_of(step: int) -> float:
    """The learning rate of an update (the first is 1); it changes every step, so that an off-by-one step shows."""
    return RATE / step


def update_with_torch(
    parameters: Mapping[str, Any], gradients: Callable[[], dict[str, Any]], steps: int, optimizer: Any = None
) -> Arrays:
    """The state after update 1 and after the last; `gradients` computes them at the current parameters.

    `optimizer` is a factory of torch optimizers (parameters -> optimizer) or a config of ours; AdamW by default.
    """
    import torch

    from crosscheck.recording.shadows import read

    make = _own_torch if isinstance(optimizer or CONFIG, OptimizerConfig) else _foreign_torch
    step_once = make(parameters, optimizer or CONFIG)
    states = {}
    for step in range(1, steps + 1):
        found = gradients()
        with torch.no_grad():
            state = step_once(step, found)
        if step in (1, steps):
            states[step] = {group: {n: read(t) for n, t in named.items()} for group, named in state.items()}
    return _named(states)


def _own_torch(parameters: Mapping[str, Any], config: OptimizerConfig) -> Callable[[int, Any], dict[str, Any]]:
    import torch

    from torch_impl.optimizer import RULES

    rule = RULES[type(config)](config)
    weights = {name: parameter.data for name, parameter in parameters.items()}
    kept = tuple({name: torch.zeros_like(weight) for name, weight in weights.items()} for _ in config.state)

    def step_once(step: int, gradients: Any) -> dict[str, Any]:
        nonlocal kept
        updated, kept = rule.update(weights, gradients, kept, rule.coefficients(step, rate_of(step)))
        return dict(zip((*config.state, WEIGHTS), (*kept, updated), strict=True))

    return step_once


def _foreign_torch(parameters: Mapping[str, Any], optimizer: Any) -> Callable[[int, Any], dict[str, Any]]:
    chosen = optimizer(list(parameters.values()))

    def step_once(step: int, gradients: Any) -> dict[str, Any]:
        for name, parameter in parameters.items():
            parameter.grad = gradients[name]
        chosen.step()
        state = {name: chosen.state[parameter] for name, parameter in parameters.items()}
        moments = {
            group: {name: state[name][group] for name in parameters if group in state[name]} for group in MOMENTS
        }
        return {**moments, WEIGHTS: {name: parameter.data for name, parameter in parameters.items()}}

    return step_once


def update_with_jax(
    parameters: Any,
    gradients: Callable[[Any], Any],
    steps: int,
    to_canonical: Callable[[Any], Arrays],
    optimizer: Any = None,
    compiler_options: Mapping[str, Any] | None = None,
) -> Arrays:
    """The sibling of `update_with_torch` for a parameter tree; `optimizer` is an optax transformation or our config,
    whose rule is compiled with these options."""
    config = optimizer or CONFIG
    is_own = isinstance(config, OptimizerConfig)
    step_once = _own_jax(parameters, config, compiler_options) if is_own else _foreign_jax(parameters, config)
    states = {}
    for step in range(1, steps + 1):
        parameters, state = step_once(step, parameters, gradients(parameters))
        if step in (1, steps):
            states[step] = {group: to_canonical(tree) for group, tree in state.items()}
    return _named(states)


def _own_jax(
    parameters: Any, config: OptimizerConfig, compiler_options: Mapping[str, Any] | None
) -> Callable[[int, Any, Any], tuple[Any, dict[str, Any]]]:
    import jax
    import jax.numpy as jnp

    from jax_impl.optimizer import RULES

    rule, structure = RULES[type(config)](config), jax.tree.structure(parameters)
    zeros = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in _numbered(parameters).items()}
    kept = tuple(zeros for _ in config.state)
    update = jax.jit(rule.update, compiler_options=compiler_options)

    def step_once(step: int, weights: Any, gradients: Any) -> tuple[Any, dict[str, Any]]:
        nonlocal kept
        dtype = jax.tree.leaves(weights)[0].dtype
        coefficients = jnp.asarray(rule.coefficients(step, rate_of(step)), dtype)
        updated, kept = update(_numbered(weights), _numbered(gradients), kept, coefficients)
        groups = zip((*config.state, WEIGHTS), (*kept, updated), strict=True)
        state = {group: structure.unflatten(named.values()) for group, named in groups}
        return state[WEIGHTS], state

    return step_once


def _numbered(tree: Any) -> dict[str, Any]:
    """A tree's arrays by number, as the flat dict that our optimiser takes; numbers sort the way JAX sorts keys."""
    import jax

    return {f"{index:06d}": leaf for index, leaf in enumerate(jax.tree.leaves(tree))}


def _foreign_jax(parameters: Any, optimizer: Any) -> Callable[[int, Any, Any], tuple[Any, dict[str, Any]]]:
    import optax

    state = [optimizer.init(parameters)]

    def step_once(step: int, weights: Any, gradients: Any) -> tuple[Any, dict[str, Any]]:
        changes, state[0] = optimizer.update(gradients, state[0], weights)
        weights = optax.apply_updates(weights, changes)
        found = {group: optax.tree.get(state[0], name, None) for group, name in MOMENTS.items()}
        return weights, {**{group: tree for group, tree in found.items() if tree is not None}, WEIGHTS: weights}

    return step_once


def _named(states: Mapping[int, Mapping[str, Arrays]]) -> Arrays:
    return {
        f"{step}/{group}/{name}": array
        for step, state in states.items()
        for group, arrays in state.items()
        for name, array in arrays.items()
    }
