"""Published criteria catch what they look at, and miss what they can't see, on handmade values."""

import numpy as np
import pytest

from crosscheck.recording.values import Values
from crosscheck.scoring import published_criteria
from crosscheck.scoring.published_criteria import CRITERIA

X = np.array([[1.0, -2.0, 3.0], [0.5, 0.25, 4.0]])
MIXED = X + np.array([1.0, -1.0, 0.0])  # a different tensor with the same mean


def values(output=X, gradient=X):
    return Values(outputs={"output": output}, parameter_gradients={"weight": gradient})


LET_THROUGH = {  # criterion: a change that it can't see
    "Hugging Face, tight": values(X + published_criteria.HF_TIGHT / 2, 2 * X),
    "Hugging Face, usual": values(X + published_criteria.HF_LOOSE / 2, 2 * X),
    "Bonsai": values(X * (1 + published_criteria.BONSAI), 2 * X),
    "PaDiff": values(MIXED, MIXED),
    "Levanter": values(2 * X, X + published_criteria.LEVANTER / 2),
    "MaxText": values(X + 7.0, 2 * X),
    "AlgoPerf": values(X, 2 * X),
    "eqx-zoo": values(2 * X, X * (1 + published_criteria.EQX / 2)),
}
CAUGHT = {  # criterion: a change that it sees
    "Hugging Face, tight": values(X + 2 * published_criteria.HF_TIGHT),
    "Hugging Face, usual": values(X + 2 * published_criteria.HF_LOOSE),
    "Bonsai": values(X * (1 + 3 * published_criteria.BONSAI) + 3 * published_criteria.BONSAI),
    "PaDiff": values(X, X + 2 * published_criteria.PADIFF * X.mean()),
    "Levanter": values(X, 2 * X),
    "MaxText": values(-X),
    "AlgoPerf": values(X, X / 3),
    "eqx-zoo": values(X, X * (1 + 2 * published_criteria.EQX)),
}


def grown(tolerance):
    """A tensor, and one that is larger by more than the tolerance of itself, but not of the other."""
    small = X / tolerance**2
    large = small * (1 + tolerance + tolerance**2 / 2)
    return values(small, small), values(large, large)


RARE = published_criteria.MAXTEXT / 2
BY_JAX = {  # criterion: values of torch and of JAX that pass, and do not where they change places
    "Bonsai": grown(published_criteria.BONSAI),
    "PaDiff": grown(published_criteria.PADIFF),
    "Levanter": grown(published_criteria.LEVANTER),
    "MaxText": tuple(values(np.log([1 - p, p])) for p in (RARE**2, RARE)),
    "AlgoPerf": grown(published_criteria.ALGOPERF),
    "eqx-zoo": grown(published_criteria.EQX),
}


def test_every_published_criterion_is_tried_on_both_kinds_of_change():
    names = [criterion.name for criterion in CRITERIA]
    assert names == list(LET_THROUGH) == list(CAUGHT)


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.name)
def test_a_published_criterion_passes_equal_values_and_what_it_can_not_see(criterion):
    assert criterion.passes(values(), values())
    assert criterion.passes(values(), LET_THROUGH[criterion.name])
    assert not criterion.passes(values(), CAUGHT[criterion.name])


@pytest.mark.parametrize("name", BY_JAX)
def test_a_published_criterion_measures_torch_by_jax(name):
    (criterion,) = [each for each in CRITERIA if each.name == name]
    ours, theirs = BY_JAX[name]
    assert criterion.passes(ours, theirs)
    assert not criterion.passes(theirs, ours)


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.name)
def test_a_published_criterion_never_passes_a_nan_that_only_one_side_has(criterion):
    nan = np.full_like(X, np.nan)
    with np.errstate(invalid="ignore"):
        assert not criterion.passes(values(), values(nan, nan))


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.name)
def test_no_published_criterion_looks_at_integers(criterion):
    assert criterion.passes(values(np.arange(3)), values(np.arange(1, 4)))
