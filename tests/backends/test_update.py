"""Parameter groups and the moving average of both backends, against torch's and optax's own."""

import functools
import importlib

import numpy as np
import pytest
from optimizer_cases import CASES, DECAY, MOMENTUM

from shared.arrays import Arrays
from shared.backend import PACKAGES
from shared.configs.optimizer import AdamWConfig, OptimizerConfig, ParameterGroup, TrainingConfig
from shared.training_state import AVERAGE, GATHERED, GRADIENT_SUM, WEIGHTS

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
prove = pytest.importorskip("crosscheck.criterion").prove

SHAPES = {"body.weight": (3, 5), "body.bias": (3,), "norm.weight": (3,), "head.weight": (2, 3), "head.bias": (2,)}
GROUPS = (  # a name goes to the first that fits, so the head's bias is not in the head's group
    ParameterGroup(("*.bias", "norm.*"), weight_decay=0.0),
    ParameterGroup(("head.*",), weight_decay=DECAY / 2, rate_factor=0.1),
)
SETTINGS = {  # (decay, rate factor) of each tensor, written out
    "body.weight": (DECAY, 1.0),
    "body.bias": (0.0, 1.0),
    "norm.weight": (0.0, 1.0),
    "head.weight": (DECAY / 2, 0.1),
    "head.bias": (0.0, 1.0),
}
STEPS, AVERAGE_DECAY = 100, 0.9
RATES = 0.01 / (1 + np.arange(STEPS) / 10)
DECAYED = [name for name, case in CASES.items() if case.config.weight_decay]
package = pytest.mark.parametrize("package", PACKAGES)


@pytest.fixture(autouse=True)
def _in_float64():
    with jax.enable_x64(True):
        yield


def drawn(seed: int, scale: float = 1.0) -> Arrays:
    generator = np.random.default_rng(seed)
    return {name: scale * generator.standard_normal(shape) for name, shape in SHAPES.items()}


def tensors_of(package: str, arrays: Arrays):
    to_tensor = importlib.import_module(f"{package}_impl.weights").to_tensor
    return {name: to_tensor(array) for name, array in arrays.items()}


def arrays_of(package: str, tensors) -> Arrays:
    to_numpy = importlib.import_module(f"{package}_impl.weights").to_numpy
    return {name: to_numpy(tensor) for name, tensor in tensors.items()}


def assert_proven(ours, theirs) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        verdict = prove(np.asarray(ours[name]), np.asarray(theirs[name]), 0.0)
        assert verdict.agrees, f"{name}: {verdict}"


@functools.cache
def trained(package: str, optimizer: OptimizerConfig, training: TrainingConfig) -> list[dict[str, Arrays]]:
    """The weights and their average after each step."""
    update = importlib.import_module(f"{package}_impl.update").Update(optimizer, training, SHAPES)
    groups = {WEIGHTS: drawn(0), AVERAGE: drawn(0), **{group: drawn(0, scale=0.0) for group in optimizer.state}}
    tensors = {group: tensors_of(package, arrays) for group, arrays in groups.items()}
    apply, states = jax.jit(update.apply) if package == "jax" else update.apply, []
    for t, rate in enumerate(RATES, start=1):
        coefficients = update.coefficients(t, rate)
        coefficients = np.array(coefficients) if package == "jax" else coefficients
        tensors = apply(tensors, tensors_of(package, drawn(t)), coefficients)
        states.append({group: arrays_of(package, tensors[group]) for group in (WEIGHTS, AVERAGE)})
    return states


@functools.cache
def by_torch(name: str) -> list[dict[str, Arrays]]:
    """The same from torch's optimiser with one group per tensor, and from torch's own moving average."""
    model = torch.nn.ParameterList(torch.tensor(array) for array in drawn(0).values())
    weights = dict(zip(SHAPES, model.parameters(), strict=True))
    mean = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE_DECAY)
    )
    mean.update_parameters(model)  # the first call copies the weights, and starts the average as ours does
    given = [{"params": [weight], "weight_decay": SETTINGS[name][0]} for name, weight in weights.items()]
    optimizer, states = CASES[name].torch(given, lr=1.0), []
    for t, rate in enumerate(RATES, start=1):
        gradients = drawn(t)
        for group, leaf in zip(optimizer.param_groups, weights, strict=True):
            group["lr"], weights[leaf].grad = rate * SETTINGS[leaf][1], torch.tensor(gradients[leaf])
        optimizer.step()
        mean.update_parameters(model)
        both = {WEIGHTS: weights.values(), AVERAGE: mean.module.parameters()}
        states.append(
            {g: dict(zip(SHAPES, [p.detach().numpy().copy() for p in ps], strict=True)) for g, ps in both.items()}
        )
    return states


