"""A step below float64 is judged by its own noise: the float64 step is the oracle, and random rounding moves it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import jax
import numpy as np
import torch

from crosscheck.criterion import (
    DRAWS,
    MORE_DRAWS,
    PROOF,
    Verdict,
    compare_noise,
    difference,
    movement,
    norm,
    unit_roundoff,
)
from crosscheck.judging.false_alarms import is_open
from crosscheck.recording.precision import full_precision
from crosscheck.runs.one_step import ABSENT, MOVED, Judged, Quantities, Start, judged, make_from, prove
from crosscheck.runs.random_rounding import RandomRounding
from shared.backend import Backend

RUNS = (4, DRAWS, MORE_DRAWS)  # with random rounding: the next number if the one before does not decide
ROUND = {"1", "2", "5"}  # times a power of ten
Key = tuple[str, str]  # quantity, tensor


class NoiseRule:
    """A `Judge` that measures the noise at steps 1, 2, 5, 10, ..., and at each step where the two sides differ by more
    than the bounds since then, so that a step fails by its own noise only.

    At steps 1, 2, 5, 10, ... both sides also make the step in float64, which must be proven. The oracle is torch's.
    """

    def __init__(self, oracles: Sequence[Backend], dtype: str):
        self.oracles = oracles
        self.roundoff = unit_roundoff(np.dtype(dtype))
        self.bounds: dict[Key, float] = {}
        self.steps = 0

    def __call__(self, start: Start, ours: Quantities, theirs: Quantities) -> dict[str, Judged]:
        self.steps += 1
        if str(self.steps).rstrip("0") not in ROUND:
            found = judged(ours, theirs, self._by_the_last)
            return found if _all_agree(found) else self._measured(start, ours, theirs)
        self.bounds = {}
        with float64():
            proven = prove(start, *(make_from(oracle, start.widened()).quantities for oracle in self.oracles))
        return _worse(self._measured(start, ours, theirs), proven) if _all_agree(proven) else proven

    def _measured(self, start: Start, ours: Quantities, theirs: Quantities) -> dict[str, Judged]:
        """The judgement by the noise of this step; sets the bounds of the next ones."""
        wide, done = start.widened(), 0
        self.exact = make_from(self.oracles[0], wide).quantities
        keys = [(quantity, name) for quantity, arrays in self.exact.items() for name in arrays]
        self.moved = {(quantity, name): self.roundoff * norm(self.exact[quantity][name]) for quantity, name in keys}
        for runs in RUNS:
            for seed in range(done, runs):
                self._move(wide, RandomRounding(self.roundoff, self.steps * MORE_DRAWS + seed))
            found, done = judged(ours, theirs, self._by_its_own), runs
            if _all_agree(found) or (runs == DRAWS and not _are_open(found)):
                break
        return found

    def _move(self, start: Start, rounding: RandomRounding) -> None:
        """Note how far rounding moves each tensor of the step."""
        start = _rounded(start, rounding)
        with rounding:
            found = make_from(self.oracles[0], start).quantities
        for (quantity, name), before in self.moved.items():
            self.moved[quantity, name] = max(before, movement(found[quantity][name], self.exact[quantity][name]))

    def _by_the_last(self, quantity: str, name: str, a: np.ndarray, b: np.ndarray, largest: float) -> Verdict:
        return Verdict(difference(a, b) / (largest or 1.0), self.bounds.get((quantity, name), 0.0))

    def _by_its_own(self, quantity: str, name: str, a: np.ndarray, b: np.ndarray, largest: float) -> Verdict:
        exact = self.exact.get(quantity, {}).get(name)
        if exact is None or exact.shape != a.shape:
            return ABSENT
        verdict = compare_noise(a, b, largest, exact, self.moved[quantity, name], roundoff=0.0)
        if not np.isfinite(verdict.bound):  # both sides overflow where float64 does not
            return ABSENT
        bound = max(verdict.bound, PROOF)  # no stricter than the proof, where a tensor is rounding alone
        self.bounds[quantity, name] = max(self.bounds.get((quantity, name), 0.0), bound)
        return replace(verdict, bound=bound, undecided=False)  # what noise hides, the proof sees


@contextmanager
def float64() -> Iterator[None]:
    """Lets JAX compute in float64; a backend in float64 would leave it on for the float32 run."""
    before = jax.config.jax_enable_x64
    try:
        with full_precision():
            yield
    finally:
        jax.config.update("jax_enable_x64", before)


def _rounded(start: Start, rounding: RandomRounding) -> Start:
    """The rate and what the optimiser keeps, moved: its kernels round numbers that random rounding does not see."""

    def moved(array: np.ndarray) -> np.ndarray:
        return rounding.moved(torch.from_numpy(array)).numpy()

    kept = {name: a for name, a in start.state.items() if "/" in name and name.partition("/")[0] not in MOVED}
    state = {**start.state, **{name: moved(array) for name, array in kept.items()}}
    return start._replace(state=state, rate=float(moved(np.array(start.rate))))


def _worse(*found: dict[str, Judged]) -> dict[str, Judged]:
    """Of each quantity the judgement that is largest against its bound."""
    names = dict.fromkeys(name for each in found for name in each)
    return {name: max((each[name] for each in found if name in each), key=lambda one: one.part) for name in names}


def _are_open(found: dict[str, Judged]) -> bool:
    """True if more draws may explain all that disagrees."""
    return all(is_open(each.error, each.bound) for each in found.values() if not each.agrees)


def _all_agree(found: dict[str, Judged]) -> bool:
    return all(each.agrees for each in found.values())
