"""The cause in a large module is searched for in the located module alone, and tried in the whole."""

import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
import torch
import torch.nn.functional as F
from flax import nnx

from crosscheck.causes import alone
from crosscheck.explain import explain
from crosscheck.pairing.copy_weights import copy_weights

IDS = torch.arange(10).reshape(2, 5)


class TorchBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = torch.nn.LayerNorm(6), torch.nn.Linear(6, 8), torch.nn.Linear(8, 6)

    def forward(self, x):
        return x + self.down(F.gelu(self.up(self.norm(x))))


class TorchStack(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(11, 6)
        self.blocks = torch.nn.ModuleList(TorchBlock() for _ in range(2))
        self.norm = torch.nn.LayerNorm(6)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class FlaxBlock(nnx.Module):
    def __init__(self, epsilon, activation, rngs):
        self.norm = nnx.LayerNorm(6, epsilon=epsilon, rngs=rngs)
        self.up, self.down = nnx.Linear(6, 8, rngs=rngs), nnx.Linear(8, 6, rngs=rngs)
        self.activation = activation

    def __call__(self, x):
        return x + self.down(self.activation(self.up(self.norm(x))))


class FlaxStack(nnx.Module):
    def __init__(self, rngs, epsilon=1e-5, activation=lambda x: jax.nn.gelu(x, approximate=False)):
        self.embed = nnx.Embed(11, 6, dtype=jnp.float64, param_dtype=jnp.float64, rngs=rngs)
        self.blocks = nnx.List([FlaxBlock(epsilon, activation, rngs) for _ in range(2)])
        self.norm = nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs)

    def __call__(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@pytest.fixture(autouse=True)
def small_counts_as_large(monkeypatch):
    for module in (alone, sys.modules["crosscheck.compare"], sys.modules["crosscheck.explain"]):
        monkeypatch.setattr(module, "LARGE", 1)


def explained(**wrong):
    torch.manual_seed(0)
    ours = TorchStack().double()
    with jax.enable_x64(True):
        theirs = copy_weights(ours, FlaxStack(nnx.Rngs(0), **wrong))
        return explain(ours, theirs, IDS, budget=600)


def test_two_causes_in_layers_are_named_and_the_layer_that_agrees_is_spared():
    found = explained(epsilon=1e-3, activation=jax.nn.gelu)
    assert [each.divergence.id for each in (found, *found.more)] == ["D18", "D24"]
    assert "in TorchStack.blocks.0.norm alone the gap is gone" in found.left
    assert "in TorchStack.blocks.0 alone the gap is gone" in found.more[0].left
    assert "wherever it can be but in norm, the outputs' error falls" in found.more[0].left
    assert "which is noise" in found.more[0].left
    assert {row.phase for row in found.report.rows} == {"inputs", "parameters", "forward"}


def test_a_mistake_without_a_name_is_said_of_the_module_alone():
    found = explained(activation=lambda x: x * jnp.tanh(jnp.cbrt(jnp.abs(x))) ** 3)
    assert found.report.first_divergence.module == "TorchStack.blocks.0"
    assert "in TorchStack.blocks.0 alone" in f"{found.noted} {found.left}"


def test_a_module_is_searched_in_the_whole_where_its_own_code_is_wrong():
    torch.manual_seed(0)
    ours = TorchBlock().double()
    with jax.enable_x64(True):
        theirs = copy_weights(ours, FlaxBlock(1e-5, jax.nn.gelu, nnx.Rngs(0)))
        found = explain(ours, theirs, torch.randn(3, 6, dtype=torch.float64), budget=600)
    assert found.divergence.id == "D24"
    assert "alone" not in found.left


@pytest.mark.exhaustive
def test_a_large_pair_that_agrees_forward_is_compared_backward():
    found = explained(activation=lambda x: jax.nn.gelu(jax.lax.stop_gradient(x), approximate=False))
    assert found.report.first_divergence.phase.endswith("gradient")
    assert found.divergence.id == "D93"


@pytest.mark.parametrize(("is_noise", "words"), [(True, ", which is noise"), (False, "")])
def test_what_is_left_is_called_noise_where_every_output_agrees(is_noise, words):
    def report(error, *agrees):
        return SimpleNamespace(rows=[SimpleNamespace(kind="output", error=error, agrees=each) for each in agrees])

    said = alone._in_outputs(report(1e-2, False), report(1e-6, True, is_noise), [])
    assert said == f"made wherever it can be, the outputs' error falls from 1.0e-02 to 1.0e-06{words}"
