"""What users pass: complex numbers, channels last, lone outputs, pytrees, packed sequences, rules that leave out."""

import inspect
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from own_pairs import normal

import crosscheck
from crosscheck.locate import locate
from crosscheck.pairing.copy_weights import copy_weights

X, IMAGES = normal(3, 6), normal(2, 3, 8, 8)


@pytest.fixture(autouse=True)
def float64_in_jax():
    with jax.enable_x64(True):
        yield


class TorchComplex(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.complex(torch.ones(4, 4), torch.eye(4)).to(torch.cdouble))

    def forward(self, x):
        return torch.fft.rfft(x) @ self.w


class FlaxComplex(nnx.Module):
    def __init__(self, rngs, turn=lambda y: y):
        self.w, self.turn = nnx.Param(jnp.zeros((4, 4), complex)), turn

    def __call__(self, x):
        return self.turn(jnp.fft.rfft(x) @ self.w[...])


@pytest.mark.parametrize(
    ("turn", "agrees"),
    [(lambda y: y, True), (jnp.conj, False), (lambda y: y.real + 1.000001j * y.imag, False)],
    ids=["equal", "conjugated", "an imaginary part a little off"],
)
def test_complex_parameters_and_outputs_are_compared_with_their_gradients(turn, agrees):
    ours = TorchComplex()
    report = crosscheck.compare(ours, copy_weights(ours, FlaxComplex(nnx.Rngs(0), turn)), X)
    assert report.agrees == agrees, str(report)
    assert "gradients of complex numbers are in torch's convention" in str(report)


class TorchImage(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Conv2d(3, 5, 3, 1, 1), torch.nn.Conv2d(5, 4, 3, 1, 1)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


class FlaxImage(nnx.Module):
    def __init__(self, rngs, slope=0.0):
        self.a, self.b, self.slope = nnx.Conv(3, 5, (3, 3), rngs=rngs), nnx.Conv(5, 4, (3, 3), rngs=rngs), slope

    def __call__(self, x):
        return self.b(jax.nn.leaky_relu(self.a(x), self.slope))


def image_pair(**mistake):
    ours = TorchImage().double()
    own = {"torch_arguments": {"x": IMAGES}, "jax_arguments": {"x": IMAGES.transpose(0, 2, 3, 1)}}
    return (ours, copy_weights(ours, FlaxImage(nnx.Rngs(0), **mistake))), own


def test_channels_last_in_and_out_are_channels_first_of_the_other_side():
    pair, own = image_pair()
    assert crosscheck.compare(*pair, {}, **own).agrees


def test_modules_that_keep_channels_last_are_run_alone():
    pair, own = image_pair(slope=0.1)
    location = locate(*pair, {}, **own)
    assert [line.by_itself.agrees for line in location.modules if line.path] == [True, True]
    assert location.first_divergence[:2] == ("TorchImage", "forward")


def test_transposed_outputs_of_a_module_without_channels_stay_a_mistake():
    report = crosscheck.compare(lambda x: x * 2, lambda x: (x * 2).transpose(0, 2, 3, 1), IMAGES)
    assert not report.agrees


@pytest.mark.parametrize("wrapped", [lambda y: (y,), lambda y: {"logits": y}, lambda y: [y, None]])
def test_a_lone_output_agrees_under_any_name(wrapped):
    assert crosscheck.compare(lambda x: wrapped(x * 2), lambda x: x * 2, X).agrees


@jax.tree_util.register_dataclass
@dataclass
class Dense:
    """A callable pytree in torch's layout, as Equinox's modules are."""

    weight: jax.Array
    bias: jax.Array

    def __call__(self, x):
        return x @ self.weight.T + self.bias


def test_a_callable_pytree_is_compared_with_its_gradients_and_gets_weights():
    ours = torch.nn.Linear(6, 4).double()
    theirs = copy_weights(ours, Dense(jnp.zeros((4, 6)), jnp.zeros(4)))
    report = crosscheck.compare(ours, theirs, X)
    assert report.agrees, str(report)
    assert {row.tensor for row in report.rows if row.kind == "parameter gradient"} == {"weight", "bias"}
    assert not crosscheck.compare(ours, Dense(2 * theirs.weight, theirs.bias), X).agrees


def test_a_function_that_holds_its_weights_is_compared_by_what_it_returns():
    ours = torch.nn.Linear(6, 4).double()
    theirs = copy_weights(ours, Dense(jnp.zeros((4, 6)), jnp.zeros(4)))
    report = crosscheck.compare(ours, lambda x: theirs(x), X)
    assert report.agrees
    assert "weights inside it" in str(report)
    assert not crosscheck.compare(ours, lambda x: theirs(x) * 1.01, X).agrees


def test_functions_run_in_the_dtype_of_the_modules_that_they_close_over():
    ours = torch.nn.Linear(6, 4).double()
    theirs = copy_weights(ours, Dense(jnp.zeros((4, 6)), jnp.zeros(4)))
    report = crosscheck.compare(lambda x: ours(x), lambda x: theirs(x), X.astype(np.float32))
    assert (report.dtype, report.agrees) == ("float64", True)


class Counted(torch.nn.Module):
    """Counts the arguments of its own method, as Hugging Face's models do."""

    def chunk(self, x):
        return x * 2

    def forward(self, x):
        assert len(inspect.signature(self.chunk).parameters) == 1
        return self.chunk(x)


def test_a_method_that_is_recorded_keeps_its_signature():
    assert crosscheck.record(Counted(), X).values.outputs


class TorchPacked(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = torch.nn.RNN(6, 4, batch_first=True), torch.nn.Linear(4, 2)

    def forward(self, x, lengths):
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.out(torch.nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0])


class FlaxPacked(nnx.Module):
    def __init__(self, rngs):
        self.rnn, self.out = nnx.Linear(6, 4, param_dtype=float, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x, lengths):
        return self.out(jnp.tanh(self.rnn(x)))


def test_a_module_that_takes_a_packed_sequence_says_so_where_the_pair_disagrees():
    ours, theirs = TorchPacked().double(), FlaxPacked(nnx.Rngs(0))
    rules = {r"^rnn\.": None}
    theirs = copy_weights(ours, theirs, rules=rules)
    given = {"x": normal(2, 3, 6), "lengths": np.array([3, 2])}
    location = locate(ours, theirs, given, rules=rules)
    assert not location.report.agrees
    assert "PackedSequence" in {line.path: line.reason for line in location.modules}["rnn"]


class Wrapped(nnx.Module):
    def __init__(self, rngs):
        self.inner, self.only_here = nnx.Linear(6, 4, rngs=rngs), nnx.Param(jnp.ones(3))

    def __call__(self, x):
        return self.inner(x)


def test_parameters_of_one_side_are_left_out_by_a_rule_of_none():
    rules = {r"^inner\.": "", r"^only_here$": None}
    ours = torch.nn.Linear(6, 4).double()
    report = crosscheck.compare(ours, copy_weights(ours, Wrapped(nnx.Rngs(0)), rules=rules), X, rules=rules)
    assert report.agrees
    assert {row.tensor for row in report.rows if row.kind == "parameter"} == {"weight", "bias"}


class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.LayerNorm(4))

    def forward(self, x):
        return self.model(x)


