"""How many runs tell an ill-conditioned computation from a mistake."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from crosscheck import compare, criterion
from crosscheck.judging import conditioning
from crosscheck.judging.judge import Scale
from crosscheck.judging.rows import Row, Statistics
from crosscheck.pairing.copy_weights import copy_weights
from crosscheck.recording.rounding.in_jax import rounded_at_random
from crosscheck.recording.values import Options, Values


@pytest.mark.parametrize(("largest", "runs"), [(8, [0]), (criterion.LARGE, list(range(conditioning.RUNS)))])
def test_a_large_module_is_run_once_where_that_explains_nothing(monkeypatch, largest, runs):
    seeds, shaken = [], conditioning._shaken
    monkeypatch.setattr(criterion, "LARGE", largest)
    monkeypatch.setattr(conditioning, "_shaken", lambda of, seed: seeds.append(seed) or shaken(of, seed))
    ours = torch.nn.LayerNorm(4, eps=1e-6).double()
    with jax.enable_x64(True):
        theirs = copy_weights(ours, nnx.LayerNorm(4, epsilon=2e-6, rngs=nnx.Rngs(0)))
        assert not compare(ours, theirs, np.eye(3, 4), gradients=False).agrees
    assert seeds == runs


@pytest.mark.parametrize("eps", [1e-2, 1e-6])
def test_what_is_far_apart_or_agrees_is_judged_without_looking_how_a_computation_rounds(monkeypatch, eps):
    monkeypatch.setattr(conditioning, "_shaken", None)
    ours = torch.nn.LayerNorm(4, eps=1e-6).double()
    with jax.enable_x64(True):
        theirs = copy_weights(ours, nnx.LayerNorm(4, epsilon=eps, rngs=nnx.Rngs(0)))
        report = compare(ours, theirs, np.eye(3, 4), gradients=False)
    assert report.agrees == (eps == ours.eps)
    assert report.agrees or report.first_row.error > conditioning.MOST


OURS, THEIRS, MOVED = np.array([3.0, 4.0]), np.array([3.0, 4.0 + 2**-20]), np.array([3.0, 4.0 - 2**-20])
ROW = Row("", "output", "", (2,), (2,), 1.0, 0.0, (0,), 1.0, 2.0, statistics=(Statistics.of(OURS),) * 2)
UNEXPLAINED = {  # what torch's own code moves to, and what JAX computes
    "little movement": (OURS, THEIRS),
    "less movement than the error": (np.array([3.0, 4.0 - 2**-30]), THEIRS),
    "no more than the proof allows": (OURS, OURS),
    "other shapes": (MOVED, np.zeros(3)),
}


def held(moved, theirs, judged=None):
    ours, theirs, *moved = (
        SimpleNamespace(values=SimpleNamespace(outputs={"": array})) for array in (OURS, theirs, OURS, moved)
    )
    return conditioning._judged(ROW, moved, ours, theirs, Scale(0.0, {}), judged)


def test_a_row_that_random_rounding_explains_has_the_numbers_of_the_noise_rule():
    distance = criterion.difference(OURS, THEIRS)
    verdict = criterion.compare_noise(OURS, THEIRS, 0.0, OURS, distance, criterion.unit_roundoff(np.dtype(np.float64)))
    found = held(MOVED, THEIRS)
    assert (found.error, found.bound, found.sensitivity) == (verdict.error, verdict.bound, verdict.sensitivity)
    assert (found.agrees, found.decided_in, found.statistics) == (True, conditioning.DECIDED, ())
    assert held(MOVED, THEIRS, found) is found


@pytest.mark.parametrize("name", UNEXPLAINED)
def test_a_row_that_random_rounding_does_not_explain_stays_as_it_is(name):
    assert held(*UNEXPLAINED[name]) is ROW
    assert held(*UNEXPLAINED[name], replace(ROW, error=0.0)) is ROW


@dataclass(frozen=True)
class Compared:
    """A comparison of two sides whose runs are not made."""

    ours = theirs = SimpleNamespace(recorded=None, size=1)
    options: Options = Options(np.dtype(np.float64))

    def jax_recording(self, ours):
        return None


def test_a_row_that_agrees_stays_as_it_is_where_rounding_explains_another(monkeypatch):
    monkeypatch.setattr(conditioning, "_shaken", lambda *_: None)
    monkeypatch.setattr(conditioning, "_judged", lambda row, *_: replace(row, error=0.0, decided_in="noise"))
    rows = [replace(ROW, error=0.0), replace(ROW, error=conditioning.MOST)]
    found = conditioning.ill_conditioned(rows, Compared(), SimpleNamespace(values=Values()), None)
    assert found[0] is rows[0]
    assert (found[1].agrees, found[1].decided_in) == (True, "noise")


def test_numbers_in_the_code_round_at_random_too():
    given = np.linspace(0.1, 0.9, 7)
    with jax.enable_x64(True):
        exact, moved = (f(given) for f in (of_a_number, rounded_at_random(of_a_number, 0)))
        assert moved.dtype == exact.dtype
        assert not np.array_equal(moved, exact)
        assert criterion.movement(np.asarray(moved), np.asarray(exact)) < criterion.PROOF


def of_a_number(x):
    return jnp.log(2 * jnp.pi) - jnp.square(x)
