"""A bound in low precision that says nothing decides nothing: a run in float64 does, or the pair fails."""

from dataclasses import replace

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from bounds import roundings
from flax import nnx

import crosscheck
from crosscheck.judging.decision import decided
from crosscheck.report import Report

POSITIONS = np.linspace(0, 4095, 12).astype(np.int32)
X = np.random.default_rng(0).standard_normal((12, 8)).astype(ml_dtypes.bfloat16)
INPUTS = {"x": X, "positions": POSITIONS}
MISTAKES = {
    "a different base": lambda angles, cos, sin: (jnp.cos(angles**1.5), jnp.sin(angles**1.5)),
    "a negated sine": lambda angles, cos, sin: (cos, -sin),
    "sine and cosine exchanged": lambda angles, cos, sin: (sin, cos),
    "no rotation": lambda angles, cos, sin: (jnp.ones_like(cos), jnp.zeros_like(sin)),
    "zeros": lambda angles, cos, sin: (jnp.zeros_like(cos), jnp.zeros_like(sin)),
}


def torch_rotary(dtype=torch.float32):
    """Rotary positions, whose angles are computed in a dtype (None: that of x)."""

    def rotate(x, positions):
        wide = x.dtype if dtype is None else dtype
        frequencies = 1 / 10000 ** (torch.arange(0, 8, 2).to(wide) / 8)
        angles = positions[:, None].to(wide) * frequencies
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    return rotate


def jax_rotary(dtype=jnp.float32, mistake=lambda angles, cos, sin: (cos, sin)):
    def rotate(x, positions):
        wide = x.dtype if dtype is None else dtype
        frequencies = 1 / 10000 ** (jnp.arange(0, 8, 2).astype(wide) / 8)
        angles = positions[:, None].astype(wide) * frequencies
        cos, sin = (each.astype(x.dtype) for each in mistake(angles, jnp.cos(angles), jnp.sin(angles)))
        a, b = jnp.split(x, 2, -1)
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    return rotate


def compared(dtype, mistake=None) -> Report:
    how = {} if mistake is None else {"mistake": MISTAKES[mistake]}
    return crosscheck.compare(torch_rotary(dtype and torch.float32), jax_rotary(dtype and jnp.float32, **how), INPUTS)


def output(report: Report):
    return next(row for row in report.rows if row.kind == "output")


def test_angles_in_float32_are_not_rounded_to_bfloat16():
    report = compared("float32")
    assert report.agrees, str(report)
    assert output(report).decided_in == ""
    assert output(report).sensitivity < roundings(4, "bfloat16")


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("dtype", ["float32", None])
def test_a_wrong_rotation_at_far_positions_is_seen_in_bfloat16(dtype, mistake):
    assert not compared(dtype, mistake).agrees


def test_what_noise_hides_is_decided_in_float64():
    report = compared(None)
    assert report.agrees, str(report)
    assert output(report).decided_in == "float64"
    assert "decided in float64, since noise hides zeros or a different order" in str(report)


class Rotary(torch.nn.Module):
    def forward(self, x, positions):
        return torch_rotary(None)(x, positions)


class RotaryWithKeys(nnx.Module):
    def __init__(self, rngs):
        self.rngs = rngs  # as a layer with dropout has them

    def __call__(self, x, positions):
        return jax_rotary(None)(x, positions)


def test_a_module_that_holds_random_keys_is_decided_in_float64():
    report = crosscheck.compare(Rotary(), RotaryWithKeys(nnx.Rngs(0)), INPUTS)
    assert report.undecided_because == ""
    assert output(report).decided_in == "float64"


def test_what_can_not_be_decided_fails_and_the_report_says_why(tmp_path):
    recorded = crosscheck.record(torch_rotary(None), INPUTS, tmp_path / "torch", name="rotary")
    report = crosscheck.compare(recorded, jax_rotary(None))
    assert not report.agrees
    assert output(report).verdict == "undecided"
    assert report.to_dict()["undecided_because"] == "the recording of rotary can't be run again in float64"
    assert "undecided, since that run can't be made: the recording of rotary" in str(report)


def test_what_the_run_in_float64_does_not_have_stays_undecided():
    row = replace(output(compared("float32")), undecided=True)
    (left,), because = decided([row], lambda: [])
    assert (left.undecided, left.agrees, because) == (True, False, "")
    other = replace(row, tensor="other", undecided=False)
    (found, kept), _ = decided([row, other], lambda: [replace(each, undecided=False) for each in (row, other)])
    assert (found.agrees, found.decided_in) == (True, "float64")
    assert kept == other
