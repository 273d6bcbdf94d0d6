"""Weights that nobody copied are told from weights in another layout, and from one that differs."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from crosscheck import compare, copy_weights
from crosscheck.explain import explain
from crosscheck.judging.drawn_apart import FAR, SAID, SAME_NORM, drawn_apart

X = np.ones((2, 4))
DRAWN, CONSTANT = ([4.0, 0.0], [0.0, 1.0]), ([1.0, 1.0], [2.0, 2.0])
TOLD = {  # parameters of both sides
    "drawn apart": [DRAWN],
    "the other side's are larger": [DRAWN[::-1]],
    "constants beside": [DRAWN, (CONSTANT[0], CONSTANT[0]), CONSTANT],
    "nothing and integers beside": [DRAWN, ([], []), ([1, 2], [1, 2])],
    "a constant on one side": [([1.0, 1.0], [4.0, 0.0])],
    "farther than half": [([1.0, 0.0], [FAR - 2**-10, 0.0])],
    "another norm": [([4.0, 0.0], [0.0, 4 + 8 * SAME_NORM])],
}
NOT_TOLD = {
    "no parameter": [],
    "constants": [CONSTANT],
    "one that agrees": [DRAWN, ([1.0, 2.0], [1.0, 2.0])],
    "another order": [DRAWN, ([3.0, 4.0], [4.0, 3.0])],
    "another order with roundings": [([4.0, 0.0], [0.0, 4 + 4 * SAME_NORM])],
    "other shapes": [DRAWN, ([1.0, 2.0], [1.0])],
    "no farther than half": [([4.0, 0.0], [4 * FAR, 0.0])],
}
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


@pytest.mark.parametrize("name", TOLD | NOT_TOLD)
def test_weights_are_drawn_apart_where_all_that_are_not_constant_are_far_and_no_others_in_another_order(name):
    pairs = [tuple(map(np.array, both)) for both in (TOLD | NOT_TOLD)[name]]
    rows = [SimpleNamespace(kind="parameter", tensor=at, agrees=np.array_equal(*both)) for at, both in enumerate(pairs)]
    sides = (dict(enumerate(side)) for side in (zip(*pairs, strict=True) if pairs else ((), ())))
    recordings = [SimpleNamespace(values=SimpleNamespace(parameters=side)) for side in sides]
    rows += [SimpleNamespace(kind="output", tensor="", agrees=True)]
    assert drawn_apart(rows, recordings) == (SAID if name in TOLD else "")
