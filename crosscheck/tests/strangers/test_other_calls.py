"""Ports that call their modules in another way: other argument names and orders, dead calls, tables read directly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen as nn
from flax import nnx
from own_pairs import Case, normal

import crosscheck
from crosscheck.locate import locate
from crosscheck.pairing.copy_weights import copy_weights
from crosscheck.recording.nesting import as_call

X, IDS = normal(3, 5, 6), np.array([[0, 1, 2, 3, 4]])


class TorchLayer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm = torch.nn.Linear(6, 6), torch.nn.LayerNorm(6)

    def forward(self, x, positions=None, mask=None):
        return self.norm(self.fc(x) * mask + positions)


class TorchStack(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.out = TorchLayer(), torch.nn.Linear(6, 2)

    def forward(self, x):
        mask = (x[..., :1] > 0).to(x.dtype)
        positions = torch.arange(5, dtype=x.dtype)[:, None].expand(mask.shape)
        return self.out(self.layer(x, positions=positions, mask=mask))


class FlaxLayer(nnx.Module):
    def __init__(self, rngs, eps=1e-5):
        self.fc, self.norm = nnx.Linear(6, 6, rngs=rngs), nnx.LayerNorm(6, epsilon=eps, rngs=rngs)

    def __call__(self, x, mask, positions, deterministic=True):
        return self.norm(self.fc(x) * mask + positions)


class FlaxStack(nnx.Module):
    def __init__(self, rngs, dead=False, **mistake):
        self.layer, self.out, self.dead = FlaxLayer(rngs, **mistake), nnx.Linear(6, 2, rngs=rngs), dead

    def __call__(self, x):
        mask = (x[..., :1] > 0).astype(x.dtype)
        positions = jnp.broadcast_to(jnp.arange(5.0)[:, None], mask.shape)
        if self.dead:
            self.layer(2 * x, mask, positions)
        return self.out(self.layer(x, mask, positions, deterministic=True))


STACK = Case(TorchStack, FlaxStack, X)


def test_arguments_are_paired_by_name_whatever_their_order():
    report = crosscheck.compare(*STACK.pair(), X)
    assert report.agrees
    assert not report.inner_differences


def test_a_dead_call_is_not_blamed_and_the_others_are_paired_by_what_they_are_given():
    report = crosscheck.compare(*STACK.pair(dead=True), X)
    assert report.agrees
    assert not report.inner_differences
    report = crosscheck.compare(*STACK.pair(dead=True, eps=1e-3), X)
    assert report.first_divergence[:2] == ("TorchStack.layer.norm", "forward")


def test_a_module_is_run_alone_as_its_own_side_calls_it():
    location = locate(*STACK.pair(eps=1e-3), X)
    alone = {line.path: line.by_itself and line.by_itself.agrees for line in location.modules}
    assert alone == {"": None, "layer": False, "layer.fc": True, "layer.norm": False, "out": True}
    assert [(each.path, each.is_rounding) for each in location.guilty] == [("layer.norm", False)]


class LinenNet(nn.Module):
    """Both norms have another epsilon, by far and by little."""

    eps: float = 1e-5

    @nn.compact
    def __call__(self, x):
        norm = nn.LayerNorm(epsilon=self.eps, name="first", param_dtype=jnp.float64)
        h = nn.Dense(6, name="fc", param_dtype=jnp.float64)(norm(x))
        return nn.LayerNorm(epsilon=10 * self.eps, name="second", param_dtype=jnp.float64)(h)


class TorchNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.fc, self.second = torch.nn.LayerNorm(6), torch.nn.Linear(6, 6), torch.nn.LayerNorm(6)

    def forward(self, x):
        return self.second(self.fc(self.first(x)))


def test_all_guilty_modules_of_a_linen_module_are_listed_the_worst_first():
    with jax.enable_x64(True):
        ours, module = TorchNet().double(), LinenNet(eps=1e-3)
        theirs = copy_weights(ours, (module, module.init(jax.random.key(0), X)))
        location = locate(ours, theirs, X)
    assert [each.path for each in location.guilty] == ["second", "first"]
    adds = [each.adds for each in location.guilty]
    assert adds == sorted(adds, reverse=True)
    assert "guilty by themselves:" in str(location)


class TorchTable(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out = torch.nn.Embedding(5, 6), torch.nn.Linear(6, 2)

    def forward(self, ids):
        return self.out(self.embed(ids))


class FlaxTable(nnx.Module):
    def __init__(self, rngs, scale=1.0):
        self.embed, self.out, self.scale = nnx.Embed(5, 6, rngs=rngs), nnx.Linear(6, 2, rngs=rngs), scale

    def __call__(self, ids):
        return self.out(self.embed.embedding[ids] * self.scale)


def test_a_table_that_jax_reads_without_a_call_is_not_accused_and_the_tree_says_so():
    location = locate(*Case(TorchTable, FlaxTable, IDS).pair(scale=2.0), IDS)
    assert location.first_divergence[:2] == ("TorchTable", "forward")
    assert {line.path: line.reason for line in location.modules}["embed"] == "JAX never calls it"
    assert "isolated - (JAX never calls it)" in str(location)


class TorchGated(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.fc, self.gate = torch.nn.LayerNorm(6), torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)

    def forward(self, x):
        return x + self.gate(torch.tanh(self.fc(self.norm(x))))


class TorchZero(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.block = TorchGated()

    def forward(self, x):
        return self.block(x)


class FlaxGated(nnx.Module):
    def __init__(self, rngs, eps=1e-5):
        self.norm = nnx.LayerNorm(6, epsilon=eps, rngs=rngs)
        self.fc, self.gate = nnx.Linear(6, 6, rngs=rngs), nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x):
        return x + self.gate(jnp.tanh(self.fc(self.norm(x))))


class FlaxZero(nnx.Module):
    def __init__(self, rngs, **mistake):
        self.block = FlaxGated(rngs, **mistake)

    def __call__(self, x):
        return self.block(x)


def test_a_mistake_behind_a_gate_of_zeros_is_found_where_it_is():
    with jax.enable_x64(True):
        ours = TorchZero().double()
        torch.nn.init.zeros_(ours.block.gate.weight)
        report = crosscheck.compare(ours, copy_weights(ours, FlaxZero(nnx.Rngs(0), eps=1e-3)), X)
    assert report.first_divergence[:2] == ("TorchZero.block.norm", "forward")


def test_a_rounding_gap_does_not_hide_a_mistake_that_comes_later():
    class Rounded(FlaxStack):
        def __call__(self, x):
            return super().__call__(x.astype(jnp.float32).astype(x.dtype))

    report = crosscheck.compare(*Case(TorchStack, Rounded, X).pair(eps=1e-3), X)
    assert report.first_divergence[:2] == ("TorchStack.layer.norm", "forward")
    assert "cast to float32 inside" in report.offer


@pytest.mark.parametrize("inputs", [X, {"x": X}], ids=["by position", "by name"])
def test_a_recording_says_what_it_holds(inputs):
    recording = crosscheck.record(STACK.pair()[0], inputs)
    words = "Recording of torch's TorchStack in float64, eval: 6 parameters, 10 inner tensors, 1 outputs"
    assert repr(recording) == words
    assert as_call(inputs)
