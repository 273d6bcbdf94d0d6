"""Every optimiser: its config, its equivalents in torch and optax, and its published formula as the oracle.

optax has L2 decay as a separate transformation, and the eps of its Adagrad inside the root: without eps they agree.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shared.arrays import Arrays
from shared.configs.optimizer import AdagradConfig, AdamConfig, AdamWConfig, OptimizerConfig, RMSpropConfig, SGDConfig

torch = pytest.importorskip("torch")
optax = pytest.importorskip("optax")

STEPS, SHAPES = 1000, {"a": (3, 5), "b": (7,)}
RATES = 0.01 / (1 + np.arange(STEPS) / 100)
MOMENTUM, BETAS, DECAY, EPS = 0.85, (0.85, 0.97), 0.2, 1e-5
ADAM = {"betas": BETAS, "eps": EPS, "weight_decay": DECAY}


@dataclass(frozen=True)
class Case:
    """One of our rules, and its equivalents in the libraries; optax's rates are multiplied in afterwards."""

    config: OptimizerConfig
    torch: Callable[[Any], Any]
    optax: Callable[[], Any] | None = None


def with_decay(transformation: Any) -> Any:
    return optax.chain(optax.add_decayed_weights(DECAY), transformation)


CASES = {
    "sgd": Case(SGDConfig(), torch.optim.SGD, lambda: optax.sgd(1.0)),
    "momentum": Case(
        SGDConfig(momentum=MOMENTUM),
        functools.partial(torch.optim.SGD, momentum=MOMENTUM),
        lambda: optax.sgd(1.0, MOMENTUM),
    ),
    "nesterov": Case(
        SGDConfig(momentum=MOMENTUM, nesterov=True),
        functools.partial(torch.optim.SGD, momentum=MOMENTUM, nesterov=True),
        lambda: optax.sgd(1.0, MOMENTUM, nesterov=True),
    ),
    "sgd with decay": Case(
        SGDConfig(weight_decay=DECAY),
        functools.partial(torch.optim.SGD, weight_decay=DECAY),
        lambda: with_decay(optax.sgd(1.0)),
    ),
    "nesterov with decay": Case(
        SGDConfig(momentum=MOMENTUM, nesterov=True, weight_decay=DECAY),
        functools.partial(torch.optim.SGD, momentum=MOMENTUM, nesterov=True, weight_decay=DECAY),
        lambda: with_decay(optax.sgd(1.0, MOMENTUM, nesterov=True)),
    ),
    "adam": Case(
        AdamConfig(1.0, *BETAS, EPS, DECAY),
        functools.partial(torch.optim.Adam, **ADAM),
        lambda: with_decay(optax.adam(1.0, *BETAS, EPS)),
    ),
    "adamw": Case(
        AdamWConfig(1.0, *BETAS, EPS, DECAY),
        functools.partial(torch.optim.AdamW, **ADAM),
        lambda: optax.adamw(1.0, *BETAS, EPS, weight_decay=DECAY),
    ),
    "rmsprop": Case(
        RMSpropConfig(alpha=BETAS[1], eps=EPS, weight_decay=DECAY),
        functools.partial(torch.optim.RMSprop, alpha=BETAS[1], eps=EPS, weight_decay=DECAY),
        lambda: with_decay(optax.rmsprop(1.0, decay=BETAS[1], eps=EPS, eps_in_sqrt=False)),
    ),
    "adagrad": Case(
        AdagradConfig(eps=EPS, weight_decay=DECAY),
        functools.partial(torch.optim.Adagrad, eps=EPS, weight_decay=DECAY),
    ),
    "adagrad without eps": Case(
        AdagradConfig(eps=0.0, weight_decay=DECAY),
        functools.partial(torch.optim.Adagrad, eps=0.0, weight_decay=DECAY),
        lambda: with_decay(optax.adagrad(1.0, initial_accumulator_value=0.0, eps=0.0)),
    ),
}


@functools.cache
def drawn() -> tuple[Arrays, Arrays]:
    """Weights, and gradients of all steps, whose magnitude differs from step to step."""
    generator = np.random.default_rng(0)
    start = {name: generator.standard_normal(shape) for name, shape in SHAPES.items()}
    scales = {name: 10.0 ** generator.integers(-6, 3, (STEPS, *[1] * len(shape))) for name, shape in SHAPES.items()}
    return start, {name: scales[name] * generator.standard_normal((STEPS, *SHAPES[name])) for name in SHAPES}


# The formulas as published: hyperparameters c, step t from 1, rate r, weights w, gradients g, two kept tensors.


def sgd(c, t, r, w, g, b, _):
    g = g + c.weight_decay * w
    b = c.momentum * b + g
    return w - r * (g + c.momentum * b if c.nesterov else b), b, _


def adamw(c, t, r, w, g, m, v):
    m = c.beta_1 * m + (1 - c.beta_1) * g
    v = c.beta_2 * v + (1 - c.beta_2) * g**2
    step = m / (1 - c.beta_1**t) / (np.sqrt(v / (1 - c.beta_2**t)) + c.eps)
    return w - r * (step + c.weight_decay * w), m, v


def adam(c, t, r, w, g, m, v):
    return adamw(SimpleNamespace(**{**vars(c), "weight_decay": 0}), t, r, w, g + c.weight_decay * w, m, v)


def rmsprop(c, t, r, w, g, s, _):
    g = g + c.weight_decay * w
    s = c.alpha * s + (1 - c.alpha) * g**2
    return w - r * g / (np.sqrt(s) + c.eps), s, _


def adagrad(c, t, r, w, g, s, _):
    g = g + c.weight_decay * w
    s = s + g**2
    return w - r * g / (np.sqrt(s) + c.eps), s, _


FORMULAS = {SGDConfig: sgd, AdamConfig: adam, AdamWConfig: adamw, RMSpropConfig: rmsprop, AdagradConfig: adagrad}


def hyperparameters(config: OptimizerConfig) -> list[str]:
    """Those that a rule reads; the learning rate of a step is given to it."""
    return [field.name for field in fields(config) if field.init and field.name != "learning_rate"]


def by_formula(config: OptimizerConfig, steps: int = STEPS) -> Arrays:
    """The weights in numpy's longest floats."""
    start, gradients = drawn()
    formula = FORMULAS[type(config)]
    longer = {name: np.longdouble(getattr(config, name)) for name in hyperparameters(config)}
    ended = {}
    for name in SHAPES:
        tensors = start[name].astype(np.longdouble), *np.zeros((2, *SHAPES[name]), np.longdouble)
        for t, (rate, g) in enumerate(zip(RATES[:steps], gradients[name][:steps], strict=True), 1):
            w, *kept = tensors
            tensors = formula(SimpleNamespace(**longer), t, np.longdouble(rate), w, g.astype(np.longdouble), *kept)
        ended[name] = tensors[0]
    return ended
