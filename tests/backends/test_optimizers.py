"""The optimisers of both backends against their libraries and their published formulas, and against each other."""

import functools
import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bounds import roundings
from optimizer_cases import CASES, FORMULAS, RATES, SHAPES, STEPS, by_formula, drawn, hyperparameters

from shared.arrays import Arrays
from shared.backend import PACKAGES
from shared.configs.optimizer import AdamWConfig, OptimizerConfig

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
criterion = pytest.importorskip("crosscheck.criterion")
Ended = tuple[Arrays, ...]  # weights and optimiser state


@pytest.fixture(autouse=True)
def _in_float64():
    with jax.enable_x64(True):
        yield


@functools.cache
def by_ours(package: str, config: OptimizerConfig, steps: int = STEPS) -> Ended:
    rule = importlib.import_module(f"{package}_impl.optimizer").RULES[type(config)](config)
    return {"torch": by_our_torch, "jax": by_our_jax}[package](rule, steps)


def by_our_torch(rule: Any, steps: int, arranged: Callable[[str, Any], Any] = lambda kind, tensor: tensor) -> Ended:
    start, gradients = drawn()
    weights = {name: arranged("weights", torch.tensor(array)) for name, array in start.items()}
    state = tuple({name: torch.zeros_like(weight) for name, weight in weights.items()} for _ in rule.config.state)
    for t in range(steps):
        found = {name: arranged("gradients", torch.tensor(gradients[name][t])) for name in weights}
        weights, state = rule.update(weights, found, state, rule.coefficients(t + 1, RATES[t]))
    return tuple({name: tensor.numpy() for name, tensor in named.items()} for named in (weights, *state))


def by_our_jax(rule: Any, steps: int) -> Ended:
    start, gradients = drawn()
    rows = np.array([rule.coefficients(t + 1, RATES[t]) for t in range(steps)])
    state = tuple(jax.tree.map(np.zeros_like, start) for _ in rule.config.state)

    def step(carry, given):
        weights, state = carry
        return rule.update(weights, given[0], state, given[1]), None

    found = {name: array[:steps] for name, array in gradients.items()}
    weights, state = jax.jit(functools.partial(jax.lax.scan, step))((start, state), (found, rows))[0]
    return jax.tree.map(np.asarray, (weights, *state))


@functools.cache
def by_torch(name: str) -> tuple[Arrays, dict[str, Arrays]]:
    start, gradients = drawn()
    weights = {name: torch.nn.Parameter(torch.tensor(array)) for name, array in start.items()}
    optimizer = CASES[name].torch(weights.values(), lr=1.0)
    for t, rate in enumerate(RATES):
        optimizer.param_groups[0]["lr"] = rate
        for leaf, weight in weights.items():
            weight.grad = torch.tensor(gradients[leaf][t])
        optimizer.step()
    kept = {key: {leaf: optimizer.state[w][key].numpy() for leaf, w in weights.items()} for key in names_of(optimizer)}
    return {leaf: weight.detach().numpy() for leaf, weight in weights.items()}, kept


def names_of(optimizer: Any) -> list[str]:
    """The tensors that a torch optimiser keeps for each weight, except its step counter."""
    state = optimizer.state[optimizer.param_groups[0]["params"][0]]
    return [key for key, value in state.items() if key != "step" and value is not None]


def by_optax(name: str) -> Arrays:
    start, gradients = drawn()
    optimizer = CASES[name].optax()

    def step(carry, given):
        weights, state = carry
        updates, state = optimizer.update(given[0], state, weights)
        return (jax.tree.map(lambda w, u: w + given[1] * u, weights, updates), state), None

    carry = start, optimizer.init(jax.tree.map(jax.numpy.asarray, start))
    return jax.tree.map(np.asarray, jax.jit(functools.partial(jax.lax.scan, step))(carry, (gradients, RATES))[0][0])


def assert_proven(ours: Arrays, theirs: Arrays) -> None:
    for name in SHAPES:
        verdict = criterion.prove(ours[name], theirs[name], 0.0)
        assert verdict.agrees, f"{name}: {verdict}"


