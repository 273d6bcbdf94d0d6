"""Dozens of mistakes of public reports: each is located and named, and the right pair agrees."""

import jax
import pytest
import reports_eighth
import reports_eleventh
import reports_fifth
import reports_first
import reports_fourth
import reports_ninth
import reports_second
import reports_seventh
import reports_sixth
import reports_tenth
import reports_third
import reports_thirteenth
import reports_twelfth

from crosscheck.compare import compare
from crosscheck.explain import explain

DOZENS = (
    reports_first, reports_second, reports_third, reports_fourth, reports_fifth, reports_sixth, reports_seventh,
    reports_eighth, reports_ninth, reports_tenth, reports_eleventh, reports_twelfth, reports_thirteenth,
)  # fmt: skip
REPORTS = {name: report for dozen in DOZENS for name, report in dozen.REPORTS.items()}
QUICK = (  # the others take minutes together
    "soft cap", "bucketize right", "gate on the other half", "ESM ratio", "exact buckets", "target chooses",
)  # fmt: skip
CASES = [pytest.param(name, marks=[pytest.mark.exhaustive] * (name not in QUICK)) for name in REPORTS]


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_of_a_report_is_located_and_named(name):
    (wrong, right), inputs, module, words = REPORTS[name]
    with jax.enable_x64(True):
        assert compare(*right(), inputs, gradients=False).agrees
        found = explain(*wrong(), inputs, budget=60)
    assert found.report.first_divergence is not None
    assert found.report.first_divergence.module == module, str(found)
    text = f"{found.name} {found.flipped} {found.noted}"
    assert any(word in text for word in words.split("|")), str(found)
