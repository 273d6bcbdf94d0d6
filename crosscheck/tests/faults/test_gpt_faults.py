"""A mistake made alike in both GPTs leaves them equal: the formula sees it. And a sample of them on one side each."""

import numpy as np
import pytest
from proofs import assert_proven

import crosscheck
from crosscheck.faults.planting import planted
from crosscheck.faults.rows.gpt import GPT
from crosscheck.recording import torch_side
from crosscheck.recording.nesting import as_call
from crosscheck.recording.precision import full_precision
from crosscheck.recording.values import Options
from crosscheck.scoring import score
from crosscheck.twins.formulas.table import evaluate
from shared.registry import TWINS
from torch_impl.weights import to_arrays

PAIRS = {fault.name.removesuffix("/torch"): fault for fault in GPT if fault.side == "torch"}
SAMPLE = ("gpt-sees-the-next-token/jax", "gpt-tied-gradient-missing/torch", "gpt-one-dropout-for-both/jax")


def as_specified(fault):
    pair = crosscheck.build_pair(fault.twin, case=fault.case)
    weights = {} if TWINS[fault.twin].function else to_arrays(pair.torch)
    options = Options(np.dtype("float64"), train=fault.mode == "train")
    with full_precision():
        ours = torch_side.evaluate(pair.torch, as_call(pair.inputs), options)
        assert_proven(ours, evaluate(fault.twin, weights, pair.inputs, options))


def test_there_are_more_than_sixty_and_every_one_has_its_like_on_the_other_side():
    assert len(GPT) > 60
    assert {fault.name.removesuffix("/jax") for fault in GPT if fault.side == "jax"} == PAIRS.keys()


@pytest.mark.parametrize("name", PAIRS)
def test_a_mistake_made_alike_on_both_sides_is_not_what_the_formula_says(name):
    changes = [change for fault in GPT if fault.name.startswith(f"{name}/") for change in fault.changes]
    with planted(changes), pytest.raises(AssertionError):
        as_specified(PAIRS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_a_mistake_on_one_side_is_caught_and_located(name):
    outcome = score.try_fault(next(fault for fault in GPT if fault.name == name))
    assert (outcome.killed, outcome.located) == (True, True), f"expected {outcome.expected}, found {outcome.found}"
