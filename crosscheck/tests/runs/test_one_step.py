"""How one step that both sides make from one state is judged: by proof in float64, below it by its own noise."""

import numpy as np
import pytest

from crosscheck.criterion import PROOF
from crosscheck.runs.lockstep import Step
from crosscheck.runs.one_step import Judged, Start, by_group
from crosscheck.runs.one_step import prove as judged

ONES = np.ones(4)
START = Start({}, {}, 0.0)
NOT_FINITE = [np.nan, np.inf, -np.inf]


def step_of(ours, theirs):
    return Step(1, 0.5, judged(START, ours, theirs), 0.0, {}, {})


@pytest.mark.parametrize("quantity", ["loss", "accuracy", "gradient_norm", "gradients", "exp_avg", "evaluation"])
def test_every_quantity_is_judged_and_the_next_number_beyond_the_bound_fails(quantity):
    ours = {"loss": {"loss": ONES}, quantity: {"a": ONES}}
    at, over = (({**ours, quantity: {"a": ONES * (1 + size * PROOF)}}) for size in (0.9, 1.1))
    assert step_of(ours, at).beyond is None
    assert step_of(ours, over).beyond == (quantity, "a")


def test_the_first_quantity_beyond_its_bound_is_named_with_its_worst_tensor():
    ours = {"loss": {"loss": ONES}, "gradients": {"a": ONES, "b": ONES}, "weights": {"a": ONES}}
    theirs = {"loss": {"loss": ONES}, "gradients": {"a": 2 * ONES, "b": 3 * ONES}, "weights": {"a": 9 * ONES}}
    assert step_of(ours, theirs).beyond == ("gradients", "b")


def test_errors_are_relative_to_the_largest_tensor_of_the_quantity():
    found = judged(START, {"gradients": {"a": ONES, "b": 4 * ONES}}, {"gradients": {"a": 3 * ONES, "b": 4 * ONES}})
    assert found["gradients"] == Judged("a", 0.5, PROOF)


def test_losses_of_an_evaluation_are_not_measured_by_the_size_of_the_predicted_classes():
    ours, theirs = ({"evaluation": {"losses": size * ONES, "predictions": 99 * ONES}} for size in (1, 1 + 2 * PROOF))
    assert step_of(ours, theirs).beyond == ("evaluation", "losses")


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_number_that_is_not_finite_on_one_side_is_beyond_every_bound(value):
    broken = {"weights": {"a": 9 * ONES, "b": np.array([1, value, 1, 1])}}
    fine = {"weights": {"a": ONES, "b": ONES}}
    assert judged(START, fine, broken)["weights"].tensor == judged(START, broken, fine)["weights"].tensor == "b"
    assert not judged(START, fine, broken)["weights"].agrees


def test_nan_on_both_sides_is_beyond_every_bound():
    nan = {"loss": {"loss": np.array(np.nan)}}
    assert step_of(nan, nan).beyond == ("loss", "loss")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"a": ONES}, {"a": ONES, "b": 0 * ONES}),
        ({"a": ONES, "b": 0 * ONES}, {"a": ONES}),
        ({"a": ONES, "b": ONES[:1]}, {"a": ONES, "b": ONES}),
    ],
    ids=["only theirs", "only ours", "another shape"],
)
def test_a_tensor_without_its_like_on_the_other_side_is_beyond_every_bound(ours, theirs):
    assert step_of({"weights": ours}, {"weights": theirs}).beyond == ("weights", "b")


def test_a_quantity_that_only_one_side_has_is_beyond_every_bound():
    ours, more = {"loss": {"loss": ONES}}, {"loss": {"loss": ONES}, "accuracy": {"accuracy": ONES}}
    assert step_of(ours, more).beyond == step_of(more, ours).beyond == ("accuracy", "accuracy")


def test_groups_come_in_the_order_of_an_update_and_counts_have_none():
    names = ["step", "weights/a", "average/a", "exp_avg/a", "exp_avg/b", "exp_avg_sq/a"]
    found = by_group(dict.fromkeys(names, ONES))
    assert list(found) == ["exp_avg", "exp_avg_sq", "weights", "average"]
    assert list(found["exp_avg"]) == ["a", "b"]
