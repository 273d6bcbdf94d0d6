"""Every study says what theory says, with other sizes and seeds too, and notices a fault in what it runs."""

import pytest

from crosscheck.faults.planting import planted
from crosscheck.faults.table import find_fault
from experiments.studies.table import STUDIES

SMALL = {  # study -> other sizes than the defaults, under which the tests are quick
    "selection": {"S": 40.0},
    "relative": {"steps": 7, "window": 5, "c": 3e3},
    "depth": {"layers": 5, "width": 3, "steps": 6},
    "linear-rnn": {"steps": 4, "inputs": 2, "hidden": 3, "classes": 2},
    "top-two": {"vocabulary": 50, "bias": 60.0, "spread": 6.0},
    "masking": {"n": 5, "d": 3, "hidden": 0},
    "low-rank": {"n": 9, "d": 4, "rank": 2},
    "scale": {"widths": (2, 32), "n": 5, "samples": 500},
    "ablations": {"names": ("plain",), "times": (1,), "seeds": 1, "steps": 120},
    "complexity": {"lengths": (16, 32, 64), "widths": (16, 48), "heads": 2, "timed": (8, 16)},
    "scaling": {"widths": (8, 24), "layers": 2, "s": 7},
}


def unexpected(findings) -> list[str]:
    return [f"{claim.words}: {claim.found}, bound {claim.bound}" for claim in findings.claims if not claim.as_expected]


def test_every_study_is_tried():
    assert SMALL.keys() == STUDIES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_verdict_is_theorys_with_other_sizes_and_another_seed(name):
    assert unexpected(STUDIES[name].run(**SMALL[name], seed=5)) == []


FAULTS = {
    "linear-rnn": "linear-rnn-powers-dropped/jax",
    "low-rank": "low-rank-one-less/torch",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_study_notices_a_fault_in_its_component(name):
    with planted(find_fault(FAULTS[name]).changes):
        assert unexpected(STUDIES[name].run(**SMALL[name])) != []
