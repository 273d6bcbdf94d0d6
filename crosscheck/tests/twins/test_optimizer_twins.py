"""Every optimiser's rule over three updates of a twin: the sides are proven equal, and a mistake in one is caught.

AdamW's faults are in crosscheck/faults; those of the other rules are here.
"""

from dataclasses import dataclass

import pytest

from crosscheck.compare import compare
from crosscheck.faults.fault import Change
from crosscheck.faults.planting import planted
from crosscheck.report import Report
from crosscheck.twins.pair import build_pair
from crosscheck.twins.suite import UPDATES
from shared.configs.optimizer import AdagradConfig, AdamConfig, AdamWConfig, OptimizerConfig, RMSpropConfig, SGDConfig

# Gradients that are zero in theory are noise, which moves the weights by at most rate / eps times as much.
EPS, DECAY, MOMENTUM = 1e-3, 0.1, 0.9
CONFIGS: dict[str, OptimizerConfig] = {
    "sgd": SGDConfig(),
    "momentum": SGDConfig(momentum=MOMENTUM),
    "nesterov": SGDConfig(momentum=MOMENTUM, nesterov=True, weight_decay=DECAY),
    "adam": AdamConfig(eps=EPS, weight_decay=DECAY),
    "adamw": AdamWConfig(eps=EPS, weight_decay=DECAY),
    "rmsprop": RMSpropConfig(eps=EPS, weight_decay=DECAY),
    "adagrad": AdagradConfig(eps=EPS, weight_decay=DECAY),
}


@dataclass(frozen=True)
class Mistake:
    """Replaces `old` by `new` in one side's rule."""

    rule: str
    what: str
    side: str
    old: str
    new: str


NO_DECAY, JAX_ROOT = "weight_decay=0.0,\n            ", "(jnp.sqrt(s) + eps), weights, gradients,"
TORCH_DECAY, JAX_INSIDE = (
    "weight_decay=self.config.weight_decay,\n            ",
    "jnp.sqrt(s + eps), weights, gradients,",
)
# fmt: off
MISTAKES = (
    Mistake("sgd", "uphill", "torch", "dampening=0.0,\n            maximize=False", "dampening=0.0, maximize=True"),
    Mistake("sgd", "uphill", "jax", "w - learning_rate * d,", "w + learning_rate * d,"),
    Mistake("momentum", "momentum left out", "torch", "momentum=self.config.momentum", "momentum=0.0"),
    Mistake("momentum", "momentum left out", "jax", "else buffers, (buffers,)", "else directions, (buffers,)"),
    Mistake("momentum", "dampened", "torch", "dampening=0.0", "dampening=self.config.momentum"),
    Mistake("momentum", "dampened", "jax", "momentum * b + g, state", "momentum * b + (1 - momentum) * g, state"),
    Mistake("momentum", "buffer not kept", "torch", "[state[0][name] for", "[state[0][name].clone() for"),
    Mistake("momentum", "buffer not kept", "jax", "else buffers, (buffers,)", "else buffers, state"),
    Mistake("nesterov", "Polyak's step", "torch", "nesterov=self.config.nesterov", "nesterov=False"),
    Mistake("nesterov", "Polyak's step", "jax", "ahead if self.config.nesterov else buffers", "buffers"),
    Mistake("nesterov", "decay left out", "torch", f"{TORCH_DECAY}dampening", f"{NO_DECAY}dampening"),
    Mistake("nesterov", "decay halved", "jax", "gradient + weight_decay *", "gradient + weight_decay / 2 *"),
    Mistake("adam", "decay left out", "torch", "gradients = _with_decay(", "_ = ("),
    Mistake("adam", "decay apart too", "jax", "eps, weight_decay=0.0)", "eps, config.weight_decay)"),
    Mistake("adam", "betas swapped", "jax", "config.beta_1, config.beta_2,", "config.beta_2, config.beta_1,"),
    Mistake("rmsprop", "alpha swapped", "torch", "alpha=self.config.alpha", "alpha=1 - self.config.alpha"),
    Mistake("rmsprop", "alpha swapped", "jax", "alpha * s + (1 - alpha) * g", "(1 - alpha) * s + alpha * g"),
    Mistake("rmsprop", "decay left out", "torch", f"{TORCH_DECAY}momentum", f"{NO_DECAY}momentum"),
    Mistake("rmsprop", "eps inside the root", "jax", f"{JAX_ROOT} square_avg", f"{JAX_INSIDE} square_avg"),
    Mistake("adagrad", "decay left out", "torch", f"{TORCH_DECAY}maximize", f"{NO_DECAY}maximize"),
    Mistake("adagrad", "eps inside the root", "jax", f"{JAX_ROOT} total", f"{JAX_INSIDE} total"),
    Mistake("adagrad", "not added up", "torch", "[total[name] for", "[total[name].clone() for"),
    Mistake("adagrad", "not added up", "jax", "s + g * g, total", "g * g, total"),
)
# fmt: on


def three_updates(config: OptimizerConfig) -> Report:
    pair = build_pair("Linear")
    return compare(pair.torch, pair.jax, pair.inputs, updates=UPDATES, optimizers=(config, config), name="Linear")


@pytest.mark.parametrize("name", CONFIGS)
def test_three_updates_of_a_twin_are_proven_equal_under(name):
    report = three_updates(CONFIGS[name])
    assert report.agrees, str(report)
    groups = {row.tensor.split("/")[1] for row in report.rows if row.kind == "update"}
    assert groups == {*CONFIGS[name].state, "weights"}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda row: f"{row.rule}, {row.what}, {row.side}")
def test_a_mistake_in_a_rule_is_seen_in_the_update(mistake):
    with planted([Change(f"{mistake.side}_impl/optimizer.py", mistake.old, mistake.new)]):
        report = three_updates(CONFIGS[mistake.rule])
    assert not report.agrees
    assert report.first_divergence[:2] == ("Linear.optimizer", "update")
