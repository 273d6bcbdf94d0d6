"""Layers that NNX runs in loops and checkpoints, stacked or separate: they agree, and a mistake's layer is found."""

import functools

import jax
import jax.numpy as jnp
import pytest
import torch
import torch.utils.checkpoint
from flax import nnx
from own_pairs import drawn, normal

import crosscheck
from crosscheck.pairing.copy_weights import copy_weights
from crosscheck.recording.unrolling import unrolled

pytestmark = pytest.mark.usefixtures("float64_in_jax")

INPUTS = normal(4, 5)
MISTAKES = [
    ({"eps": 1e-3}, ("TorchStack.layers.0.norm", "forward")),
    ({"stop": True}, ("TorchStack.layers.2", "input gradient")),
    ({"slope": 1.01}, ("TorchStack.layers.0", "forward")),
]


class TorchLayer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.fc = torch.nn.LayerNorm(5), torch.nn.Linear(5, 5)

    def forward(self, x):
        return x + torch.tanh(self.fc(self.norm(x)))


class TorchStack(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([TorchLayer() for _ in range(3)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class CheckpointedStack(TorchStack):
    def forward(self, x):
        for layer in self.layers:
            x = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)
        return x


class FlaxLayer(nnx.Module):
    def __init__(self, rngs, eps=1e-5, stop=False, slope=1.0):
        self.norm, self.fc = nnx.LayerNorm(5, epsilon=eps, rngs=rngs), nnx.Linear(5, 5, rngs=rngs)
        self.stop, self.slope = stop, slope

    def __call__(self, x):
        h = self.norm(x)
        return x + jnp.tanh(self.slope * self.fc(jax.lax.stop_gradient(h) if self.stop else h))


class RematLayer(FlaxLayer):
    """A checkpoint created with the class, before any comparison."""

    @nnx.remat
    def __call__(self, x):
        return super().__call__(x)


class Stack(nnx.Module):
    """The layers one by one, each in a checkpoint."""

    def __init__(self, **mistake):
        self.layers = nnx.List([FlaxLayer(nnx.Rngs(0), **mistake) for _ in range(3)])

    def __call__(self, x):
        for layer in self.layers:
            x = nnx.remat(lambda layer, x: layer(x))(layer, x)
        return x


class DecoratedStack(nnx.Module):
    def __init__(self, **mistake):
        self.layers = nnx.List([RematLayer(nnx.Rngs(0), **mistake) for _ in range(3)])

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class JittedStack(Stack):
    """A jitted function inside the program."""

    @nnx.jit
    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class ScannedStack(nnx.Module):
    """The layers in one loop over stacked parameters."""

    def __init__(self, **mistake):
        make = nnx.vmap(lambda rngs: FlaxLayer(rngs, **mistake))
        self.layers = make(nnx.Rngs(0).split(3))

    def __call__(self, x):
        run = nnx.scan(lambda x, layer: layer(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        return run(x, self.layers)


KINDS = [Stack, DecoratedStack, JittedStack, ScannedStack]


def pair_of(kind, **mistake):
    ours = drawn(TorchStack())
    if kind is not ScannedStack:
        return (ours, copy_weights(ours, kind(**mistake))), {}
    how = {"layouts": {"layers": "flax.stacked"}}
    return (ours, copy_weights(ours, ScannedStack(**mistake), **how)), how


@pytest.mark.parametrize("kind", KINDS)
def test_layers_in_checkpoints_and_loops_agree(kind):
    pair, how = pair_of(kind)
    report = crosscheck.compare(*pair, INPUTS, updates=2, **how)
    assert report.agrees, str(report)
    assert not any(report.unmatched.values())


@pytest.mark.parametrize(
    ("kind", "mistake", "place"),
    [(kind, *found) for kind in KINDS for found in (MISTAKES if kind in (Stack, ScannedStack) else MISTAKES[:1])],
)
def test_a_mistake_is_found_in_its_layer_and_phase(kind, mistake, place):
    pair, how = pair_of(kind, **mistake)
    report = crosscheck.compare(*pair, INPUTS, **how)
    assert report.first_divergence[:2] == place, str(report)


@pytest.mark.parametrize("wrap", [functools.partial(torch.compile, backend="eager"), lambda stack: stack])
def test_checkpoints_and_compilation_of_torch_make_no_difference(wrap):
    ours = drawn(CheckpointedStack())
    for mistake, place in [({}, None), MISTAKES[0]]:
        report = crosscheck.compare(wrap(ours), copy_weights(ours, Stack(**mistake)), INPUTS)
        expected = place and (place[0].replace("TorchStack", "CheckpointedStack"), place[1])
        assert (report.first_divergence and report.first_divergence[:2]) == expected, str(report)


@pytest.mark.parametrize("direction", [{}, {"reverse": False}, {"reverse": True}])
@pytest.mark.parametrize("length", [1, 4, 65])
def test_a_loop_written_out_computes_what_the_loop_does(length, direction):
    def loop(x):
        return jax.lax.scan(lambda c, x: (c * 2 + x["a"], (c, None)), jnp.zeros(()), {"a": x}, **direction)

    x = jnp.arange(float(length))
    with unrolled():
        written_out = loop(x)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), written_out, loop(x)))


def test_jax_is_left_as_it_was():
    before = jax.lax.scan, jax.checkpoint, jax.remat
    with unrolled(), unrolled():
        assert jax.lax.scan is not before[0]
    assert (jax.lax.scan, jax.checkpoint, jax.remat) == before
