"""The numbers of a check reach where those of a new model do not: CLIP's scale, which starts at 14, beyond 100."""

import pytest
from alike import as_specified

from crosscheck.faults.fault import both_sides
from crosscheck.faults.planting import planted
from crosscheck.faults.rows.pretrained.clip import FILE, SCALE
from crosscheck.scoring import score

FAULTS = both_sides(
    "clip-scale-below-100", "model", "the scale is held below 100, as while CLIP was trained", FILE,
    (SCALE["torch"], f"{SCALE['torch']}.clamp(max=100)"), (SCALE["jax"], f"jnp.minimum({SCALE['jax']}, 100)"),
    "CLIPModel",
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.side)
def test_what_one_side_holds_below_a_limit_is_caught_and_located(fault):
    outcome = score.try_fault(fault)
    assert (outcome.killed, outcome.located) == (True, True)


def test_what_both_sides_hold_below_a_limit_is_not_what_the_formula_says():
    with planted([change for fault in FAULTS for change in fault.changes]), pytest.raises(AssertionError):
        as_specified(FAULTS[0])
