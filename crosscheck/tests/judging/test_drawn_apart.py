"""Weights that nobody copied are told from weights in another layout, and from one that differs."""

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from crosscheck import compare, copy_weights
from crosscheck.explain import explain
from crosscheck.judging.drawn_apart import SAID

X = np.ones((2, 4))
CHANGES = {  # what becomes of the copied kernel and bias
    "reversed": lambda kernel, bias: (kernel[::-1], bias[::-1]),
    "the bias alone": lambda kernel, bias: (kernel, bias + 1),
    "negated": lambda kernel, bias: (-kernel, -bias),
    "near": lambda kernel, bias: (kernel * 1.25, bias * 1.25),
}


def pair(change=None):
    ours = torch.nn.Linear(4, 4).double()
    theirs = nnx.Linear(4, 4, rngs=nnx.Rngs(0), param_dtype=np.float64)
    if change is not None:
        copy_weights(ours, theirs)
        theirs.kernel[...], theirs.bias[...] = change(theirs.kernel[...], theirs.bias[...])
    return ours, theirs


@pytest.fixture(autouse=True)
def float64_in_jax():
    with jax.enable_x64(True):
        yield


def test_weights_that_were_never_copied_are_told_and_explained_at_once():
    found = explain(*pair(), X, gradients=False)
    assert SAID in found.report.notes
    assert found.noted == SAID
    assert found.divergence is None
    assert not found.tried
    assert "copy_weights" in str(found)


@pytest.mark.parametrize("change", CHANGES)
def test_weights_that_were_copied_are_not(change):
    report = compare(*pair(CHANGES[change]), X, gradients=False)
    assert not report.agrees
    assert SAID not in report.notes