@pytest.mark.parametrize("name", CASES)
def test_both_are_as_exact_over_1000_steps_of_float64_as_the_libraries(name):
    case = CASES[name]
    exact = by_formula(case.config)

    def error(weights: Arrays) -> float:
        return max(float(np.abs(weights[leaf] - exact[leaf]).max()) for leaf in SHAPES)

    libraries = {"torch": error(by_torch(name)[0])} | ({"optax": error(by_optax(name))} if case.optax else {})
    errors = {package: error(by_ours(package, case.config)[0]) for package in PACKAGES}
    print(errors, libraries)
    assert max(errors.values()) <= criterion.NOISE_RATIO * max(libraries.values())


@pytest.mark.parametrize("name", CASES)
def test_weights_and_optimiser_states_are_proven_equal_after_1000_steps(name):
    config = CASES[name].config
    for ours, theirs in zip(*(by_ours(package, config) for package in PACKAGES), strict=True):
        assert_proven(ours, theirs)


@pytest.mark.parametrize("name", CASES)
def test_the_optimiser_state_has_the_names_and_values_of_torch(name):
    config, (weights, kept) = CASES[name].config, by_torch(name)
    assert tuple(kept) == config.state
    for package in PACKAGES:
        ended = by_ours(package, config)
        assert len(ended) == 1 + len(config.state)
        for ours, theirs in zip(ended, (weights, *kept.values()), strict=True):
            assert_proven(ours, theirs)


FIELDS = [
    (name, field)
    for name in ("nesterov with decay", "adam", "adamw", "rmsprop", "adagrad")
    for field in hyperparameters(CASES[name].config)
]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_hyperparameter_is_honoured_by_both(name, field):
    config = CASES[name].config
    value = getattr(config, field)
    changed = replace(config, **{field: not value if isinstance(value, bool) else value / 2})
    ended = {package: by_ours(package, changed, steps=3)[0] for package in PACKAGES}
    assert_proven(*ended.values())
    for package, weights in ended.items():
        before = by_ours(package, config, steps=3)[0]
        assert not any(criterion.prove(before[leaf], weights[leaf], 0.0).agrees for leaf in SHAPES), package


@pytest.mark.parametrize("kind", FORMULAS, ids=lambda kind: kind.__name__)
def test_the_default_settings_are_those_of_the_formula_whatever_their_size(kind):
    """An eps of 1e-8 counts beside small gradients alone."""
    exact = {leaf: weights.astype(np.float64) for leaf, weights in by_formula(kind(), steps=9).items()}
    for package in PACKAGES:
        assert_proven(by_ours(package, kind(), steps=9)[0], exact)


@pytest.mark.parametrize("strided", ["weights", "gradients"])
@pytest.mark.parametrize("name", CASES)
def test_torch_updates_do_not_depend_on_the_strides_of(name, strided):
    """Torch's fused kernels ignore them (D72)."""
    config = CASES[name].config
    rule = importlib.import_module("torch_impl.optimizer").RULES[type(config)](config)

    def arranged(kind: str, tensor: Any) -> Any:
        return tensor.mT.contiguous().mT if kind == strided and tensor.ndim > 1 else tensor

    assert_proven(by_our_torch(rule, 3, arranged)[0], by_ours("torch", config, steps=3)[0])


def test_the_bias_corrections_keep_float32_steps_as_close_as_those_of_torch():
    gradient = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    config = AdamWConfig(eps=0.0, weight_decay=0.0)
    errors = {}
    for package in PACKAGES:
        to_tensor = importlib.import_module(f"{package}_impl.weights").to_tensor
        rule = importlib.import_module(f"{package}_impl.optimizer").AdamW(config)
        w, g, *kept = ({"a": to_tensor(gradient * scale)} for scale in (0, 1, 0, 0))
        coefficients = rule.coefficients(1, 1.0)
        if package == "jax":
            coefficients = to_tensor(np.array(coefficients, np.float32))
        moved = np.asarray(rule.update(w, g, tuple(kept), coefficients)[0]["a"])
        errors[package] = np.abs(moved + np.sign(gradient)).max()  # the first step of Adam is the sign
    print(errors)
    assert max(errors.values()) <= criterion.NOISE_RATIO * max(min(errors.values()), roundings(2, "float32"))
