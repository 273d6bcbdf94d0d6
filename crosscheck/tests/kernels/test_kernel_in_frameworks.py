"""The kernel of a GRU layer as an operation of each framework: what their transformations make of it.

On a GPU; elsewhere in Triton's interpreter, in a process of its own, since that is chosen before PyTorch is imported.
"""

import importlib.util
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bounds import roundings
from places import ROOT, child_environment
from torch.utils._python_dispatch import TorchDispatchMode

from crosscheck.kernels.interpreted import programs_at_once
from crosscheck.kernels.layers import ARGUMENTS, Sizes, random_layer
from jax_impl.layers.persistent_gru import persistent_gru as jax_gru
from shared.gru_plan import NO_SECOND
from torch_impl.layers import fused_gru, persistent_gru
from torch_impl.layers.gru import GRU
from torch_impl.weights import to_numpy

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
SIZES = Sizes(3, 2, 2, 40, "float16")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton: pip install triton")
def test_the_claims_below_hold_in_the_interpreter():
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(Path(__file__)),
        "-k",
        "cpu",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore",
    ]
    environment = child_environment() | {"TRITON_INTERPRET": "1"}
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout
    assert "skipped" not in run.stdout


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cpu" and not INTERPRETED:
        pytest.skip("in Triton's interpreter only: see the first test")
    with programs_at_once() if INTERPRETED else nullcontext():
        yield request.param


@pytest.fixture
def layer(device):
    return random_layer(SIZES, 0, device)


def in_torch(layer):
    return [getattr(layer, name).detach().requires_grad_() for name in ARGUMENTS]


def in_jax(layer):
    """Arrays, and the layer as a function of them."""
    lengths = jnp.asarray(to_numpy(layer.lengths))
    return [jnp.asarray(to_numpy(getattr(layer, name))) for name in ARGUMENTS], lambda *given: jax_gru(*given, lengths)


def gradients_of(function, arrays):
    """Outputs, and the gradients of their sum."""
    results, backward = jax.vjp(function, *arrays)
    return [*results, *backward(tuple(jnp.ones_like(each) for each in results))]


def same(ours, theirs):
    """The kernels' results are, bit by bit: outputs, states and their gradients. Others are sums of cuBLAS and XLA."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours[:4], theirs[:4], strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_both_operations_of_torch_keep_its_rules(layer):
    """Schemas, fake tensors, and gradients under a compiler of static and of dynamic shapes."""
    arguments = in_torch(layer)
    torch.library.opcheck(persistent_gru._forward, (*arguments, layer.lengths.int(), True))
    with torch.no_grad():
        _, _, before, gates = persistent_gru._forward(*arguments, layer.lengths.int(), True)
    given = (layer.weight, layer.lengths.int(), before, gates, layer.d_outputs, layer.d_final)
    torch.library.opcheck(persistent_gru._backward, given)


def test_both_frameworks_launch_it_with_the_same_bits(layer):
    arguments = in_torch(layer)
    results = persistent_gru.persistent_gru(*arguments, layer.lengths)
    gradients = torch.autograd.grad(results, arguments, [torch.ones_like(each) for each in results])
    arrays, function = in_jax(layer)
    found = gradients_of(function, arrays)
    same([to_numpy(each.detach()) for each in (*results, *gradients)], found)


@pytest.mark.parametrize("used", [0, 1], ids=("outputs", "final"))
def test_a_result_that_is_not_used_has_a_gradient_of_zeros(layer, used):
    arguments = in_torch(layer)
    results = persistent_gru.persistent_gru(*arguments, layer.lengths)
    upstream = [torch.full_like(each, number == used) for number, each in enumerate(results)]
    expected = torch.autograd.grad(results, arguments, upstream, retain_graph=True)
    with Filled() as filled:
        found = torch.autograd.grad(results[used], arguments, upstream[used])
    assert [torch.equal(a, b) for a, b in zip(found, expected, strict=True)] == [True] * len(arguments)
    assert max(filled.sizes) <= results[0].numel()  # and not those of the gates, which are larger


class Filled(TorchDispatchMode):
    """The sizes of all tensors that are filled with zeros meanwhile."""

    def __init__(self):
        super().__init__()
        self.sizes = [0]

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if "zero" in function.__name__:
            self.sizes.append(made.numel())
        return made


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
def test_in_jax_it_stands_jit_remat_scan_donation_and_vmap(layer):
    arrays, function = in_jax(layer)
    expected = gradients_of(function, arrays)
    same(jax.jit(lambda *given: gradients_of(function, given))(*arrays), expected)
    same(gradients_of(jax.checkpoint(function), arrays), expected)
    donated = jax.jit(lambda *given: gradients_of(function, given), donate_argnums=range(len(arrays)))
    same(donated(*map(jnp.copy, arrays)), expected)
    twice = [jnp.stack([each, each]) for each in arrays]
    for each in (jax.vmap(lambda *given: gradients_of(function, given)), scanned(function)):
        for number in range(2):
            same([result[number] for result in each(*twice)], expected)


def test_vmap_over_examples_is_one_launch(layer):
    """With the bits of a launch each; the gradients of weights that all share are summed."""
    arrays, function = in_jax(layer)
    *states, weight, bias = arrays
    stacked = [jnp.stack([each, -each]) for each in states]
    batched = jax.vmap(lambda *given: gradients_of(function, [*given, weight, bias]))
    assert "scan" not in str(jax.make_jaxpr(batched)(*stacked))  # over launches, one after the other
    found = batched(*stacked)
    for number in range(2):
        expected = gradients_of(function, [*(each[number] for each in stacked), weight, bias])
        same([each[number] for each in found], expected)
        alike(found[4][number], expected[4])
        alike(found[5][number], expected[5])
    shared = gradients_of(jax.vmap(function, in_axes=(0, 0, None, None)), [*stacked, weight, bias])
    same(shared, found)
    alike(shared[4], found[4].sum(0))
    alike(shared[5], found[5].sum(0))


def alike(ours, theirs):
    """Apart by no more than roundings of the layer's dtype."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert np.linalg.norm(ours - theirs) <= roundings(2, SIZES.dtype) * np.linalg.norm(theirs)


