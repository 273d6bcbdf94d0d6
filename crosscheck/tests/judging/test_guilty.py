"""What reports list: the modules at fault with those first that matter most, and the numbers of their tensors."""

from types import SimpleNamespace

import numpy as np

from crosscheck.judging import guilty
from crosscheck.judging.rows import Divergence, Statistics
from crosscheck.locate import Location
from crosscheck.report import Report

ADDS = {"norm": 1e-3, "attention": 0.5, "dead": None, "cast": 2.0}


def test_those_that_add_most_to_the_outputs_stand_first_and_casts_last(monkeypatch):
    monkeypatch.setattr(guilty, "wrong_alone", lambda *_: dict.fromkeys(ADDS, SimpleNamespace(phase="forward")))
    monkeypatch.setattr(guilty, "_adds", lambda path, *_: ADDS[path])
    monkeypatch.setattr(guilty, "_worst", lambda path: SimpleNamespace(error=1.0))
    monkeypatch.setattr(guilty, "is_rounding", lambda path: path == "cast")
    found = guilty.guilty_of({path: path for path in ADDS}, [], None, None)
    assert [each.path for each in found] == ["attention", "norm", "dead", "cast"]


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
