"""What reports list: the modules at fault with those first that matter most, and the numbers of their tensors."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from crosscheck.judging import guilty
from crosscheck.judging.rows import Divergence, Row, Statistics
from crosscheck.locate import Location
from crosscheck.recording import record, torch_side
from crosscheck.report import Report

ADDS = {"norm": 1e-3, "attention": 0.5, "dead": None, "cast": 2.0}


def test_those_that_add_most_to_the_outputs_stand_first_and_casts_last(monkeypatch):
    monkeypatch.setattr(guilty, "wrong_alone", lambda *_: dict.fromkeys(ADDS, SimpleNamespace(phase="forward")))
    monkeypatch.setattr(guilty, "_adds", lambda path, *_: ADDS[path])
    monkeypatch.setattr(guilty, "_worst", lambda path: SimpleNamespace(error=1.0))
    monkeypatch.setattr(guilty, "is_rounding", lambda path: path == "cast")
    found = guilty.guilty_of({path: path for path in ADDS}, [], None, None)
    assert [each.path for each in found] == ["attention", "norm", "dead", "cast"]
    assert [str(each) for each in found[1:3]] == [
        "norm (forward): 1.0e+00 by itself, adds 1.0e-03 to the outputs",
        "dead (forward): 1.0e+00 by itself",
    ]


OUTPUTS = {"": [3.0, 4.0], "zeros": [0.0, 0.0]}
MOVED = [(OUTPUTS, None), ({"": [3.0, 14.0], "zeros": [0.0, 0.0]}, 2.0), ({"zeros": [0.0, 3.0]}, 3.0), ({}, None)]


@pytest.mark.parametrize(("moved", "added"), MOVED)
def test_what_a_module_adds_is_how_far_the_outputs_move_with_what_it_returns(monkeypatch, moved, added):
    def with_replaced(module, arguments, options, replaced):
        assert (module, arguments, options.dtype) == ("module", "arguments in float64", "float64")
        assert replaced == {"net.norm": [1.0]}
        return {name: np.array(array) for name, array in moved.items()}

    def call(found=True, **outputs):
        return SimpleNamespace(found=found, outputs={name: np.array(array) for name, array in outputs.items()})

    monkeypatch.setattr(torch_side, "outputs_with", with_replaced)
    monkeypatch.setattr(record, "rounded", lambda arguments, dtype: f"{arguments} in {dtype}")
    calls = [call(**{"net.norm": [1.0], "net.fc": [1.0], "unknown": [1.0]}), call(found=None, **{"net.act": [1.0]})]
    side = SimpleNamespace(module="module", with_own=lambda arguments: arguments)
    comparison = SimpleNamespace(ours=side, arguments="arguments", options=SimpleNamespace(dtype="float64"))
    taps = {"net.norm": np.zeros(1), "net.fc": np.zeros(2), "net.act": np.zeros(1)}
    values = SimpleNamespace(intermediates=taps, outputs={name: np.array(OUTPUTS[name]) for name in moved})
    assert guilty._adds(calls, comparison, SimpleNamespace(values=values)) == added


def test_the_worst_call_is_that_with_the_largest_error_of_those_where_a_fault_was_found():
    errors = [(1.0, True), (3.0, True), (2.0, True), (4.0, None)]
    calls = [SimpleNamespace(worst=SimpleNamespace(error=error), found=found) for error, found in errors]
    assert guilty._worst([SimpleNamespace(worst=None, found=None), *calls]).error == 3.0


def test_casts_to_float32_are_listed_apart_from_mistakes():
    row = SimpleNamespace(error=1.0)
    mistake, cast = (guilty.Guilty(name, "forward", row, None, name == "cast") for name in ("norm", "cast"))
    first = Divergence("net.norm", "forward", "weight")
    said = str(Location(SimpleNamespace(title="net"), first, None, [], guilty=[mistake, cast])).split("\n")
    assert said[1:] == ["guilty by themselves:", f"  {mistake}", "casts to float32 inside, no more:", f"  {cast}"]


def test_statistics_are_those_of_finite_entries():
    assert Statistics.of(np.array([1.0, np.inf, 4.0, np.nan, 7.0])) == (4.0, np.sqrt(6.0), 1.0, 7.0, 2)


def test_the_sensitivities_are_those_of_what_counts_and_is_no_zero():
    counted = [("output", 1.0, 3.0), ("parameter gradient", 1.0, 2.0), ("output", 0.0, 5.0), ("output", 1.0, np.inf)]
    inside = [("intermediate", 1.0, 4.0), ("intermediate gradient", 1.0, 6.0)]
    rows = [SimpleNamespace(kind=kind, bound=bound, sensitivity=seen) for kind, bound, seen in counted + inside]
    assert Report.sensitivities.fget(SimpleNamespace(rows=rows)) == [2.0, 3.0]


def test_the_smallest_error_that_is_seen_in_all_tensors_or_anywhere_in_a_module_is_that_of_the_worst():
    made = Row("", "output", "", (), (), error=0.0, bound=1.0, worst_index=(), torch_value=0.0, jax_value=0.0)
    rows = [replace(made, error=1.0 / seen, sensitivity=seen) for seen in (2.0, 8.0, 1.0)]
    report = Report("net", "float32", "eval", "cpu", rows)
    assert "smallest relative error seen: 2.0e+00 in half of the tensors, 8.0e+00 in all" in str(report)
    assert report.modules().splitlines()[1].split() == ["(root)", "1.0e+00", "8.0e+00"]
