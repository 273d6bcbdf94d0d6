"""`explain` names the default that causes the difference between a torch module and its port to JAX."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax import nnx
from own_pairs import Case, normal

import crosscheck
from crosscheck.explain import explain

X = normal(4, 6)


@pytest.fixture(autouse=True)
def float64_in_jax():
    with jax.enable_x64(True):
        yield


class TorchTower(torch.nn.Module):
    def __init__(self, norm=lambda: torch.nn.LayerNorm(6)):
        super().__init__()
        self.proj, self.norm, self.out = torch.nn.Linear(6, 6), norm(), torch.nn.Linear(6, 3)

    def forward(self, x):
        return self.out(F.gelu(self.norm(self.proj(x))))


class FlaxTower(nnx.Module):
    def __init__(self, rngs, norm=nnx.LayerNorm, approximate=False, transposed=False, power=1.0, **options):
        self.proj, self.out = (nnx.Linear(6, size, rngs=rngs) for size in (6, 3))
        self.norm = norm(6, rngs=rngs, **options)
        self.approximate, self.transposed, self.power = approximate, transposed, power

    def __call__(self, x):
        h = x @ self.proj.kernel.T + self.proj.bias[...] if self.transposed else self.proj(x)
        return self.out(jax.nn.gelu(self.norm(h), approximate=self.approximate) * self.power)


class OwnRMSNorm(torch.nn.Module):
    """A hand-written norm whose epsilon is an attribute."""

    def __init__(self):
        super().__init__()
        self.weight, self.variance_epsilon = torch.nn.Parameter(torch.ones(6)), 1e-6

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)


class TorchCell(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = torch.nn.GRUCell(6, 7)

    def forward(self, x):
        return self.cell(x, x.new_ones(len(x), 7))


class FlaxCell(nnx.Module):
    def __init__(self, rngs, order=(0, 1, 2), hidden_bias=1.0):
        self.ih, self.hh = nnx.Linear(6, 21, rngs=rngs), nnx.Linear(7, 21, rngs=rngs)
        self.order, self.unused = order, 1 - hidden_bias

    def __call__(self, x):
        h = jnp.ones((len(x), 7), x.dtype)
        (x_r, x_z, x_n), (h_r, h_z, h_n) = (
            [jnp.split(projected, 3, -1)[place] for place in self.order] for projected in (self.ih(x), self.hh(h))
        )
        r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        return (1 - z) * jnp.tanh(x_n + r * (h_n - self.unused * self.hh.bias[14:])) + z * h


class TorchWords(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = torch.nn.Embedding(9, 4, padding_idx=0), torch.nn.Linear(4, 2)

    def forward(self, ids):
        return self.out(self.words(ids))


class FlaxWords(nnx.Module):
    def __init__(self, rngs):
        self.words, self.out = nnx.Embed(9, 4, dtype=jnp.float64, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, ids):
        return self.out(self.words(ids))


def tower(norm=TorchTower):
    return Case(norm if norm is TorchTower else lambda: TorchTower(norm), FlaxTower, X)


TORCH_EPS = {"epsilon": 1e-5}
LAYERS = tower()
CELL = Case(TorchCell, FlaxCell, X, rules={r"^(ih|hh)\.(weight|bias)": r"cell.\2_\1"})
WORDS = Case(TorchWords, FlaxWords, np.array([[0, 3, 4], [1, 2, 0]]), rules={"embedding$": "weight"})
MODULES = {  # what differs: row of the catalogue, the pair, the port's options
    "epsilon of LayerNorm": ("D18", LAYERS, {}),
    "epsilon of RMSNorm": ("D19", tower(lambda: torch.nn.RMSNorm(6)), {"norm": nnx.RMSNorm}),
    "epsilon of an own RMSNorm": ("D19", tower(OwnRMSNorm), {"norm": nnx.RMSNorm, **TORCH_EPS}),
    "epsilon of GroupNorm": ("D23", tower(lambda: torch.nn.GroupNorm(2, 6)), {"norm": nnx.GroupNorm, "num_groups": 2}),
    "epsilon of BatchNorm": ("D23", tower(lambda: torch.nn.BatchNorm1d(6)), {"norm": nnx.BatchNorm, "epsilon": 1e-3}),
    "GELU in a module": ("D24", LAYERS, {**TORCH_EPS, "approximate": True}),
    "a kernel used transposed": ("D01", LAYERS, {**TORCH_EPS, "transposed": True}),
    "the order of gates": ("D03", CELL, {"order": (1, 0, 2)}),
    "a cyclic order of gates": ("D03", CELL, {"order": (2, 0, 1)}),
    "no hidden bias in the candidate": ("D04", CELL, {"hidden_bias": 0.0}),
    "the padding row": ("D33", WORDS, {}),
}


@pytest.mark.parametrize(("row", "case", "options"), MODULES.values(), ids=MODULES)
def test_a_default_of_a_module_is_named_with_both_ways_to_mend_it(row, case, options):
    found = explain(*case.pair(**options), case.inputs, rules=case.rules)
    assert found.divergence is not None, str(found)
    assert found.divergence.id == row, str(found)
    lines = str(found).splitlines()
    assert lines[-2:] == [
        f"  change the JAX side: {found.divergence.to_torch}",
        f"  or the torch side: {found.divergence.to_jax}",
    ]


def test_a_default_is_named_in_float32_too():
    case = tower()
    found = explain(*case.pair("float32"), case.inputs)
    assert found.divergence.id == "D18", str(found)


def test_a_loss_of_digits_is_named_by_the_size_of_the_gap():
    ours, theirs = LAYERS.pair(**TORCH_EPS)
    with torch.no_grad():
        ours.proj.bias += 5000.0
    theirs.proj.bias.set_value(theirs.proj.bias[...] + 5000.0)
    found = explain(ours, theirs, X)
    assert found.divergence.id == "D20", str(found)
    assert found.flipped.endswith("same size as the gap")


def permuted(layer, order):
    """Reorder the thirds of the layer's columns."""
    for variable in (layer.kernel, layer.bias):
        parts = jnp.split(variable[...], 3, -1)
        variable.set_value(jnp.concatenate([parts[place] for place in order], -1))


