"""`locate` marks the module at fault in the tree of a user's pair, and clears modules that only pass the error on."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
import torch
from flax import nnx
from own_pairs import Case, normal

from crosscheck.judging.first_divergence import Found
from crosscheck.judging.isolation import Alone
from crosscheck.judging.rows import Divergence, Row
from crosscheck.locate import MARK, ModuleLine, _is_closer, _line, _lines, locate


class TorchBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.fc = torch.nn.LayerNorm(7), torch.nn.Linear(7, 7)

    def forward(self, x):
        return x + torch.tanh(self.fc(self.norm(x)))


class TorchNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = torch.nn.Linear(5, 7), torch.nn.Linear(7, 3)
        self.blocks = torch.nn.ModuleList(TorchBlock() for _ in range(3))

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class FrozenLinear(nnx.Linear):
    def __call__(self, x):
        return x @ jax.lax.stop_gradient(self.kernel[...]) + self.bias[...]


class FlaxBlock(nnx.Module):
    def __init__(self, rngs, eps=1e-5, linear=nnx.Linear, residual=lambda x: x):
        self.norm, self.fc = nnx.LayerNorm(7, epsilon=eps, rngs=rngs), linear(7, 7, rngs=rngs)
        self.residual = residual

    def __call__(self, x):
        return self.residual(x) + jnp.tanh(self.fc(self.norm(x)))


class FlaxNet(nnx.Module):
    """The same layers under different names, with a mistake in the second block."""

    def __init__(self, rngs, **mistake):
        self.stem, self.readout = nnx.Linear(5, 7, rngs=rngs), nnx.Linear(7, 3, rngs=rngs)
        self.layers = nnx.List([FlaxBlock(rngs, **(mistake if number == 1 else {})) for number in range(3)])

    def __call__(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.readout(x)


RULES = {r"^stem\.": "embed.", r"^layers\.": "blocks.", r"^readout\.": "head."}
NET = Case(TorchNet, FlaxNet, normal(11, 5), rules=RULES)
EPS = {"eps": 1e-3}
TREE = ["", "embed"] + [f"blocks.{n}{layer}" for n in range(3) for layer in ("", ".norm", ".fc")] + ["head"]
BACKWARD = {
    "a residual that stops the gradient": (
        {"residual": jax.lax.stop_gradient},
        ("TorchNet.blocks.1", "input gradient"),
    ),
    "a frozen kernel": ({"linear": FrozenLinear}, ("TorchNet.blocks.1.fc", "parameter gradient")),
}


def located(dtype="float64", **mistake):
    return locate(*NET.pair(dtype, **mistake), NET.inputs, rules=RULES)


def marked(location):
    """The module at the start of each marked line of the text."""
    return [line.split()[0] for line in str(location).splitlines() if line.endswith(MARK)]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_fault_deep_inside_is_marked_and_nothing_else(dtype):
    location = located(dtype, **EPS)
    assert location.first_divergence[:2] == ("TorchNet.blocks.1.norm", "forward")
    assert marked(location) == ["norm"]
    assert [line["path"] for line in location.to_dict()["modules"] if line["guilty"]] == ["blocks.1.norm"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_modules_that_only_pass_the_error_on_agree_by_themselves(dtype):
    lines = {line.path: line for line in located(dtype, **EPS).modules}
    assert not any(line.in_the_whole.agrees for line in lines.values())
    assert lines.pop("").by_itself is None
    assert [path for path, line in lines.items() if not line.by_itself.agrees] == ["blocks.1", "blocks.1.norm"]


def test_the_tree_stands_in_the_order_of_the_calls_with_parents_first():
    location = located(**EPS)
    assert [line.path for line in location.modules] == TREE
    shown = [line.partition(" full run ")[0].rstrip() for line in str(location).splitlines()[1 : 1 + len(TREE)]]
    blocks = (f"    blocks.{number}\n      norm\n      fc" for number in range(3))
    assert "\n".join(shown) == "\n".join(["  (root)", "    embed", *blocks, "    head"])


@pytest.mark.parametrize(("mistake", "place"), BACKWARD.values(), ids=BACKWARD)
def test_a_fault_of_the_backward_pass_alone_is_located(mistake, place):
    location = located(**mistake)
    assert location.first_divergence[:2] == place
    assert marked(location) == [place[0].removeprefix("TorchNet.").removeprefix("blocks.1.")]


def test_a_pair_that_agrees_has_no_module_at_fault():
    location = located()
    assert (location.first_divergence, location.first_row) == (None, None)
    assert str(location).startswith("TorchNet float64 eval cpu: agrees in all ")
    found = location.to_dict()
    assert (found["first_divergence"], found["step"]) == (None, None)
    assert not any(line["guilty"] for line in found["modules"])


def test_a_location_is_strict_json_where_one_side_is_not_a_number():
    found = located(residual=lambda x: x / 0).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(found))
    guilty = next(line for line in found["modules"] if line["guilty"])
    assert (guilty["path"], guilty["by_itself"]["error"]) == ("blocks.1", "inf")


def row(kind="output", tensor="", module="", error=1.0, bound=1e-3):
    return Row(tensor, kind, module, (1,), (1,), error, bound, (0,), 0.0, error)


FIRST = "net.blocks.1", "forward"
CLOSER = {  # where a module is wrong by itself, where the full run first diverges, and in which tensor
    "the same module": ("blocks.1", "forward", FIRST, row()),
    "a module below": ("blocks.1.norm", "forward", FIRST, row()),
    "any module": ("norm", "forward", ("net", "forward"), row()),
    "another gradient": ("blocks.1", "parameter gradient", ("net.blocks.1", "input gradient"), row()),
    "its own output": ("blocks.1", "forward", FIRST, row("intermediate", "blocks.1 out[0]")),
    "a mask that is given": ("blocks.1", "forward", FIRST, row("intermediate", "blocks.1 in[1]", bound=0.0)),
    "nothing diverges": ("norm", "forward", None, row()),
    "no row": ("norm", "forward", FIRST, None),
}
NOT_CLOSER = {
    "a module beside": ("norm", "forward", FIRST, row()),
    "a module of a longer number": ("blocks.11", "forward", FIRST, row()),
    "another pass": ("blocks.1", "input gradient", FIRST, row()),
    "an input that is given": ("blocks.1", "forward", FIRST, row("intermediate", "blocks.1 in[0]")),
    "a gradient that is given": (
        *("blocks.1", "input gradient", ("net.blocks.1", "input gradient")),
        row("intermediate gradient", "blocks.1 out[0]"),
    ),
}


@pytest.mark.parametrize("name", CLOSER | NOT_CLOSER)
def test_a_module_is_at_fault_where_the_full_run_first_diverges_unless_its_caller_gave_what_differs(name):
    module, phase, first, shown = (CLOSER | NOT_CLOSER)[name]
    report = SimpleNamespace(name="net", first_divergence=first and Divergence(*first, ""), first_row=shown)
    assert _is_closer(Found(module, phase, row()), report) == (name in CLOSER)


def test_the_tree_has_the_worst_row_of_each_module_and_why_one_can_not_run_alone():
    rows = [row(module="norm", error=error, bound=bound) for error, bound in ((3.0, 1.0), (2.0, 0.5), (1.0, 1.0))]
    rows += [row("input", module="norm", error=9.0), row("update", module="optimizer")]
    calls = {name: SimpleNamespace(path=name) for name in ("late", "norm", "unseen")}
    recordings = [SimpleNamespace(values=SimpleNamespace(calls=calls))]
    alone = {"norm": [Alone(rows[2], None), Alone(rows[1], None)], "late": [Alone(None, None, "it ran twice")]}
    report = SimpleNamespace(rows=rows, recordings=recordings)
    late, norm = (ModuleLine("late", None, None, "it ran twice"), ModuleLine("norm", rows[1], rows[1]))
    assert _lines(report, alone) == [ModuleLine("", None, None), late, norm]
    assert _lines(SimpleNamespace(rows=rows, recordings=None), {}) == [
        ModuleLine("", None, None), ModuleLine("norm", rows[1], None),
    ]  # fmt: skip


def test_a_line_of_the_tree_says_why_a_module_can_not_run_alone_where_it_can_not():
    paths, reason = ["", "blocks.1", "blocks.1.norm"], "it ran twice"
    lines = [ModuleLine("", None, None), ModuleLine(paths[1], None, None, reason)]
    lines += [ModuleLine(paths[2], row(), row(error=0.0), reason)]
    said = [_line(line, paths, False) for line in lines]
    assert said == [line.rstrip() for line in said]
    assert [" ".join(line.split()) for line in said] == [
        "(root) full run - isolated -",
        "blocks.1 full run - isolated - (it ran twice)",
        "norm full run 1.0e+00 DISAGREES isolated 0.0e+00 agrees",
    ]
