"""What names a fault once the mistakes written for its row are withheld: other knowledge, a wrong row, or nothing."""

import pytest

from crosscheck.causes.hypotheses import hypotheses_of
from crosscheck.faults.planting import planted
from crosscheck.faults.table import FAULTS
from crosscheck.scoring.families import Named, named_without_family, summarise, without_families
from crosscheck.scoring.score import check_of


@pytest.mark.parametrize(("name", "named"), [("mean-without-weights/torch", None), ("gelu-by-tanh/torch", "D24")])
def test_a_fault_is_named_by_what_is_left(name, named):
    found = named_without_family(name)
    assert (found.divergence, found.named) == (FAULTS[name].divergence, named)
    assert found.is_very_edit == (named is None)


def test_no_mistake_of_a_row_that_is_kept_back_is_supposed():
    fault = FAULTS["mean-without-weights/torch"]
    with planted(fault.changes):
        report = check_of(fault).run()
        supposed = list(hypotheses_of(check_of(fault), report))
        left = list(hypotheses_of(check_of(fault), report, kept_back={"D31"}))
    assert left == [hypothesis for hypothesis in supposed if hypothesis.row != "D31"] != supposed


def test_only_faults_that_the_catalogue_knows_are_named():
    assert [fault["name"] for fault in without_families(["linear-bias-frozen/*", "mean-without-*/jax"])["faults"]] == [
        "mean-without-weights/jax"
    ]


def test_names_are_right_wrong_or_missing():
    found = summarise([Named("a", "D1", "D1", True), Named("b", "D1", "D2", False), Named("c", "D1", None, True)])
    assert [found[name] for name in ("known", "very_edits", "right", "wrong", "unnamed")] == [3, 2, 1, 1, 1]
    assert found["wrong_names"] == ["b: D1, named D2"]
