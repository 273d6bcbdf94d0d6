"""How many runs tell an ill-conditioned computation from a mistake."""

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from crosscheck import compare, criterion
from crosscheck.judging import conditioning
from crosscheck.pairing.copy_weights import copy_weights


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
