"""Recurrent layers of both frameworks, matched with layouts=: separate gates, and one bias for two."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx, traverse_util
from own_pairs import drawn, normal

import crosscheck
import jax_impl
import torch_impl
from crosscheck.explain import explain
from crosscheck.pairing.copy_weights import copy_weights
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
    """A torch layer, its port with the same weights, and how to compare the two."""
    kind, port, layout, rules = RECURRENT[name]
    layouts = {"rnn": f"torch.nn.{kind.__name__}", **({CELL: layout} if layout else {})}
    ours = drawn(TorchRecurrent(kind), dtype)
    canonical = from_foreign(layouts["rnn"], torch_impl.to_arrays(ours.rnn))
    return (ours, filled(port, layout, canonical, scale)), {"rules": rules, "layouts": layouts}


def filled(port, layout, canonical, scale):
    """The port with these weights, using their sum where it has one bias for two."""
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


class TorchBothWays(torch.nn.Module):
    """Two bidirectional layers on sequences of different lengths."""

    def __init__(self, kind):
        super().__init__()
        self.rnn = kind(5, 7, 2, bidirectional=True, batch_first=True)

    def forward(self, x, lengths):
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return torch.nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]


class FlaxBothWays(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        cells = [[nnx.OptimizedLSTMCell(size, 7, rngs=rngs, **F64) for _ in range(2)] for size in (5, 14)]
        self.layers = nnx.List(
            [nnx.Bidirectional(*(nnx.RNN(cell, rngs=rngs) for cell in two), rngs=rngs) for two in cells]
        )

    def __call__(self, x, lengths):
        for layer in self.layers:
            x = layer(x, seq_lengths=lengths)
        return jnp.where(jnp.arange(x.shape[1])[:, None] < lengths[:, None, None], x, 0)


LENGTHS = {"x": STEPS, "lengths": np.array([6, 3])}
BOTH_WAYS = {r"^layers\.(\d)\.(forward|backward)_rnn\.cell\.": r"rnn.\2_cells.\1."}
BOTH_LAYOUTS = {
    "rnn": "torch.nn.LSTM(bidirectional=True)",
    **{f"rnn.{way}_cells.{n}": "flax.nnx.OptimizedLSTMCell" for way in ("forward", "backward") for n in (0, 1)},
}


def test_weights_of_packed_layers_are_copied_by_the_layouts_that_read_them():
    ours = drawn(TorchBothWays(torch.nn.LSTM))
    how = {"rules": BOTH_WAYS, "layouts": BOTH_LAYOUTS}
    report = crosscheck.compare(ours, copy_weights(ours, FlaxBothWays(), **how), LENGTHS, **how)
    assert report.agrees, str(report)


def test_layers_that_run_both_ways_are_told_from_those_that_run_one_way():
    ours = drawn(TorchBothWays(torch.nn.GRU))
    with pytest.raises(WeightsError, match=r"these are the names of torch.nn.GRU\(bidirectional=True\)"):
        copy_weights(ours, FlaxBothWays(), BOTH_WAYS, {"rnn": "torch.nn.GRU"})


def test_a_layout_that_can_be_read_only_is_refused_by_name():
    how = {"layouts": {"rnn": ("torch.nn.GRU", "flax.nnx.MultiHeadAttention")}}
    with pytest.raises(IsogradError, match=r"flax.nnx.MultiHeadAttention can be read but not written: fill these"):
        copy_weights(drawn(TorchRecurrent(torch.nn.GRU)), FlaxBothWays(), **how)


def test_the_cell_that_has_no_hidden_bias_is_refused_with_the_reason():
    how = {"layouts": {"rnn": ("torch.nn.GRU", "flax.nnx.GRUCell")}}
    with pytest.raises(IsogradError, match=r"flax.nnx.GRUCell can't be converted: it has no bias b_hn"):
        crosscheck.compare(*recurrent_pair("our GRU")[0], STEPS, **how)


@pytest.mark.parametrize("style", ["linen", "nnx"])
def test_a_layer_without_gates_agrees_with_its_port(style):
    ours, module = drawn(TorchRecurrent(torch.nn.RNN)), LinenRecurrent(linen.SimpleCell)
    if style == "nnx":  # whose cell computes in float32 by default
        theirs = NNXRecurrent(functools.partial(nnx.SimpleCell, dtype=jnp.float64))
    else:
        theirs = (module, module.init(jax.random.key(0), STEPS))
    how = {"rules": {r"^(rnn\.)?cell\.": f"{CELL}."}}
    how["layouts"] = {"rnn": "torch.nn.RNN", CELL: f"flax.{style}.SimpleCell"}
    report = crosscheck.compare(ours, copy_weights(ours, theirs, **how), STEPS, **how)
    assert report.agrees, str(report)


def test_a_hidden_bias_that_one_side_lacks_is_named():
    ours = drawn(TorchRecurrent(torch.nn.GRU))
    theirs = copy_weights(ours, OurRecurrent(), layouts={"rnn": "torch.nn.GRU"})
    bias = theirs.rnn.cells[0].hidden_proj.bias
    bias.set_value(bias[...].at[14:].set(0))
    explanation = explain(ours, theirs, STEPS, layouts={"rnn": "torch.nn.GRU"})
    assert explanation.divergence.id == "D04", str(explanation)