def scanned(function):
    """The same over a leading axis, one after the other."""
    return lambda *stacked: jax.lax.scan(lambda _, given: (None, gradients_of(function, given)), None, stacked)[1]


def test_a_second_derivative_is_refused_in_one_sentence(layer):
    arguments = in_torch(layer)
    outputs, _ = persistent_gru.persistent_gru(*arguments, layer.lengths)
    (first,) = torch.autograd.grad(outputs.sum(), arguments[:1], create_graph=True)
    with pytest.raises(NotImplementedError, match=NO_SECOND):
        torch.autograd.grad(first.sum(), arguments[:1])
    arrays, function = in_jax(layer)
    with pytest.raises(NotImplementedError, match=NO_SECOND):
        jax.grad(lambda *given: jax.grad(lambda *each: function(*each)[0].sum())(*given).sum())(*arrays)


def test_autocast_runs_a_layer_of_float32_in_narrow_numbers(monkeypatch, device):
    monkeypatch.setattr(fused_gru, "serves", lambda inputs, hidden_size: True)
    module, inputs = GRU(5, 40).to(device), torch.randn(3, 2, 5, device=device)
    with torch.autocast(device, torch.float16):
        outputs, final = module(inputs)
    outputs.sum().backward()
    assert (outputs.dtype, final.dtype) == (torch.float16, torch.float16)
    assert all(each.grad.dtype == torch.float32 and each.grad.any() for each in module.parameters())


def test_without_gradients_nothing_is_kept_for_them(layer):
    with torch.no_grad():
        _, _, before, gates = persistent_gru._forward(*in_torch(layer), layer.lengths.int(), False)
    assert (before.numel(), gates.numel()) == (0, 0)
    arrays, function = in_jax(layer)
    gates_of_all = ",".join(map(str, (*arrays[0].shape[:3], 4 * SIZES.hidden_size)))
    assert gates_of_all in str(jax.make_jaxpr(lambda *given: gradients_of(function, given))(*arrays))
    assert gates_of_all not in str(jax.make_jaxpr(function)(*arrays))


@pytest.mark.slow
def test_a_compiler_of_steps_leaves_pytorch_s_loop_as_it_is():
    inputs, seen = torch.linspace(-1, 1, 24).reshape(2, 3, 4), []

    def compiled(graph, _):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    layer = GRU(4, 6, implementation="library")
    expected, found = layer(inputs), torch.compile(layer, backend=compiled)(inputs)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(expected, found, strict=True))
    assert [name for name in seen if "gru" in name] == []


@pytest.mark.slow
def test_what_a_gpu_is_stays_constant_in_a_compiled_step():
    del torch.compiler.assume_constant_result(lambda device: device)._dynamo_marked_constant  # PyTorch's own mark
    assert persistent_gru._capability._dynamo_marked_constant
    assert persistent_gru._processors._dynamo_marked_constant
