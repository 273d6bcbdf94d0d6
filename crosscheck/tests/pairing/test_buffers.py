"""Buffers that differ between two modules that agree are said in the report."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx
from torch import nn

from crosscheck import compare
from crosscheck.criterion import NOISE_RATIO, PROOF, unit_roundoff
from crosscheck.pairing.buffers import differing_buffers

pytestmark = pytest.mark.usefixtures("float64_in_jax")
TABLE = np.arange(1.0, 6.0)
X = (np.random.default_rng(1).normal(size=(3, 5)),)


class Torch(nn.Module):
    def __init__(self, table=TABLE, is_used=False):
        super().__init__()
        self.register_buffer("table", torch.tensor(table))
        self.is_used = is_used

    def forward(self, x):
        return x + self.table if self.is_used else 2 * x


class Jax(nnx.Module):
    def __init__(self, table=TABLE, is_used=False):
        self.table, self.is_used = nnx.Variable(jnp.asarray(table)), is_used

    def __call__(self, x):
        return x + self.table[...] if self.is_used else 2 * x


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x):
        self.variable("buffers", "table", lambda: jnp.asarray(TABLE))
        return 2 * x


@pytest.mark.parametrize(
    ("table", "said"), [(TABLE + 1, ["table"]), (TABLE[:4], ["table"]), (TABLE * (1 + PROOF), []), (TABLE, [])]
)
@pytest.mark.parametrize("other", [Jax(), (Linen(), {"buffers": {"table": jnp.asarray(TABLE, "float32")}})])
def test_an_unused_buffer_that_differs_is_said_and_equal_ones_are_not(table, said, other):
    report = compare(Torch(table), other, X)
    assert report.agrees
    assert report.to_dict()["idle_buffers"] == said
    assert ("buffers that differ, without an effect on anything compared: table" in str(report)) == bool(said)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("times", "is_said"), [(0.5, False), (2.0, True)])
def test_buffers_may_differ_by_three_roundings_of_the_shorter_dtype_or_by_three_times_the_proof(dtype, times, is_said):
    roundings = NOISE_RATIO * (PROOF if dtype == "float64" else unit_roundoff(np.dtype(dtype)))
    ours, theirs = Torch(TABLE * (1 + times * roundings)), Jax(TABLE.astype(dtype))
    assert differing_buffers(ours, theirs, {}) == ["table"] * is_said


def test_a_used_buffer_that_differs_is_a_disagreement():
    report = compare(Torch(TABLE + 1, is_used=True), Jax(is_used=True), X)
    assert not report.agrees
    assert report.idle_buffers == []


def test_running_statistics_are_read_under_torch_names():
    ours, theirs = nn.BatchNorm1d(5), nnx.BatchNorm(5, rngs=nnx.Rngs(0))
    assert differing_buffers(ours, theirs, {}) == []
    ours.running_mean += 1
    assert differing_buffers(ours, theirs, {}) == ["running_mean"]
