"""Weights and running statistics go from a torch module into its NNX or Linen port, or every mismatch is reported."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx
from own_pairs import drawn, normal

import crosscheck
from crosscheck import copy_weights
from shared.errors import WeightsError


class TorchNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.fc = torch.nn.Conv1d(5, 7, 3), torch.nn.BatchNorm1d(7), torch.nn.Linear(7, 3)

    def forward(self, x):
        return self.fc(self.bn(self.conv(x.mT)).mT)


class NNXNet(nnx.Module):
    def __init__(self, features=7):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(5, features, (3,), padding="VALID", rngs=rngs)
        self.norm, self.fc = nnx.BatchNorm(7, momentum=0.9, rngs=rngs), nnx.Linear(7, 3, rngs=rngs)

    def __call__(self, x):
        return self.fc(self.norm(self.conv(x)))


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.Conv(7, (3,), padding="VALID", name="conv", param_dtype=x.dtype)(x)
        x = linen.BatchNorm(use_running_average=True, name="norm", param_dtype=x.dtype)(x)
        return linen.Dense(3, name="fc", param_dtype=x.dtype)(x)


RULES = {r"^norm\.": "bn."}
X = normal(2, 6, 5)


@pytest.mark.slow
@pytest.mark.parametrize(("style", "dtype"), [("nnx", "float64"), ("nnx", "float32"), ("linen", "float64")])
def test_a_port_with_copied_weights_and_statistics_agrees(style, dtype):
    with jax.enable_x64(dtype == "float64"):
        ours = drawn(TorchNet(), dtype)
        empty = NNXNet() if style == "nnx" else (LinenNet(), LinenNet().init(jax.random.key(0), jnp.asarray(X, dtype)))
        theirs = copy_weights(ours, empty, RULES)
    assert (theirs is empty) == (style == "nnx")
    report = crosscheck.compare(ours, theirs, X, rules=RULES)
    assert report.agrees, str(report)


def test_every_public_name_is_there():
    assert [name for name in crosscheck.__all__ if not hasattr(crosscheck, name)] == []


def test_names_and_shapes_that_do_not_fit_are_all_told():
    with pytest.raises(WeightsError, match=r"missing norm.bias, norm.running_mean, .*; unused bn.weight, bn.bias"):
        copy_weights(TorchNet(), NNXNet())
    with pytest.raises(WeightsError, match=r"wrong shape .*conv.weight \(expected \(8, 5, 3\), got \(7, 5, 3\)\)"):
        copy_weights(TorchNet(), NNXNet(features=8), RULES)


def test_float64_weights_are_not_cut_in_silence():
    before = NNXNet()
    with (
        jax.enable_x64(False),
        pytest.raises(WeightsError, match="JAX would silently turn float64 weights into 32 bits"),
    ):
        copy_weights(drawn(TorchNet()), before, RULES)
    assert np.array_equal(before.conv.kernel[...], NNXNet().conv.kernel[...])
