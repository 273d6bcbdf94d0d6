"""A mistake made alike in both twins leaves them equal: the formula sees it. And a sample on one side each."""

import pytest
from alike import as_specified, pairs_of

from crosscheck.faults.planting import planted
from crosscheck.faults.rows.gpt import GPT
from crosscheck.faults.rows.pretrained import PRETRAINED
from crosscheck.faults.rows.translation import TRANSLATION
from crosscheck.faults.table import FAULTS
from crosscheck.scoring import score

FAMILIES = {"GPT": GPT, "translation": TRANSLATION, "pretrained": PRETRAINED}
PAIRS = {name: case for family in FAMILIES.values() for name, case in pairs_of(family).items()}
SAMPLE = (
    "gpt-sees-the-next-token/jax",
    "gpt-tied-gradient-missing/torch",
    "gpt-one-dropout-for-both/jax",
    "past-sees-the-next-letter/jax",
    "reset-after-the-product/torch",
    "heads-memory-without-gradient/jax",
)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_there_are_more_than_sixty_and_every_one_has_its_like_on_the_other_side(family):
    assert len(family) > 60
    assert {fault.name.removesuffix("/jax") for fault in family if fault.side == "jax"} == pairs_of(family).keys()


@pytest.mark.parametrize("name", PAIRS)
def test_a_mistake_made_alike_on_both_sides_is_not_what_the_formula_says(name):
    changes = [change for side in ("torch", "jax") for change in FAULTS[f"{name}/{side}"].changes]
    with planted(changes), pytest.raises(AssertionError):
        as_specified(PAIRS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_a_mistake_on_one_side_is_caught_and_located(name):
    outcome = score.try_fault(FAULTS[name])
    assert (outcome.killed, outcome.located) == (True, True), f"expected {outcome.expected}, found {outcome.found}"
