"""Recurrent layers of both frameworks, whose parameters pair up by layouts=: gates apart, and one bias for two."""

import jax.numpy as jnp
import pytest
import torch
from flax import linen, nnx, traverse_util

import crosscheck
import jax_impl
import torch_impl
from crosscheck.own_pairs import drawn, normal
from shared.errors import IsogradError, WeightsError
from shared.foreign_layouts import from_foreign, to_foreign

pytestmark = pytest.mark.usefixtures("float64_in_jax")

F64 = {"param_dtype": jnp.float64}
STEPS = normal(2, 6, 5)
CELL = "rnn.cells.0"


class TorchRecurrent(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn = kind(5, 7, batch_first=True)

    def forward(self, x):
        return self.rnn(x)[0]


class LinenRecurrent(linen.Module):
    kind: type
    scale: float = 1.0

    @linen.compact
    def __call__(self, x):
        return linen.RNN(self.kind(7, name="cell", **F64), name="rnn")(x * self.scale)


class NNXRecurrent(nnx.Module):
    def __init__(self, kind, scale=1.0):
        self.rnn = nnx.RNN(kind(5, 7, rngs=nnx.Rngs(0), **F64), rngs=nnx.Rngs(0))
        self.scale = scale

    def __call__(self, x):
        return self.rnn(x * self.scale)


class OurRecurrent(nnx.Module):
    def __init__(self, scale=1.0):
        self.rnn = jax_impl.GRU(5, 7, rngs=nnx.Rngs(0))
        self.scale = scale

    def __call__(self, x):
        return self.rnn(x * self.scale)[0]


RECURRENT = {  # torch's layer, the port, the layout of its cell, the rules
    "our GRU": (torch.nn.GRU, OurRecurrent, None, {}),
    "linen.GRUCell": (torch.nn.GRU, linen.GRUCell, "flax.linen.GRUCell", {r"^cell\.": f"{CELL}."}),
    "linen.LSTMCell": (torch.nn.LSTM, linen.OptimizedLSTMCell, "flax.linen.LSTMCell", {r"^cell\.": f"{CELL}."}),
    "nnx.LSTMCell": (torch.nn.LSTM, nnx.LSTMCell, "flax.nnx.LSTMCell", {r"^rnn\.cell\.": f"{CELL}."}),
    "nnx.OptimizedLSTMCell": (
        torch.nn.LSTM,
        nnx.OptimizedLSTMCell,
        "flax.nnx.OptimizedLSTMCell",
        {r"^rnn\.cell\.": f"{CELL}."},
    ),
}


def recurrent_pair(name, dtype="float64", scale=1.0):
    """A layer of torch's, its port with the same weights, and how to compare the two."""
    kind, port, layout, rules = RECURRENT[name]
    layouts = {"rnn": f"torch.nn.{kind.__name__}", **({CELL: layout} if layout else {})}
    ours = drawn(TorchRecurrent(kind), dtype)
    canonical = from_foreign(layouts["rnn"], torch_impl.to_arrays(ours.rnn))
    return (ours, filled(port, layout, canonical, scale)), {"rules": rules, "layouts": layouts}


def filled(port, layout, canonical, scale):
    """The port with these weights; where it holds one bias for two, with their sum."""
    if layout is None:
        module = port(scale)
        jax_impl.load_arrays(module, {f"rnn.{name}": array for name, array in canonical.items()})
        return module
    cell = {name.removeprefix("cells.0."): array.copy() for name, array in canonical.items()}
    merged = slice(None, 14) if "GRU" in layout else slice(None)
    into, out_of = (
        ("input_proj.bias", "hidden_proj.bias") if "GRU" in layout else ("hidden_proj.bias", "input_proj.bias")
    )
    cell[into][merged] += cell[out_of][merged]
    cell[out_of][merged] = 0
    flat = {tuple(name.split("/")): jnp.asarray(array) for name, array in to_foreign(layout, cell).items()}
    if issubclass(port, linen.Module):
        return LinenRecurrent(port, scale), {"params": {"cell": traverse_util.unflatten_dict(flat)}}
    module = NNXRecurrent(port, scale)
    for (part, kind), array in flat.items():
        getattr(getattr(module.rnn.cell, part), kind).set_value(array)
    return module


@pytest.mark.parametrize(("name", "dtype"), [*((name, "float64") for name in RECURRENT), ("our GRU", "float32")])
def test_a_recurrent_layer_agrees_with_its_port_also_where_one_bias_stands_for_two(name, dtype):
    pair, how = recurrent_pair(name, dtype)
    report = crosscheck.compare(*pair, STEPS, **how)
    assert report.agrees, str(report)


@pytest.mark.parametrize("name", ["our GRU", "linen.GRUCell"])
def test_a_wrong_input_of_a_recurrent_layer_is_found_at_the_module_that_gives_it(name):
    pair, how = recurrent_pair(name, scale=1.01)
    report = crosscheck.compare(*pair, STEPS, **how)
    assert report.first_divergence[:2] == ("TorchRecurrent", "forward"), str(report)


def test_swapped_gates_are_found_in_the_weights():
    (ours, (module, variables)), how = recurrent_pair("linen.LSTMCell")
    cell = variables["params"]["cell"]
    swapped = {"params": {"cell": {**cell, "hf": cell["hg"], "hg": cell["hf"]}}}
    report = crosscheck.compare(ours, (module, swapped), STEPS, **how)
    assert report.first_divergence[:2] == (f"TorchRecurrent.{CELL}.hidden_proj", "parameters")


def test_two_biases_train_otherwise_than_one_and_an_update_says_so():
    pair, how = recurrent_pair("linen.LSTMCell")
    report = crosscheck.compare(*pair, STEPS, updates=1, **how)
    assert report.first_divergence == (
        "TorchRecurrent.optimizer",
        "update",
        f"1/weights/{CELL}.hidden_proj.bias",
    )


def test_an_unknown_layout_names_the_nearest():
    pair, how = recurrent_pair("our GRU")
    with pytest.raises(IsogradError, match=r"unknown layout 'torch.nn.GRUs': did you mean 'torch.nn.GRU'"):
        crosscheck.compare(*pair, STEPS, layouts={"rnn": "torch.nn.GRUs"})


def test_a_layout_of_a_path_without_parameters_names_those_that_there_are():
    pair, how = recurrent_pair("our GRU")
    with pytest.raises(IsogradError, match=r"layouts names 'gru' as torch.nn.GRU, but .* got rnn.weight_ih_l0"):
        crosscheck.compare(*pair, STEPS, layouts={"gru": "torch.nn.GRU"})


def test_weights_that_do_not_fit_their_layout_are_listed():
    pair, how = recurrent_pair("our GRU")
    with pytest.raises(WeightsError, match="missing in_proj_weight.*unused weight_ih_l0"):
        crosscheck.compare(*pair, STEPS, layouts={"rnn": "torch.nn.MultiheadAttention"})
