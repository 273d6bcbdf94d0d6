"""A large module is judged by few draws of random rounding, and by more only where they do not suffice."""

import sys

import jax.numpy as jnp
import pytest
import torch
from flax import nnx

from crosscheck import compare, copy_weights
from crosscheck.criterion import DRAWS, FEW_DRAWS, LARGE, MORE_DRAWS
from crosscheck.recording import record


def pair(scale):
    """A linear map and its port, whose weights are as large as `scale` says."""
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(5, 7), nnx.Linear(5, 7, rngs=nnx.Rngs(0))
    copy_weights(ours, theirs)
    theirs.kernel[...] = jnp.asarray(theirs.kernel[...]) * scale
    return ours, theirs


@pytest.mark.parametrize(
    ("largest", "scale", "draws"),
    [(LARGE, 1, [DRAWS]), (1, 1, [FEW_DRAWS]), (1, 2, [FEW_DRAWS]), (1, 1 + 2e-7, [FEW_DRAWS, DRAWS, MORE_DRAWS])],
    ids=["small", "large", "large and wrong", "large and wrong by little"],
)
def test_noise_is_drawn_as_often_as_the_judgement_needs(monkeypatch, largest, scale, draws):
    drawn, measure = [], record.measure_noise

    def counted(module, arguments, options, optimizer=None):
        drawn.append(options.noise_runs)
        return measure(module, arguments, options, optimizer)

    monkeypatch.setattr(sys.modules["crosscheck.compare"], "LARGE", largest)
    monkeypatch.setattr(record, "measure_noise", counted)
    report = compare(*pair(scale), torch.randn(11, 5))
    assert (report.agrees, drawn) == (scale == 1, draws)
