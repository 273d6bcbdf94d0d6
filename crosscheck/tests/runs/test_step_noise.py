"""Two sides make each step from one state, in turn, and below float64 that step's own noise decides."""

import numpy as np
import pytest
import torch

from crosscheck.criterion import DRAWS, MORE_DRAWS, NOISE_RATIO, PROOF, unit_roundoff
from crosscheck.runs.lockstep import lockstep
from crosscheck.runs.one_step import Start
from crosscheck.runs.random_rounding import RandomRounding
from crosscheck.runs.step_noise import RUNS, NoiseRule, _rounded

ROUNDOFF = unit_roundoff(np.dtype(np.float32))
STEPS = 25


class Side:
    """Multiplies its weights by 1.5 and then by 1 + `off`, with torch's arithmetic."""

    def __init__(self, off=0.0, dtype=np.float64):
        self.off, self.dtype, self.loaded = off, dtype, []

    def init_state(self, initial=None):
        return self.state_from_arrays({"weights/a": np.linspace(1, 2, 7), "step": np.array(0)})

    def state_from_arrays(self, arrays):
        self.loaded.append(int(arrays["step"]))
        weights = arrays["weights/a"].astype(self.dtype)
        return {"weights/a": torch.from_numpy(weights), "step": int(arrays["step"])}

    def state_to_arrays(self, state):
        return {"weights/a": state["weights/a"].numpy(), "step": np.array(state["step"])}

    def gradients_of(self, state, batch):
        return {"a": (state["weights/a"] * 1.5).numpy()}

    def train_step(self, state, batch, rate):
        weights = state["weights/a"] * 1.5 * (1 + self.off)
        return {"weights/a": weights, "step": state["step"] + 1}, {"loss": weights.sum()}

    def eval_step(self, state, batch):
        return {"losses": state["weights/a"] * 1.5}

    def fetch(self, metrics):
        return {name: value.numpy() for name, value in metrics.items()}


def steps_of(ours, theirs, *judge):
    return [step for step, _ in lockstep(ours, theirs, [({}, 0.1)] * STEPS, *judge)]


def test_the_error_of_a_step_does_not_grow_with_the_run_and_the_drift_does():
    steps = steps_of(Side(), Side(off=PROOF / 4))
    assert [step.beyond for step in steps] == [None] * STEPS
    assert max(step.judged["weights"].error for step in steps) < PROOF
    assert steps[0].errors["weights"] < PROOF < steps[-1].errors["weights"]


def test_the_sides_take_turns_to_lead():
    ours, theirs = Side(), Side()
    steps_of(ours, theirs)
    assert (ours.loaded, theirs.loaded) == ([0, *range(1, STEPS, 2)], [0, *range(0, STEPS, 2)])


@pytest.mark.parametrize("wrong", ["ours", "theirs"])
@pytest.mark.parametrize(("roundings", "agrees"), [(1, True), (40, False)])
def test_float32_may_be_off_by_roundings_and_not_by_more(wrong, roundings, agrees):
    sides = {"ours": Side(dtype=np.float32), "theirs": Side(dtype=np.float32)}
    sides[wrong] = Side(off=roundings * ROUNDOFF, dtype=np.float32)
    steps = steps_of(*sides.values(), NoiseRule([Side(), Side()], "float32"))
    assert all(step.beyond is None for step in steps) == agrees
    assert steps[0].judged["weights"].bound > NOISE_RATIO * ROUNDOFF > PROOF


def test_noise_is_measured_at_round_steps_only_where_nothing_differs_by_more():
    oracle = Side()
    steps_of(Side(dtype=np.float32), Side(dtype=np.float32), NoiseRule([oracle, Side()], "float32"))
    assert sorted(set(oracle.loaded)) == [0, 1, 4, 9, 19]
    assert oracle.loaded.count(4) == 1 + 1 + RUNS[0]  # proven, the oracle of the noise, and with random rounding


@pytest.mark.parametrize(("roundings", "draws"), [(10, MORE_DRAWS), (40, DRAWS)], ids=["near its bound", "far off"])
def test_a_difference_at_any_other_step_is_measured_by_the_noise_of_that_step(roundings, draws):
    class Late(Side):
        def train_step(self, state, batch, rate):
            self.off = roundings * ROUNDOFF if state["step"] == 6 else 0.0
            return super().train_step(state, batch, rate)

    oracle = Side()
    rule = NoiseRule([oracle, Side()], "float32")
    rule.bounds = {("loss", "loss"): 1.0, ("weights", "a"): 1.0, ("evaluation", "losses"): 1.0}  # of an earlier step
    steps = steps_of(Side(dtype=np.float32), Late(dtype=np.float32), rule)
    assert [step.step for step in steps if step.beyond] == [7]
    assert oracle.loaded.count(6) == 1 + draws


def test_a_float32_step_is_proven_in_float64_too():
    rule = NoiseRule([Side(), Side(off=2 * PROOF)], "float32")
    first = steps_of(Side(dtype=np.float32), Side(dtype=np.float32), rule)[0]
    assert first.beyond == ("loss", "loss")
    assert first.judged["loss"].bound == PROOF
    assert rule.oracles[0].loaded.count(0) == 1  # no noise is measured for a step that has failed


def test_two_sides_that_both_overflow_do_not_agree():
    sides = [Side(off=1e38, dtype=np.float32) for _ in range(2)]
    assert steps_of(*sides, NoiseRule([Side(), Side()], "float32"))[1].beyond == ("loss", "loss")


def test_random_rounding_moves_the_rate_and_what_the_optimiser_keeps_and_neither_weights_nor_counts():
    names = ("weights/a", "average/a", "exp_avg/a", "gradient_sum/a", "step")
    start = Start({name: np.full(3, 2.0) for name in names}, {}, 0.5)
    moved = _rounded(start, RandomRounding(ROUNDOFF, 0))
    changed = [name for name in names if not np.array_equal(moved.state[name], start.state[name])]
    assert changed == ["exp_avg/a", "gradient_sum/a"]
    assert moved.rate != start.rate
