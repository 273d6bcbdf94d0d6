"""Mistakes that ports make are named with their row, and what no flip explains is not named."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
import torch.nn.functional as F
from flax import nnx
from own_pairs import normal

from crosscheck.explain import explain
from crosscheck.pairing.copy_weights import copy_weights

X, TOKENS, IMAGES = normal(4, 6), normal(2, 5, 6), normal(2, 8, 6, 6)
MASK = torch.full((5, 5), -1e9).triu(1).double()
SEEN = np.tri(5, dtype=bool)


@pytest.fixture(autouse=True)
def float64_in_jax():
    with jax.enable_x64(True):
        yield


def torch_attention(x):
    return torch.softmax(x @ x.mT / 6**0.5 + MASK, -1) @ x


def jax_attention(x, scale=6**-0.5, seen=SEEN):
    return jax.nn.softmax(jnp.where(seen, x @ jnp.swapaxes(x, -1, -2) * scale, -jnp.inf), -1) @ x


def torch_branches(x):
    return torch.cat([torch.sin(x), torch.cos(x) * 3.0], -1) + F.silu(torch.cat([x, x], -1))


def jax_branches(x, factor=3.0, turned=False, residual=1.0, activation=jax.nn.silu):
    parts = [jnp.sin(x), jnp.cos(x) * factor]
    return residual * jnp.concatenate(parts[::-1] if turned else parts, -1) + activation(jnp.concatenate([x, x], -1))


def jax_groups(x, groups):
    flat = x.reshape(len(x), groups, -1)
    centred = flat - flat.mean(-1, keepdims=True)
    return (centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)).reshape(x.shape)


CAUSES = {  # mistake: torch's function, JAX's, input, row
    "scores without their scale": (torch_attention, functools.partial(jax_attention, scale=1.0), TOKENS, "D80"),
    "a mask forgotten": (torch_attention, functools.partial(jax_attention, seen=True), TOKENS, "D79"),
    "a factor left out": (torch_branches, functools.partial(jax_branches, factor=1.0), X, "D81"),
    "parts exchanged": (torch_branches, functools.partial(jax_branches, turned=True), X, "D85"),
    "a residual forgotten": (torch_branches, functools.partial(jax_branches, residual=0.0), X, "D88"),
    "another activation": (torch_branches, functools.partial(jax_branches, activation=jax.nn.relu), X, "D89"),
    "another number of groups": (
        lambda x: F.group_norm(x, 4), functools.partial(jax_groups, groups=2), IMAGES, "D83"),
    "another base": (
        lambda x: x * torch.pow(1e4, torch.arange(6).double() / 6), lambda x: x * 1e6 ** (jnp.arange(6) / 6), X, "D86"),
    "a sum, not a mean": (
        lambda x: F.mse_loss(x, torch.zeros_like(x)), lambda x: (x**2).sum(), X, "D84"),
    "a gradient stopped": (
        lambda x: (x * torch.tanh(x)).sum(), lambda x: (x * jax.lax.stop_gradient(jnp.tanh(x))).sum(), X, "D93"),
    "a where that hides an overflow": (
        lambda x: torch.exp(x.clamp(max=0)).where(x < 0, torch.zeros(())),
        lambda x: jnp.where(x < 0, jnp.exp(x), 0.0), 1000.0 * X, "D94"),
    "another norm of a Fourier transform": (
        lambda x: torch.fft.rfft(x).abs(), lambda x: jnp.abs(jnp.fft.rfft(x, norm="ortho")), X, "D91"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", CAUSES)
def test_a_mistake_of_a_port_is_named(mistake):
    ours, theirs, inputs, row = CAUSES[mistake]
    found = explain(ours, theirs, inputs)
    assert found.divergence is not None, str(found)
    assert found.divergence.id == row, str(found)


def test_a_factor_that_no_flip_knows_is_read_from_the_program():
    found = explain(torch_branches, functools.partial(jax_branches, factor=2.9), X)
    assert found.divergence is not None, str(found)
    assert "with 2.9, not 3" in found.flipped, str(found)


class Dropped(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(6, 6)

    def forward(self, x):
        return x + self.fc(x) * (torch.rand(len(x), 1) > 0.5) if self.training else self.fc(x)


class FlaxLinear(nnx.Module):
    def __init__(self, rngs):
        self.fc = nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x):
        return self.fc(x)


def linear_pair(module=Dropped):
    torch.manual_seed(0)
    ours = module().double()
    return ours, copy_weights(ours, FlaxLinear(nnx.Rngs(0)))


def test_random_code_is_said_to_be_random_and_nothing_is_named():
    found = explain(*linear_pair(), X, train=True)
    assert found.divergence is None
    assert "random: two runs of the torch side differ" in str(found)


class Clipped(torch.optim.SGD):
    def step(self, closure=None):
        torch.nn.utils.clip_grad_norm_([each for group in self.param_groups for each in group["params"]], 1e-3)
        super().step(closure)


ADAM = functools.partial(torch.optim.AdamW, lr=1e-2)
SETTINGS = {  # mistake: torch's optimizer, JAX's, row
    "the decay of the default": (ADAM, optax.adamw(1e-2), "D56"),
    "another epsilon": (ADAM, optax.adamw(1e-2, eps=1e-6, weight_decay=1e-2), "D92"),
    "clipping by the norm itself": (
        functools.partial(Clipped, lr=0.1), optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(0.1)), "D60"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", SETTINGS)
def test_a_setting_of_an_optimizer_is_named_with_its_step(mistake):
    ours, theirs, row = SETTINGS[mistake]
    found = explain(*linear_pair(), X, updates=2, optimizers=(ours, theirs))
    assert found.divergence is not None, str(found)
    assert found.divergence.id == row, str(found)
    assert "after step 1" in found.flipped
    assert np.isfinite(found.report.first_row.error)
