"""Parameters that both sides call by Flax's words are compared, copied and told apart."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn

from crosscheck import compare
from crosscheck.pairing.copy_weights import copy_weights

pytestmark = pytest.mark.usefixtures("float64_in_jax")
WIDE, SQUARE = (4, 5), (5, 5)
NAMES = [("scale",), ("kernel",), ("kernel", "scale"), ("weight", "scale"), ("embedding", "scale")]
MATRICES = ("weight", "kernel", "embedding")


def values_of(names, shape):
    generator = np.random.default_rng(7)
    return {name: generator.normal(size=shape if name in MATRICES else shape[1]) for name in names}


def applied(x, named):
    for name, value in named.items():
        x = x @ value if name in MATRICES else x * value
    return x


class Torch(nn.Module):
    def __init__(self, values):
        super().__init__()
        self.names = tuple(values)
        for name, array in values.items():
            setattr(self, name, nn.Parameter(torch.tensor(array)))

    def forward(self, x):
        return applied(x, {name: getattr(self, name) for name in self.names})


class Jax(nnx.Module):
    def __init__(self, values):
        self.names = tuple(values)
        for name, array in values.items():
            setattr(self, name, nnx.Param(jnp.asarray(array)))

    def __call__(self, x):
        return applied(x, {name: getattr(self, name)[...] for name in self.names})


@pytest.mark.parametrize("shape", [WIDE, SQUARE], ids=["wide", "square"])
@pytest.mark.parametrize("names", NAMES, ids="+".join)
def test_parameters_under_flax_words_on_both_sides_are_copied_and_agree(names, shape):
    values = values_of(names, shape)
    theirs = copy_weights(Torch(values), Jax({name: 0 * array for name, array in values.items()}))
    x = np.random.default_rng(8).normal(size=(3, shape[0] if set(names) & set(MATRICES) else shape[1]))
    report = compare(Torch(values), theirs, (x,))
    assert report.agrees, str(report)
    compared = {row.tensor: row.shape for row in report.rows if row.kind == "parameter gradient"}
    assert compared == {name: values[name].shape for name in names}


@pytest.mark.parametrize("names", NAMES, ids="+".join)
def test_each_of_them_that_differs_is_named(names):
    values = values_of(names, SQUARE)
    for name in names:
        report = compare(Torch(values), Jax({**values, name: 2 * values[name]}), (np.ones((3, 5)),))
        assert name in [row.tensor for row in report.disagreements if row.kind == "parameter"]
