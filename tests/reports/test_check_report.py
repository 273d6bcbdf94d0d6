"""The output of a check: the data follow their documented schema, and the page is next to them."""

import json
from dataclasses import replace

import pytest
from json_schema import breaches, undescribed
from places import ROOT

from crosscheck.faults.planting import planted
from crosscheck.faults.table import FAULTS
from crosscheck.judging.rows import KIND, Row
from crosscheck.pages.overview import lines_of
from crosscheck.report import Report
from crosscheck.twins.suite import Check
from experiments.reports.check_report import BOUNDS, _cells, collect, tightness, write_check

SCHEMA = json.loads((ROOT / "crosscheck" / "report_schema.json").read_text(encoding="utf-8"))
CHECK = SCHEMA["$defs"]["check"]
FAULT = FAULTS["gelu-by-sigmoid/jax"]
NAN, INF = float("nan"), float("inf")
ODD = Row("output", "output", "", (2,), (3,), NAN, 0.0, (), INF, -INF)
BY_HAND = Report("Pair", "float32", "eval", "cpu", [ODD])


@pytest.fixture(scope="module")
def reports():
    """Real comparisons, one of them with a planted fault, and a handmade one with non-finite numbers."""
    found = [Check(twin, "odd_sizes", "float64", "eval", "cpu").run() for twin in ("MLP", "masked_softmax")]
    with planted(FAULT.changes):
        found.append(Check(FAULT.twin, "odd_sizes", "float64", "eval", "cpu").run())
    return [*found, BY_HAND]


def test_every_report_follows_the_schema(reports):
    assert [line for report in reports for line in breaches(json.loads(report.to_json()), SCHEMA, SCHEMA)] == []


def test_the_output_of_a_check_follows_the_schema_and_the_page_is_next_to_it(reports, tmp_path):
    page = write_check(reports, tmp_path / "out", "isograd check MLP")
    written = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert breaches(written, CHECK, SCHEMA) == []
    assert (written["agrees"], written["comparisons"], written["disagreements"]) == (False, 4, 2)
    text = page.read_text(encoding="utf-8")
    assert "isograd check MLP" in text
    assert all(str(report).splitlines()[0] in text for report in reports if not report.agrees)


def test_an_empty_check_follows_the_schema():
    assert breaches(collect([]), CHECK, SCHEMA) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"agrees": "yes"}, "report.agrees: expected boolean, got 'yes'"),
        ({"agrees": 1}, "report.agrees: expected boolean, got 1"),
        ({"seconds": True}, "report.seconds: expected number, got True"),
        ({"extra": 1}, "report: extra is unknown"),
        ({"versions": {"torch": 2}}, "report.versions.torch: expected string, got 2"),
        ({"first_divergence": {"module": "a"}}, "report.first_divergence: expected null, got {'module': 'a'}"),
        ({"rows": [{}]}, "report.rows[0]: tensor is missing"),
    ],
    ids=str,
)
def test_the_schema_refuses(change, sentence):
    assert sentence in breaches(BY_HAND.to_dict() | change, SCHEMA, SCHEMA)


def test_the_schema_knows_every_kind_and_phase():
    assert SCHEMA["$defs"]["row"]["properties"]["kind"]["enum"] == list(KIND)
    assert set(SCHEMA["$defs"]["phase"]["enum"]) == {kind.phase for kind in KIND.values()}


def test_every_field_is_described():
    assert list(undescribed(SCHEMA)) == []


def test_a_line_of_the_table_has_its_worst_row_and_the_largest_error_that_may_pass_unseen():
    errors = {0.25: 0.5, 0.375: 0.125, 0.125: 0.25}  # -> the smallest error that is seen
    rows = [Row("a", "output", "", (2,), (2,), each, 0.5, (), 1.0, 1.0, (), seen) for each, seen in errors.items()]
    (line,) = lines_of([Report("Pair", "float32", "eval", "cpu", [row]) for row in rows])
    assert _cells(line) == ("Pair", "float32", "3", "3.8e-01", "5.0e-01", "5.0e-01", "agree")


def test_a_check_below_float64_says_how_far_bounds_are_above_errors(tmp_path):
    rows = [Row("a", "output", "", (2,), (2,), error, 0.5, (), 1.0, 1.0) for error in (0.25, 0.125, 0.0)]
    rows += [Row("a", "intermediate", "", (2,), (2,), 0.5, 0.5, (), 1.0, 1.0)]
    rows += [replace(rows[0], **decided) for decided in ({"decided_in": "float64"}, {"undecided": True})]
    both = [Report("Pair", dtype, "eval", "cpu", rows) for dtype in ("bfloat16", "float64")]
    assert tightness(both) == ["bounds in bfloat16: 3.0 times the error at the median of 2 tensors"]
    write_check(both, tmp_path / "out", "isograd check Pair")
    assert "| bfloat16 | 2 | 1.5 | 3.0 | 4.5 |" in (tmp_path / "out" / BOUNDS).read_text()
    write_check(both[1:], tmp_path / "proof")
    assert not (tmp_path / "proof" / BOUNDS).exists()