def test_a_layout_is_read_off_the_loaded_weights():
    ours, theirs = LAYERS.pair(**TORCH_EPS)
    theirs.proj.kernel.set_value(theirs.proj.kernel[...].T)
    found = explain(ours, theirs, X)
    assert (found.divergence.id, found.flipped) == ("D01", "the kernel is transposed (proj.weight)")
    ours, theirs = CELL.pair()
    for layer in (theirs.ih, theirs.hh):
        permuted(layer, (1, 0, 2))
    found = explain(ours, theirs, X, rules=CELL.rules)
    assert (found.divergence.id, found.flipped.partition(" (cell")[0]) == (
        "D03",
        "the gates are stacked in the order (1, 0, 2)",
    )


def test_keywords_of_the_torch_side_go_with_every_flip():
    found = explain(
        lambda x, scale: F.gelu(x * scale), lambda x: jax.nn.gelu(x * 2), X, torch_arguments={"scale": np.array(2.0)}
    )
    assert found.divergence.id == "D24", str(found)


# The report


def long_series(x):
    for power in range(9):
        x = x + x**3 / (power + x**2)
    return x


def test_a_gap_that_nothing_explains_says_so():
    found = explain(lambda x: torch.sin(x), long_series, X)
    first, begins, last = str(found).splitlines()
    assert first.startswith("function float64 eval cpu: DISAGREES in ")
    assert begins.startswith("  begins with torch's sin (test_explain.py:")
    assert last == f"  no known divergence explains it: {found.tried} flips tried"
    assert found.to_dict()["divergence"] is None


def test_two_gaps_at_once_are_both_named_and_the_first_says_what_it_leaves():
    found = explain(*LAYERS.pair(approximate=True), X)
    assert [each.divergence.id for each in (found, *found.more)] == ["D18", "D24"]
    assert "tensors still disagree" in found.evidence
    assert found.more[-1].evidence.endswith("and the gap is gone")


def test_a_search_ends_with_its_budget():
    tried = []
    found = explain(*LAYERS.pair(power=1.5), X, budget=0.0, told=lambda number, what: tried.append(what))
    assert (found.divergence, found.tried, tried) == (None, 0, [])
    found = explain(*LAYERS.pair(), X, told=lambda number, what: tried.append(what))
    assert len(tried) == found.tried > 0


def test_a_pair_that_agrees_has_nothing_to_explain():
    found = explain(*LAYERS.pair(**TORCH_EPS), X)
    assert str(found) == "TorchTower float64 eval cpu: agrees, there is nothing to explain"
    assert (found.divergence, found.tried) == (None, 0)


def test_a_recording_of_the_jax_side_is_explained():
    ours, theirs = LAYERS.pair()
    assert explain(ours, crosscheck.record(theirs, X), None).divergence.id == "D18"


def test_a_recording_of_the_torch_side_can_not_be_flipped():
    ours, theirs = LAYERS.pair()
    found = explain(crosscheck.record(ours, X), theirs, None)
    assert (found.report.agrees, found.divergence, found.tried) == (False, None, 0)


def test_an_explanation_is_strict_json_without_the_tensors():
    found = json.loads(json.dumps(explain(*LAYERS.pair(), X).to_dict(), allow_nan=False))
    assert (found["divergence"]["id"], found["flipped"]) == ("D18", "LayerNorm with eps 1e-06")
    assert {"to_torch", "to_jax", "source", "trigger"} <= found["divergence"].keys()
    assert "measure" not in found["divergence"]
    assert (found["report"]["agrees"], "rows" in found["report"]) == (False, False)
