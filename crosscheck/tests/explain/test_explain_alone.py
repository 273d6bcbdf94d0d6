"""The cause in a large module is searched for in the located module alone, and tried in the whole."""

import sys
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
import torch
import torch.nn.functional as F
from flax import nnx

from crosscheck.causes import alone
from crosscheck.causes.explanation import Explanation
from crosscheck.criterion import DRAWS, MORE_DRAWS
from crosscheck.explain import explain
from crosscheck.pairing.copy_weights import copy_weights
from crosscheck.recording.recording import Recording

IDS = torch.arange(10).reshape(2, 5)


@dataclass(frozen=True)
class Unflipped:
    """A flip that changes nothing of a recording."""

    recording: Recording
    before: tuple = ()
    where: tuple = ()
    flip: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(layers=None))

    def forward(self):
        return self.recording


class TorchBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = torch.nn.LayerNorm(6), torch.nn.Linear(6, 8), torch.nn.Linear(8, 6)

    def forward(self, x):
        return x + self.down(F.gelu(self.up(self.norm(x))))


class TorchStack(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(11, 6)
        self.blocks = torch.nn.ModuleList(TorchBlock() for _ in range(2))
        self.norm = torch.nn.LayerNorm(6)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class FlaxBlock(nnx.Module):
    def __init__(self, epsilon, activation, rngs):
        self.norm = nnx.LayerNorm(6, epsilon=epsilon, rngs=rngs)
        self.up, self.down = nnx.Linear(6, 8, rngs=rngs), nnx.Linear(8, 6, rngs=rngs)
        self.activation = activation

    def __call__(self, x):
        return x + self.down(self.activation(self.up(self.norm(x))))


class FlaxStack(nnx.Module):
    def __init__(self, rngs, epsilon=1e-5, activation=lambda x: jax.nn.gelu(x, approximate=False)):
        self.embed = nnx.Embed(11, 6, dtype=jnp.float64, param_dtype=jnp.float64, rngs=rngs)
        self.blocks = nnx.List([FlaxBlock(epsilon, activation, rngs) for _ in range(2)])
        self.norm = nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs)

    def __call__(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@pytest.fixture(autouse=True)
def small_counts_as_large(monkeypatch):
    for module in (alone, sys.modules["crosscheck.compare"], sys.modules["crosscheck.explain"]):
        monkeypatch.setattr(module, "LARGE", 1)


def explained(**wrong):
    torch.manual_seed(0)
    ours = TorchStack().double()
    with jax.enable_x64(True):
        theirs = copy_weights(ours, FlaxStack(nnx.Rngs(0), **wrong))
        return explain(ours, theirs, IDS, budget=600)


def test_two_causes_in_layers_are_named_and_the_layer_that_agrees_is_spared():
    found = explained(epsilon=1e-3, activation=jax.nn.gelu)
    assert [each.divergence.id for each in (found, *found.more)] == ["D18", "D24"]
    assert "in TorchStack.blocks.0.norm alone the gap is gone" in found.left
    assert "in TorchStack.blocks.0 alone the gap is gone" in found.more[0].left
    assert "wherever it can be but in norm, the outputs' error falls" in found.more[0].left
    assert "which is noise" in found.more[0].left
    assert {row.phase for row in found.report.rows} == {"inputs", "parameters", "forward"}


def test_a_mistake_without_a_name_is_said_of_the_module_alone():
    found = explained(activation=lambda x: x * jnp.tanh(jnp.cbrt(jnp.abs(x))) ** 3)
    assert found.report.first_divergence.module == "TorchStack.blocks.0"
    assert "in TorchStack.blocks.0 alone" in f"{found.noted} {found.left}"


def test_a_module_is_searched_in_the_whole_where_its_own_code_is_wrong():
    torch.manual_seed(0)
    ours = TorchBlock().double()
    with jax.enable_x64(True):
        theirs = copy_weights(ours, FlaxBlock(1e-5, jax.nn.gelu, nnx.Rngs(0)))
        found = explain(ours, theirs, torch.randn(3, 6, dtype=torch.float64), budget=600)
    assert found.divergence.id == "D24"
    assert "alone" not in found.left


@pytest.mark.exhaustive
def test_a_large_pair_that_agrees_forward_is_compared_backward():
    found = explained(activation=lambda x: jax.nn.gelu(jax.lax.stop_gradient(x), approximate=False))
    assert found.report.first_divergence.phase.endswith("gradient")
    assert found.divergence.id == "D93"


@pytest.mark.parametrize(("is_noise", "words"), [(True, ", which is noise"), (False, "")])
def test_what_is_left_is_called_noise_where_every_output_agrees(is_noise, words):
    def report(error, *agrees):
        return SimpleNamespace(rows=[SimpleNamespace(kind="output", error=error, agrees=each) for each in agrees])

    said = alone._in_outputs(report(1e-2, False), report(1e-6, True, is_noise), [])
    assert said == f"made wherever it can be, the outputs' error falls from 1.0e-02 to 1.0e-06{words}"


def one_by_one(monkeypatch, found):
    """The explanation where each module's search finds the next of these and leaves a gap elsewhere, and what is told
    of the budget."""
    parts, told = (("part", SimpleNamespace(name=f"M.{number}")) for number in range(99)), []
    gaps = (SimpleNamespace(rows=[], first_divergence=number) for number in range(99))
    budget = SimpleNamespace(tried=7, is_spent=False, leave_half=lambda: told.append("half"))
    monkeypatch.setattr(alone, "_first_alone", lambda whole, before: next(parts))
    monkeypatch.setattr(alone, "_after", lambda *_: told.append("after") or (next(gaps), ()))
    each, whole = iter(found), next(gaps)
    return alone.searched_alone("whole", whole, budget, lambda part, report, budget: next(each)), whole, told


def cause(name, **known):
    return Explanation("part's", name, causes=(SimpleNamespace(flip=name),), **known)


def test_causes_are_sought_in_one_module_after_another_and_are_not_too_many(monkeypatch):
    found, whole, told = one_by_one(monkeypatch, (cause(name) for name in range(99)))
    assert [each.divergence for each in (found, *found.more)] == list(range(alone.MOST_CAUSES))
    assert [each.left for each in (found, *found.more)] == [
        f"in M.{number} alone the gap is gone" for number in range(alone.MOST_CAUSES)
    ]
    assert [(each.report, each.more) for each in found.more] == [(whole, ())] * (alone.MOST_CAUSES - 1)
    assert told == ["half", *["after"] * alone.MOST_CAUSES]


def test_several_causes_of_one_module_stand_beside_those_of_others(monkeypatch):
    both = cause("b", more=(Explanation("part's", "c", left="less"),))
    both = replace(both, causes=(*both.causes, SimpleNamespace(flip="c")))
    found, *_ = one_by_one(monkeypatch, [cause("a"), both, Explanation("part's", None)])
    assert [each.divergence for each in (found, *found.more)] == ["a", "b", "c"]
    assert [each.more for each in found.more] == [(), ()]
    assert found.more[1].left == "in M.1 alone less"


@pytest.mark.parametrize(("noted", "words"), [("", "nothing found in 7 attempts"), ("a reason", "a reason")])
def test_it_is_said_that_nothing_was_found_in_the_first_module(noted, words, monkeypatch):
    found, whole, told = one_by_one(monkeypatch, [Explanation("part's", None, noted=noted)])
    assert (found.noted, found.report, told) == (f"in M.0 alone: {words}", whole, ["half"])


def test_the_whole_is_not_run_again_without_a_flip(monkeypatch):
    _, _, told = one_by_one(monkeypatch, [replace(cause("a"), causes=())])
    assert told == ["half"]


def test_no_module_is_sought_alone_of_small_sides_or_if_it_agrees(monkeypatch):
    monkeypatch.setattr(alone, "LARGE", 5)
    for agrees, size, is_sought in ((False, 5, True), (False, 4, False), (True, 5, False)):
        part = "part", SimpleNamespace(agrees=agrees)
        monkeypatch.setattr(alone, "_alone", lambda whole, report, part=part: part)
        found = alone._first_alone(SimpleNamespace(ours=SimpleNamespace(size=size)), "report")
        assert found == (part if is_sought else None)


@pytest.mark.parametrize(
    ("paths", "expected"), [("aba", ("a", "b")), ("abcdef", ("a", "b", "c")), ("ax", ("a",)), ("ae", ("a",))]
)
def test_modules_that_agree_alone_are_spared_once_each_and_a_few(paths, expected, monkeypatch):
    """Module x can't run alone, and e differs there."""
    left, tried = iter(paths), []
    monkeypatch.setattr(alone, "_forward", lambda flips, whole, report, spared: next(left))
    monkeypatch.setattr(alone, "_path", str)
    agreeing = {each: ("part", SimpleNamespace(agrees=each != "e")) for each in paths if each != "x"}
    monkeypatch.setattr(alone, "_alone", lambda whole, path: tried.append(path) or agreeing.get(path))
    assert alone._after([], "whole", "report") == (paths[len(expected)], expected)
    assert tried == list(dict.fromkeys(paths))[: min(len(expected) + 1, alone.MOST_SPARED)]


@pytest.fixture(scope="module")
def located():
    """A large pair whose layers' norms differ, and its report."""
    kept = []
    with pytest.MonkeyPatch.context() as patch:
        for module in (alone, sys.modules["crosscheck.compare"], sys.modules["crosscheck.explain"]):
            patch.setattr(module, "LARGE", 1)
        explain_module = sys.modules["crosscheck.explain"]
        patch.setattr(explain_module, "searched_alone", lambda whole, report, *_: kept.append((whole, report)))
        patch.setattr(explain_module, "_searched", lambda whole, report, budget: Explanation(report, None))
        explained(epsilon=1e-3)
    return kept[0]


def test_a_module_is_compared_alone_without_updates_at_the_call_that_differs(located, monkeypatch):
    whole, report = located
    given, part_of = [], alone.part_of
    monkeypatch.setattr(alone, "part_of", lambda *parts: given.append(parts) or part_of(*parts))
    asked = replace(whole, options=replace(whole.options, updates=2, noise_runs=MORE_DRAWS))
    part, found = alone._alone(asked, report)
    ((call, path, quick, *_),) = given
    assert (path, quick.options.updates) == ("blocks.0.norm", 0)
    assert part.options.noise_runs == DRAWS != MORE_DRAWS
    assert found.name == report.first_divergence.module
    ours, theirs = report.recordings
    again = {**ours.values.calls, f"{call}#2": ours.values.calls[call]}
    row = replace(report.first_row, tensor=report.first_row.tensor.replace(call, f"{call}#2"))
    ours = replace(ours, values=replace(ours.values, calls=again))
    alone._alone(whole, replace(report, first_row=row, recordings=(ours, theirs)))
    assert given[1][:2] == (f"{call}#2", path)


def test_rows_of_another_run_have_the_bounds_of_the_report(located):
    _, report = located
    rows = [replace(row, bound=row.bound + number) for number, row in enumerate(report.rows)]
    found = alone._by_bounds_of(replace(report, rows=rows[1:]), report.rows)
    assert found == [report.rows[0], *rows[1:]]


@pytest.mark.parametrize(("layers", "named"), [(None, ["", "blocks", "blocks.1"]), (("LayerNorm",), ["blocks.1.norm"])])
def test_a_flip_is_made_everywhere_but_in_what_is_spared(layers, named):
    module, spared = TorchStack(), ["embed", "norm", "blocks.0.norm"]
    places = [name.removeprefix(alone.OWN) for name, _ in alone._but_in(module, spared, SimpleNamespace(layers=layers))]
    assert set(named) <= set(places)
    assert not set(places) & {*spared, *([] if layers is None else ["", "blocks", "blocks.1"])}
    assert alone._but_in(module, [], SimpleNamespace(layers=layers)) == ()


def test_what_is_settled_does_not_locate_what_a_flip_leaves(located, monkeypatch):
    whole, report = located
    monkeypatch.setattr(alone, "flipped_by", lambda *_: [Unflipped(report.recordings[0])])
    flip = SimpleNamespace(holds_numbers=False)
    assert alone._forward([flip], whole, report, []).first_divergence == report.first_divergence
    monkeypatch.setattr(alone, "decisive", lambda rows, calls: [])
    assert alone._forward([flip], whole, report, []).first_divergence is None


def test_nothing_is_said_of_outputs_that_are_as_wrong_as_before():
    same, none = (SimpleNamespace(rows=rows) for rows in ([SimpleNamespace(kind="output", error=1e-2)], []))
    assert alone._in_outputs(same, same, []) == alone._in_outputs(none, none, []) == ""