class Flat(nnx.Module):
    def __init__(self, rngs, eps=1e-5):
        self.fc, self.norm = nnx.Linear(6, 4, rngs=rngs), nnx.LayerNorm(4, epsilon=eps, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.fc(x))


def test_a_rule_that_prefixes_every_name_holds_inside_modules_too():
    rules = {r"^fc\.": "0.", r"^norm\.": "1.", "^": "model."}
    ours = Outer().double()
    location = locate(ours, copy_weights(ours, Flat(nnx.Rngs(0), eps=1e-3), rules=rules), X, rules=rules)
    assert location.first_divergence[:2] == ("Outer.model.1", "forward")
    assert {line.path: line.by_itself and line.by_itself.agrees for line in location.modules}["model.0"]


class Heads(nnx.Module):
    def __init__(self, rngs):
        self.q = nnx.LinearGeneral(6, (2, 3), rngs=rngs)
        self.o = nnx.LinearGeneral((2, 3), 6, axis=(-2, -1), rngs=rngs)

    def __call__(self, x):
        return self.o(jnp.tanh(self.q(x)))


class TorchHeads(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.o = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)

    def forward(self, x):
        return self.o(torch.tanh(self.q(x)))


def test_kernels_that_split_the_heads_are_copied_as_they_are_compared():
    ours = TorchHeads().double()
    assert crosscheck.compare(ours, copy_weights(ours, Heads(nnx.Rngs(0))), X).agrees


def test_saturated_code_that_rounds_as_much_on_both_sides_agrees_and_a_mistake_does_not():
    x = normal(50) + 8.0

    def jax_side(scale):
        return lambda x: jnp.log(1 - jnp.tanh(x * scale) ** 2 + 1e-14)

    def torch_side(x):
        return torch.log(1 - torch.tanh(x) ** 2 + 1e-14)

    assert crosscheck.compare(torch_side, jax_side(1.0), x).agrees
    assert not crosscheck.compare(torch_side, jax_side(1.00001), x).agrees
