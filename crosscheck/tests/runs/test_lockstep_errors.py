"""How the drift of two runs is measured: the error of each group of tensors, and the project's promise for it."""

from types import SimpleNamespace

import numpy as np
import pytest
from bounds import roundings_of_a_whole_run

from crosscheck.runs import lockstep as module
from crosscheck.runs.lockstep import BOUNDS, group_error

ONES = np.ones(4, np.float32)  # norm 2
NOT_FINITE = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("dtype", BOUNDS)
def test_the_bound_of_a_run_is_the_number_of_roundings_that_is_promised(dtype):
    assert BOUNDS[dtype] <= roundings_of_a_whole_run(dtype) < BOUNDS[dtype] + BOUNDS[dtype]


def test_the_error_of_a_group_is_that_of_all_its_tensors_and_the_worst_is_named():
    ours = {"a": ONES, "b": 2 * ONES, "c": 0 * ONES}
    theirs = {"a": 1.75 * ONES, "b": 3 * ONES, "c": 0 * ONES}  # 1.5 and 2 off, together 2.5
    error, worst = group_error(ours, theirs)
    assert (error, worst) == (2.5 / 20**0.5, "b")
    assert group_error(ours, ours)[0] == 0.0


@pytest.mark.parametrize("swapped", [False, True])
def test_zeros_agree_with_zeros_and_with_nothing_else(swapped):
    zeros, others = {"a": 0 * ONES, "b": 0 * ONES}, {"a": 0 * ONES, "b": ONES}
    pair = (others, zeros) if swapped else (zeros, others)
    assert group_error(zeros, zeros)[0] == 0.0
    assert group_error(*pair) == (1.0 if swapped else 2.0, "b")


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_number_that_is_not_finite_on_one_side_is_beyond_every_bound_and_its_tensor_is_named(value):
    fine, broken = {"a": ONES, "b": ONES}, {"a": 9 * ONES, "b": np.array([1, value, 1, 1], np.float32)}
    assert group_error(fine, broken) == group_error(broken, fine) == (np.inf, "b")


def test_a_tensor_that_only_one_side_holds_is_beyond_every_bound_and_is_named():
    some, more = {"a": ONES}, {"a": ONES, "b": 0 * ONES}
    assert group_error(some, more) == group_error(more, some) == (np.inf, "b")


def test_nan_on_both_sides_is_beyond_every_bound():
    nan = {"a": np.array([1, np.nan])}
    assert group_error(nan, nan) == (np.inf, "a")


@pytest.mark.parametrize("value", [*NOT_FINITE, 1.5])
def test_losses_are_as_far_apart_as_their_difference_and_infinitely_if_one_is_not_finite(value):
    tensors = {"w": ONES}
    losses = [{module.LOSS: {module.LOSS: np.asarray(loss)}, "gradients": tensors} for loss in (1.0, value)]
    drifts = [module._drift(*(module.Made(each, {}, None) for each in pair))[0] for pair in (losses, losses[::-1])]
    assert drifts == [0.5 if value == 1.5 else np.inf] * 2


def test_the_sides_take_turns_to_make_the_step_of_the_other(monkeypatch):
    arrays = {"weights/w": np.ones(2)}
    quantities = {
        module.LOSS: {module.LOSS: np.zeros(())},
        "gradients": {"w": np.ones(2)},
        "weights": {"w": np.ones(2)},
    }
    made, followed = module.Made(quantities, arrays, None), []
    monkeypatch.setattr(module, "make", lambda *_: made)
    monkeypatch.setattr(module, "make_from", lambda side, start: followed.append(side.name) or made)
    calls = {"init_state": lambda initial: None, "state_to_arrays": lambda state: arrays}
    sides = [SimpleNamespace(name=name, **calls) for name in ("torch", "jax")]
    assert len(list(module.lockstep(*sides, [({}, 0.1)] * 4, judge=lambda *_: {}))) == 4
    assert followed == ["jax", "torch", "jax", "torch"]
