"""A mistake made alike in both GPTs leaves them equal: the formula sees it. And a sample of them on one side each."""

import pytest
from alike import as_specified, pairs_of

from crosscheck.faults.planting import planted
from crosscheck.faults.rows.gpt import GPT
from crosscheck.scoring import score

PAIRS = pairs_of(GPT)
SAMPLE = ("gpt-sees-the-next-token/jax", "gpt-tied-gradient-missing/torch", "gpt-one-dropout-for-both/jax")


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
