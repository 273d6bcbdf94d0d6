"""`compare` with a user's own optimisers: equal ones agree in every precision, different rates or momenta do not."""

import functools

import flax.nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import crosscheck
from crosscheck.recording.optimizer_steps import rate_of
from crosscheck.report import Report
from crosscheck.twins.suite import UPDATES
from shared.configs.optimizer import AdagradConfig, RMSpropConfig, SGDConfig

DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])
RATE, MOMENTUM = 0.1, 0.9
# 1 - beta**t of the first updates is exact in float32, which optax computes it in; torch uses float64.
EXACT_BETAS = (1 - 2**-3, 1 - 2**-8)
INPUTS = np.random.default_rng(0).standard_normal((11, 5))


@functools.cache
def linear_pair(dtype: str) -> tuple[torch.nn.Module, flax.nnx.Module]:
    torch.manual_seed(0)
    torch_module = torch.nn.Linear(5, 3, dtype=getattr(torch, dtype))
    with jax.enable_x64(True):
        jax_module = flax.nnx.Linear(5, 3, rngs=flax.nnx.Rngs(0))
        jax_module.kernel.set_value(jnp.asarray(torch_module.weight.detach().numpy().T.copy()))
        jax_module.bias.set_value(jnp.asarray(torch_module.bias.detach().numpy().copy()))
    return torch_module, jax_module


def compare(dtype: str, torch_optimizer, jax_optimizer) -> Report:
    optimizers = torch_optimizer, jax_optimizer
    return crosscheck.compare(*linear_pair(dtype), INPUTS.astype(dtype), updates=UPDATES, optimizers=optimizers)


def sgd(momentum: float = 0.0):
    return functools.partial(torch.optim.SGD, lr=RATE, momentum=momentum)


@DTYPES
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (sgd(), optax.sgd(RATE)),
        (sgd(MOMENTUM), optax.sgd(RATE, MOMENTUM)),
        (functools.partial(torch.optim.Adam, lr=RATE, betas=EXACT_BETAS), optax.adam(RATE, *EXACT_BETAS)),
        (SGDConfig(momentum=MOMENTUM), SGDConfig(momentum=MOMENTUM)),
        (RMSpropConfig(), RMSpropConfig()),
        (AdagradConfig(), AdagradConfig()),
    ],
    ids=["sgd", "momentum", "adam", "our momentum", "our rmsprop", "our adagrad"],
)
def test_equal_optimisers_agree(ours, theirs, dtype):
    report = compare(dtype, ours, theirs)
    assert report.agrees, str(report)
    torch_names, jax_names = (side.values.updates.keys() for side in report.recordings)
    assert torch_names == jax_names == {row.tensor for row in report.rows if row.kind == "update"}
    assert {name.partition("/")[0] for name in torch_names} == {"1", str(UPDATES)}


@DTYPES
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (sgd(), optax.sgd(1.1 * RATE)),
        (sgd(), optax.sgd(RATE, MOMENTUM)),
        (functools.partial(torch.optim.Adam, lr=RATE), optax.adam(1.1 * RATE)),
        (SGDConfig(momentum=MOMENTUM), SGDConfig(momentum=MOMENTUM, nesterov=True)),
        (RMSpropConfig(), RMSpropConfig(alpha=0.98)),
    ],
    ids=["rate of sgd", "momentum left out", "rate of adam", "nesterov", "alpha of rmsprop"],
)
def test_unequal_optimisers_are_told_apart(ours, theirs, dtype):
    report = compare(dtype, ours, theirs)
    assert not report.agrees
    assert report.first_divergence[:2] == ("Linear.optimizer", "update")


def test_moments_are_compared_beside_the_weights():
    """After one step of Adam, weights do not depend on its decays: the moments do."""
    for decays, moved in (((0.9, 0.99), "exp_avg_sq"), ((0.8, 0.999), "exp_avg")):
        optimizers = functools.partial(torch.optim.Adam, lr=RATE, eps=0.0), optax.adam(RATE, *decays, eps=0.0)
        report = crosscheck.compare(*linear_pair("float64"), INPUTS, updates=1, optimizers=optimizers)
        assert report.disagreements
        assert all(f"/{moved}/" in f"/{row.tensor}/" for row in report.disagreements)


def test_the_rounded_bias_correction_of_optax_is_seen_in_float32():
    """1 - 0.999 is off by 5e-5 there, and its root divides every step; in JAX's x64 mode optax uses float64."""
    adam = functools.partial(torch.optim.Adam, lr=RATE), optax.adam(RATE)
    assert compare("float64", *adam).agrees
    with jax.enable_x64(False):
        assert not compare("float32", *adam).agrees


def test_every_step_of_a_check_has_a_rate_of_its_own():
    assert len({rate_of(step) for step in range(1, UPDATES + 1)}) == UPDATES
