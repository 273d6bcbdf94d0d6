"""AdamW of both backends against their libraries, with the published formula in longer floats as the oracle."""

import importlib

import numpy as np
import pytest

from shared.backend import PACKAGES
from shared.configs.experiment import AdamWConfig

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

OPTIMIZER = AdamWConfig(beta_1=0.85, beta_2=0.97, eps=1e-5, weight_decay=0.2)
RATE = 0.01
GRADIENT_STEPS = 1000
SHAPES = {"a": (3, 5), "b": (7,)}


def gradients_of(number: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(number)
    return {
        name: generator.standard_normal(shape) * 10.0 ** generator.integers(-6, 3) for name, shape in SHAPES.items()
    }


def learning_rate_of(number: int) -> float:
    return RATE / (1 + number / 100)


def oracle(start: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """AdamW as published, in the longest floats that numpy has."""
    w = {name: array.astype(np.longdouble) for name, array in start.items()}
    m, v = ({name: np.zeros_like(array) for name, array in w.items()} for _ in range(2))
    b1, b2, eps, decay = map(np.longdouble, (OPTIMIZER.beta_1, OPTIMIZER.beta_2, OPTIMIZER.eps, OPTIMIZER.weight_decay))
    for t in range(1, GRADIENT_STEPS + 1):
        for name, g in gradients_of(t).items():
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            update = (m[name] / (1 - b1**t)) / (np.sqrt(v[name] / (1 - b2**t)) + eps)
            w[name] = w[name] - np.longdouble(learning_rate_of(t)) * (update + decay * w[name])
    return w


def ours(package: str, start: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    weights_module = importlib.import_module(f"{package}_impl.weights")
    optimizer = importlib.import_module(f"{package}_impl.optimizer").AdamW(OPTIMIZER)
    update, pack = (jax.jit(optimizer.update), np.array) if package == "jax" else (optimizer.update, tuple)
    state = [{name: weights_module.to_tensor(array * scale) for name, array in start.items()} for scale in (1, 0, 0)]
    for t in range(1, GRADIENT_STEPS + 1):
        gradients = {name: weights_module.to_tensor(array) for name, array in gradients_of(t).items()}
        state = update(state[0], gradients, *state[1:], pack(optimizer.coefficients(t, learning_rate_of(t))))
    return {name: weights_module.to_numpy(tensor) for name, tensor in state[0].items()}


def by_torch(start: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    weights = {name: torch.nn.Parameter(torch.tensor(array)) for name, array in start.items()}
    hyperparameters = {"betas": (OPTIMIZER.beta_1, OPTIMIZER.beta_2), "eps": OPTIMIZER.eps}
    optimizer = torch.optim.AdamW(
        weights.values(), **hyperparameters, weight_decay=OPTIMIZER.weight_decay, foreach=False
    )
    for t in range(1, GRADIENT_STEPS + 1):
        optimizer.param_groups[0]["lr"] = learning_rate_of(t)
        for name, gradient in gradients_of(t).items():
            weights[name].grad = torch.tensor(gradient)
        optimizer.step()
    return {name: weight.detach().numpy() for name, weight in weights.items()}


def by_optax(start: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    optax = pytest.importorskip("optax")
    hyperparameters = {"b1": OPTIMIZER.beta_1, "b2": OPTIMIZER.beta_2, "eps": OPTIMIZER.eps}
    optimizer = optax.adamw(1.0, **hyperparameters, weight_decay=OPTIMIZER.weight_decay)

    @jax.jit
    def update(weights, state, gradients, rate):
        updates, state = optimizer.update(gradients, state, weights)
        return jax.tree.map(lambda w, u: w + rate * u, weights, updates), state

    weights = jax.tree.map(jax.numpy.asarray, start)
    state = optimizer.init(weights)
    for t in range(1, GRADIENT_STEPS + 1):
        weights, state = update(weights, state, gradients_of(t), learning_rate_of(t))
    return jax.tree.map(np.asarray, weights)


def test_adamw_is_as_exact_as_both_libraries_over_1000_steps_of_float64():
    generator = np.random.default_rng(0)
    start = {name: generator.standard_normal(shape) for name, shape in SHAPES.items()}
    exact = oracle(start)

    def error(weights: dict[str, np.ndarray]) -> float:
        return max(float(np.abs(weights[name] - exact[name]).max()) for name in SHAPES)

    with jax.enable_x64(True):
        libraries = {"torch.optim.AdamW": error(by_torch(start)), "optax.adamw": error(by_optax(start))}
        errors = {name: error(ours(name, start)) for name in PACKAGES}
    print(errors, libraries)
    assert max(errors.values()) <= 3 * max(libraries.values())


def test_the_bias_corrections_keep_float32_steps_as_close_as_those_of_torch():
    generator = np.random.default_rng(1)
    gradient = generator.standard_normal(1000).astype(np.float32)
    config = AdamWConfig(eps=0.0, weight_decay=0.0)
    errors = {}
    for package in PACKAGES:
        to_tensor = importlib.import_module(f"{package}_impl.weights").to_tensor
        optimizer = importlib.import_module(f"{package}_impl.optimizer").AdamW(config)
        w, g, m, v = ({"a": to_tensor(gradient * scale)} for scale in (0, 1, 0, 0))
        coefficients = optimizer.coefficients(1, 1.0)
        if package == "jax":
            coefficients = to_tensor(np.array(coefficients, np.float32))
        moved = np.asarray(optimizer.update(w, g, m, v, coefficients)[0]["a"])
        errors[package] = np.abs(moved + np.sign(gradient)).max()  # the first step of Adam is the sign
    print(errors)
    assert max(errors.values()) <= 3 * max(min(errors.values()), np.finfo(np.float32).eps)
