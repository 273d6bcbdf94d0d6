"""How many runs tell an ill-conditioned computation from a mistake."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from crosscheck import compare, criterion
from crosscheck.judging import conditioning
from crosscheck.pairing.copy_weights import copy_weights
from crosscheck.recording.rounding.in_jax import rounded_at_random


@pytest.mark.parametrize(("largest", "runs"), [(1, [0]), (criterion.LARGE, list(range(conditioning.RUNS)))])
def test_a_large_module_is_run_once_where_that_explains_nothing(monkeypatch, largest, runs):
    seeds, shaken = [], conditioning._shaken
    monkeypatch.setattr(criterion, "LARGE", largest)
    monkeypatch.setattr(conditioning, "_shaken", lambda of, seed: seeds.append(seed) or shaken(of, seed))
    ours = torch.nn.LayerNorm(4, eps=1e-6).double()
    with jax.enable_x64(True):
        theirs = copy_weights(ours, nnx.LayerNorm(4, epsilon=2e-6, rngs=nnx.Rngs(0)))
        assert not compare(ours, theirs, np.eye(3, 4), gradients=False).agrees
    assert seeds == runs


def test_what_is_far_apart_is_a_mistake_however_a_computation_rounds(monkeypatch):
    monkeypatch.setattr(conditioning, "_shaken", None)
    ours = torch.nn.LayerNorm(4, eps=1e-6).double()
    with jax.enable_x64(True):
        theirs = copy_weights(ours, nnx.LayerNorm(4, epsilon=1e-2, rngs=nnx.Rngs(0)))
        report = compare(ours, theirs, np.eye(3, 4), gradients=False)
    assert report.first_row.error > conditioning.MOST
    assert not report.agrees


def test_numbers_in_the_code_round_at_random_too():
    given = np.linspace(0.1, 0.9, 7)
    with jax.enable_x64(True):
        exact, moved = (f(given) for f in (of_a_number, rounded_at_random(of_a_number, 0)))
        assert moved.dtype == exact.dtype
        assert not np.array_equal(moved, exact)
        assert criterion.movement(np.asarray(moved), np.asarray(exact)) < criterion.PROOF


def of_a_number(x):
    return jnp.log(2 * jnp.pi) - jnp.square(x)
