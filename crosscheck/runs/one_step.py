"""One step from one state: all that a backend makes of it, and whether two backends make the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np

from crosscheck.criterion import Verdict, norm
from crosscheck.criterion import prove as proof
from shared.arrays import Arrays
from shared.backend import Backend, Batch, State
from shared.training_state import AVERAGE, WEIGHTS

GRADIENTS, COUNTS, EVALUATION = "gradients", "counts", "evaluation"
MOVED = (WEIGHTS, AVERAGE)  # by the rest of the state
ABSENT = Verdict(inf, 0.0)

Quantities = Mapping[str, Arrays]  # loss, accuracy, gradients, ... -> tensor -> array
Rule = Callable[[str, str, np.ndarray, np.ndarray, float], Verdict]  # quantity, tensor, both arrays, the norm to go by


class Start(NamedTuple):
    """What a step starts from: a state as arrays, a batch and a learning rate."""

    state: Arrays
    batch: Batch
    rate: float

    def widened(self) -> "Start":
        """With the state in float64."""
        state = {name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in self.state.items()}
        return self._replace(state=state)


class Made(NamedTuple):
    """All that a step makes: its quantities, in the order in which they are computed, and the next state."""

    quantities: Quantities
    arrays: Arrays
    state: State


@dataclass(frozen=True)
class Judged:
    """The tensor of a quantity that is largest against its bound, with both relative to the quantity's largest norm, or
    of an evaluation to the tensor's own: losses and classes have no common size.
    """

    tensor: str
    error: float
    bound: float

    @property
    def part(self) -> float:
        """The error as a part of its bound; infinite if it is not a number."""
        if np.isnan(self.error):
            return inf
        return self.error / self.bound if self.bound else inf * bool(self.error)

    @property
    def agrees(self) -> bool:
        return self.error <= self.bound


Judge = Callable[[Start, Quantities, Quantities], dict[str, Judged]]


def make(side: Backend, state: State, batch: Batch, rate: float) -> Made:
    """One step of a backend, which consumes the state: metrics, gradients, the next state and its evaluation."""
    gradients = side.gradients_of(state, batch)
    state, metrics = side.train_step(state, batch, rate)
    arrays, evaluated = side.state_to_arrays(state), side.fetch(side.eval_step(state, batch))
    counts = {name: array for name, array in arrays.items() if "/" not in name}
    shown = {name: {name: value} for name, value in side.fetch(metrics).items()}
    quantities = {**shown, GRADIENTS: gradients, **by_group(arrays), COUNTS: counts, EVALUATION: evaluated}
    return Made(quantities, arrays, state)


def make_from(side: Backend, start: Start) -> Made:
    """One step of a backend from a state of either."""
    return make(side, side.state_from_arrays(start.state), start.batch, start.rate)


def by_group(state: Mapping[str, np.ndarray]) -> dict[str, Arrays]:
    """The tensors of a state by group, in the order in which an update computes them; counts have no group."""
    groups: dict[str, Arrays] = {}
    for name, array in state.items():
        group, slash, tensor = name.partition("/")
        if slash:
            groups.setdefault(group, {})[tensor] = array
    return {group: groups[group] for group in sorted(groups, key=lambda group: (group in MOVED, group == AVERAGE))}


def prove(start: Start, ours: Quantities, theirs: Quantities) -> dict[str, Judged]:
    """A step in float64 by the project's proof; a `Judge`."""
    return judged(ours, theirs, lambda quantity, name, a, b, largest: proof(a, b, largest))


def judged(ours: Quantities, theirs: Quantities, rule: Rule) -> dict[str, Judged]:
    """The worst tensor of each quantity by a rule; one that only one side has is beyond every bound."""
    return {name: _worst(name, ours.get(name, {}), theirs.get(name, {}), rule) for name in {**ours, **theirs}}


def _worst(quantity: str, ours: Arrays, theirs: Arrays, rule: Rule) -> Judged:
    largest = max(map(norm, ours.values()), default=0.0)
    verdicts = dict.fromkeys({**ours, **theirs}, ABSENT)
    for name in ours.keys() & theirs.keys():
        if ours[name].shape == theirs[name].shape:
            size = norm(ours[name]) if quantity == EVALUATION else largest
            verdicts[name] = rule(quantity, name, ours[name], theirs[name], size)
    return max((Judged(name, verdict.error, verdict.bound) for name, verdict in verdicts.items()), key=_part)


def _part(found: Judged) -> float:
    return found.part
