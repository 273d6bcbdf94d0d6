"""Which masks say the same with other numbers."""

from types import SimpleNamespace

import numpy as np
import pytest

from crosscheck.criterion import Verdict
from crosscheck.judging.judge import row_of
from crosscheck.judging.mask_conventions import PACKED, is_mask_by_convention, reads_mask
from crosscheck.judging.rows import KIND
from crosscheck.recording.values import Values

HIDES = np.array([[0, 1, 1], [0, 0, 1]], bool)
CALLS = {"attention": SimpleNamespace(path="attention", inside="")}


def row(ours, theirs, tensor="attention in[1]"):
    return row_of(KIND["intermediate"], tensor, ours, theirs, Verdict(6.0, 0.0), Values(calls=CALLS))


def filled(hides, number):
    return np.where(hides, number, 0.0)


@pytest.mark.parametrize("fills", [(-np.inf, -1e9), (-1e9, -np.inf), (-1e9, -3e38), (-np.inf, -np.inf)], ids=str)
def test_additive_masks_say_the_same_if_they_hide_as_many_scores_whatever_they_add(fills):
    ours, theirs = (filled(HIDES, number) for number in fills)
    assert is_mask_by_convention(row(ours, theirs))
    for hides in (HIDES & False, HIDES & [1, 1, 0]):
        assert not is_mask_by_convention(row(ours, filled(hides, fills[1])))
    assert not is_mask_by_convention(row(ours, theirs + 1))
    assert not is_mask_by_convention(row(ours, filled(HIDES, -1.0)))


def test_a_mask_of_truths_that_an_attention_of_torch_makes_of_its_mask_has_read_it():
    mask, made = row(HIDES, ~HIDES), row(HIDES, ~HIDES, "attention out[0]")
    kept = SimpleNamespace(kind="parameter", tensor=f"attention.{PACKED}")
    scores = row(2.0 * HIDES, 3.0 * HIDES, "attention out[0]")
    assert [reads_mask("attention", fault, [mask], [kept, fault], CALLS) for fault in (made, scores)] == [True, False]
