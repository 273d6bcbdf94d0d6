"""Pairs that can't be compared are refused in one clear sentence; non-finite numbers are found where they arise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx
from own_pairs import drawn, normal

import crosscheck
from crosscheck.pairing.copy_weights import copy_weights
from shared.errors import IsogradError

pytestmark = pytest.mark.usefixtures("float64_in_jax")

X = normal(4, 5)


class TorchNet(torch.nn.Module):
    def __init__(self, hidden=7, extra=False):
        super().__init__()
        self.fc1, self.act, self.fc2 = torch.nn.Linear(5, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 3)
        if extra:
            self.extra = torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class FlaxNet(nnx.Module):
    def __init__(self, activation=jnp.tanh, dtype=jnp.float64):
        self.fc1 = nnx.Linear(5, 7, rngs=nnx.Rngs(0), param_dtype=dtype)
        self.fc2 = nnx.Linear(7, 3, rngs=nnx.Rngs(0), param_dtype=dtype)
        self.activation = activation

    def __call__(self, x):
        return self.fc2(self.activation(self.fc1(x)))


class Unfinished(nnx.Module):
    def __call__(self, x):
        raise NotImplementedError("to do\nlater")


def net(**options):
    return drawn(TorchNet(**options))


def pair_of(**options):
    ours = net()
    return ours, copy_weights(ours, FlaxNet(**options))


LINEN = linen.Dense(3, param_dtype=jnp.float64)
REFUSED = {  # a torch module, a JAX module, inputs, options, and the message
    "no inputs": (net, FlaxNet, None, {}, "expected inputs for the two modules, got none"),
    "the sides swapped": (FlaxNet, net, X, {}, r"expected a torch module, got the JAX module FlaxNet: call compare"),
    "torch twice": (net, net, X, {}, r"expected a JAX module, got the torch module TorchNet: call compare"),
    "parameters of a different size": (
        lambda: net(hidden=8),
        FlaxNet,
        X,
        {},
        r"wrong shape fc1.weight \(expected \(8, 5\), got \(7, 5\)\), fc1.bias",
    ),
    "a parameter too many": (lambda: net(extra=True), FlaxNet, X, {}, "missing extra.weight, extra.bias; unused none"),
    "a rule that merges names": (
        net,
        FlaxNet,
        X,
        {"rules": {r"^fc\d": "fc1"}},
        "rules map several parameters of the JAX module to the same name: fc1.bias, fc1.weight, fc2.bias, fc2.weight",
    ),
    "float64 against float32": (
        net,
        lambda: FlaxNet(dtype=jnp.float32),
        X,
        {},
        "TorchNet is float64 in torch but has float32 parameters in JAX: make both float64",
    ),
    "float32 against float64": (
        lambda: net().float(),
        FlaxNet,
        X,
        {},
        "TorchNet is float32 in torch but has float64 parameters in JAX: make both float64",
    ),
    "inputs of a different shape": (
        net,
        FlaxNet,
        normal(4, 6),
        {},
        "the torch module TorchNet fails .* RuntimeError: mat1",
    ),
    "inputs by a wrong name": (net, FlaxNet, {"y": X}, {}, "TypeError: .* unexpected keyword argument 'y'"),
    "a module that raises": (lambda: torch.sin, Unfinished, X, {}, "JAX module sin .*: NotImplementedError: to do$"),
    "Python control flow on values": (
        lambda: torch.sin,
        lambda: lambda x: x if x.sum() > 0 else -x,
        X,
        {},
        "the JAX module sin fails on these inputs: TracerBoolConversionError",
    ),
    "Linen variables of a different module": (
        lambda: torch.sin,
        lambda: (LINEN, {"params": {"kernel": jnp.ones((5, 3))}}),
        X,
        {},
        "fails on these inputs: Scope",
    ),
    "outputs with different nesting": (
        lambda: lambda x: (x, x),
        lambda: lambda x: x,
        X,
        {},
        r"the outputs of function do not match: torch has \['output\[0\]', 'output\[1\]'\], JAX has \['output'\]",
    ),
    "an output that is not a tensor": (
        lambda: lambda x: (x, 3),
        lambda: lambda x: x,
        X,
        {},
        r"output\[1\] must be a tensor",
    ),
    "no output": (lambda: lambda x: None, lambda: lambda x: None, X, {}, "expected a tensor among the outputs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_pair_that_can_not_be_compared_is_refused_in_one_sentence(case):
    make_ours, make_theirs, inputs, options, words = REFUSED[case]
    with pytest.raises(IsogradError, match=words) as caught:
        crosscheck.compare(make_ours(), make_theirs(), inputs, **options)
    assert "\n" not in str(caught.value)


def test_integers_that_jax_would_cut_to_32_bits_are_a_divergence_of_the_inputs():
    with jax.enable_x64(False):
        report = crosscheck.compare(lambda i, x: x, lambda i, x: x, (np.array([2**40, 3]), np.float32(X)))
    assert report.first_divergence == ("function", "inputs", "0")
    assert report.first_row.worst_index == (0,)


def test_integers_of_fewer_bits_are_the_same_integers():
    with jax.enable_x64(False):
        assert crosscheck.compare(lambda i, x: x[i], lambda i, x: x[i], (np.array([2, 0]), np.float32(X))).agrees


def test_a_float32_module_is_run_in_float32_as_its_user_runs_it():
    with jax.enable_x64(False):
        report = crosscheck.compare(torch.sin, lambda x: jnp.sin(x) + jnp.zeros(5), np.float32(X))
    assert report.agrees
    assert {array.dtype for array in report.recordings[1].values.outputs.values()} == {np.dtype("float32")}


BREAKS = {"NaN": jnp.nan, "infinity": jnp.inf}


@pytest.mark.parametrize("value", BREAKS.values(), ids=BREAKS)
def test_a_value_that_is_not_finite_on_one_side_is_found_where_it_arises(value):
    ours, theirs = pair_of(activation=lambda x: jnp.tanh(x).at[1, 2].set(value))
    report = crosscheck.compare(ours, theirs, X)
    assert report.first_divergence == ("TorchNet", "forward", "fc2 in[0]")
    assert report.first_row.worst_index == (1, 2)
    assert report.first_row.statistics[1].not_finite == 1


def test_nan_on_both_sides_at_the_same_places_is_no_proof_and_the_report_says_so():
    report = crosscheck.compare(torch.log, jnp.log, X)
    negative = int((X < 0).sum())
    assert not report.agrees
    assert f"{negative} not finite" in str(report)
    assert "NaN on both sides at the same positions" in str(report.first_row)


def test_nan_on_one_side_is_found_beside_nan_on_both():
    inputs = np.array([1.0, -1.0, 2.0])
    report = crosscheck.compare(torch.log, lambda x: jnp.log(x).at[2].set(jnp.nan), inputs)
    assert report.first_row.worst_index == (2,)
    assert not report.first_row.is_nan_in_both


def test_equal_infinities_agree():
    ours, theirs = (lambda x, xp=xp: xp.where(x > 0, x, -xp.inf) for xp in (torch, jnp))
    assert crosscheck.compare(ours, theirs, X).agrees


def test_modules_that_only_one_side_calls_are_listed():
    report = crosscheck.compare(*pair_of(), X)
    assert report.agrees
    assert report.unmatched == {"torch": ["act"], "jax": []}
    assert "called in torch only: act" in str(report)


def test_layouts_that_are_no_dict_are_refused():
    with pytest.raises(IsogradError, match="layouts must be a dict of path -> name of a layout, got list"):
        crosscheck.compare(TorchNet().double(), FlaxNet(), X, layouts=["flax.nnx.Linear"])