def adamw_of_optax(decay: float, factor: float):
    config = CASES["adamw"].config
    rates = jax.numpy.asarray(factor * RATES)
    return optax.adamw(lambda done: rates[done], config.beta_1, config.beta_2, config.eps, weight_decay=decay)


def nesterov_of_optax(decay: float, factor: float):
    rates = jax.numpy.asarray(factor * RATES)
    return optax.chain(optax.add_decayed_weights(decay), optax.sgd(lambda done: rates[done], MOMENTUM, nesterov=True))


def by_optax(rule) -> list[dict[str, Arrays]]:
    """The same from `multi_transform` with one label per setting, and from both of optax's moving averages."""
    labels = {name: str(setting) for name, setting in SETTINGS.items()}
    optimizer = optax.multi_transform({str(setting): rule(*setting) for setting in SETTINGS.values()}, labels)
    weights = jax.tree.map(jax.numpy.asarray, drawn(0))
    state, mean, average, states = optimizer.init(weights), optax.ema(AVERAGE_DECAY, debias=False), weights, []
    moving = mean.init(weights)._replace(ema=weights)  # optax starts with zeros

    @jax.jit
    def step(weights, state, moving, average, gradients):
        updates, state = optimizer.update(gradients, state, weights)
        weights = optax.apply_updates(weights, updates)
        average = optax.incremental_update(weights, average, 1 - AVERAGE_DECAY)
        return weights, state, mean.update(weights, moving)[1], average

    for t in range(1, STEPS + 1):
        weights, state, moving, average = step(weights, state, moving, average, drawn(t))
        states.append({WEIGHTS: weights, AVERAGE: average, "ema": moving.ema})
    return states


IN_GROUPS = TrainingConfig(groups=GROUPS, average_decay=AVERAGE_DECAY)


@package
@pytest.mark.parametrize("name", DECAYED)
def test_every_group_has_its_decay_and_rate_as_in_the_groups_of_torch(package, name):
    for ours, theirs in zip(trained(package, CASES[name].config, IN_GROUPS), by_torch(name), strict=True):
        assert_proven(ours[WEIGHTS], theirs[WEIGHTS])


@package
@pytest.mark.parametrize("name", DECAYED)
def test_the_moving_average_matches_torch(package, name):
    for ours, theirs in zip(trained(package, CASES[name].config, IN_GROUPS), by_torch(name), strict=True):
        assert_proven(ours[AVERAGE], theirs[AVERAGE])


@package
@pytest.mark.parametrize(("name", "rule"), [("adamw", adamw_of_optax), ("nesterov with decay", nesterov_of_optax)])
def test_groups_and_average_match_optax(package, name, rule):
    for ours, theirs in zip(trained(package, CASES[name].config, IN_GROUPS), by_optax(rule), strict=True):
        assert_proven(ours[WEIGHTS], theirs[WEIGHTS])
        assert_proven(ours[AVERAGE], theirs[AVERAGE])
        assert_proven(ours[AVERAGE], theirs["ema"])


@package
def test_a_group_with_one_more_setting_changes_that_and_nothing_else(package):
    """Masks of optax are per tensor, too: tensors without decay move as if the optimiser had none."""
    config = AdamWConfig(weight_decay=DECAY)
    plain, undecayed, mixed = (
        trained(package, config, TrainingConfig(groups=groups, average_decay=AVERAGE_DECAY))[-1][WEIGHTS]
        for groups in (
            (),
            (ParameterGroup(("*",), weight_decay=0.0),),
            (ParameterGroup(("*.bias",), weight_decay=0.0),),
        )
    )
    for name, array in mixed.items():
        assert np.array_equal(array, (undecayed if name.endswith(".bias") else plain)[name])
        assert not np.array_equal(plain[name], undecayed[name])


@package
def test_a_mean_is_over_the_weights_of_all_rows_even_if_they_are_fewer_than_one(package):
    module, mean = importlib.import_module(f"{package}_impl.update"), drawn(7)
    for rows in (0.25, 2.5, 0.0):
        sums = tensors_of(package, {name: rows * array for name, array in mean.items()})
        (rows_so_far,) = tensors_of(package, {"rows": np.array(rows)}).values()
        found = module.mean_gradients({GRADIENT_SUM: sums, GATHERED: rows_so_far})
        assert_proven(arrays_of(package, found), mean if rows else {name: 0 * array for name, array in mean.items()})
