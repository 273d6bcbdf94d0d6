"""The GRU of a step that is being recorded agrees with the reference: outputs, final states and all gradients."""

import itertools
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import Tensor

import crosscheck
from crosscheck.criterion import norm, prove
from torch_impl.kernels.gru_scan import GRUScan
from torch_impl.recorded import is_recording, recording

DTYPES = ("float64", "float32", "bfloat16")
TWINS = ("GRU", "GRU:two_layers", "BidirectionalGRU", "BidirectionalGRU:two_layers")
GIVEN = {"nothing": (), "states": ("hidden_states",), "lengths": ("lengths",), "both": ("hidden_states", "lengths")}
USED = {"outputs": lambda outputs, _: outputs, "states": lambda _, final: final}


def product_of_cases():
    """Below float64 the largest twin without lengths, which has all loops, shows what the others show."""
    for name, dtype, given in itertools.product(TWINS, DTYPES, GIVEN):
        is_shown = dtype == "float64" or (name, given) == (TWINS[-1], "nothing")
        yield pytest.param(name, dtype, given, marks=pytest.mark.slow if is_shown else pytest.mark.exhaustive)


def inputs_of(pair: crosscheck.Pair, given: str) -> dict[str, np.ndarray]:
    """The inputs with these optional ones; the first example has length 0."""
    inputs = {name: array.copy() for name, array in pair.inputs.items() if name in ("inputs", *GIVEN[given])}
    if "lengths" in inputs:
        inputs["lengths"][0] = 0
    return inputs


@pytest.mark.parametrize(("name", "dtype", "given"), list(product_of_cases()))
def test_a_recorded_gru_agrees_with_the_reference(name, dtype, given):
    pair = crosscheck.build_pair(name, dtype=dtype)
    pair.torch.implementation, pair.jax.implementation = "fused", "reference"
    with recording():
        report = crosscheck.compare(pair.torch, pair.jax, inputs_of(pair, given), optimize=False)
    assert report.agrees, str(report)


def run(name: str, frozen: str, used: str) -> tuple[Tensor, dict[str, Tensor]]:
    """One of a twin's results, and all tensors that it depends on but those whose names hold `frozen`, by name."""
    pair = crosscheck.build_pair(name)
    pair.torch.implementation = "fused"
    inputs = {key: torch.tensor(array) for key, array in inputs_of(pair, "states").items()}
    tensors = {**inputs, **dict(pair.torch.named_parameters())}
    trainable = {key: tensor.requires_grad_(frozen not in key) for key, tensor in tensors.items()}
    result = USED[used](*pair.torch(**inputs))
    return result, {key: tensor for key, tensor in trainable.items() if tensor.requires_grad}


def gradients(result: Tensor, tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).reshape(result.shape)
    found = torch.autograd.grad((weights * result).sum(), list(tensors.values()), materialize_grads=True)
    return {name: gradient.numpy() for name, gradient in zip(tensors, found, strict=True)}


@pytest.mark.parametrize("used", USED)
@pytest.mark.parametrize("frozen", ["nothing", "inputs", "hidden_states", "weight", "bias", "input_proj"])
@pytest.mark.parametrize("name", TWINS)
def test_a_recording_changes_no_gradient_whatever_is_frozen_or_unused(name, frozen, used):
    with recording():
        ours = gradients(*run(name, frozen, used))
    theirs = gradients(*run(name, frozen, used))
    assert ours.keys() == theirs.keys()
    floor = max(map(norm, theirs.values()))
    assert all(prove(theirs[key], ours[key], floor).agrees for key in theirs)


def scans(result: Tensor) -> int:
    """How many of our backward passes a result depends on."""
    nodes, queue = set(), [result.grad_fn]
    while queue:
        node = queue.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            queue += [each for each, _ in node.next_functions]
    return sum(node.name() == f"{GRUScan.__name__}Backward" for node in nodes)


def test_only_a_recording_with_gradients_takes_our_backward_pass():
    name = "BidirectionalGRU:two_layers"
    assert scans(run(name, "nothing", "outputs")[0]) == 0
    with recording():
        assert scans(run(name, "nothing", "outputs")[0]) == 2
        with torch.no_grad():
            assert run(name, "nothing", "outputs")[0].grad_fn is None


def test_a_recording_ends_with_its_block_even_after_an_error():
    with suppress(ZeroDivisionError), recording():
        assert is_recording()
        _ = 1 / 0
    assert not is_recording()
