"""Two backends in lockstep: both train on each batch in turn, and make every step from one state as well."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

import numpy as np

from crosscheck.criterion import difference, norm
from crosscheck.runs.one_step import GRADIENTS, Judge, Judged, Made, Start, by_group, make, make_from, prove
from shared.arrays import Arrays
from shared.backend import Backend, Batch

LOSS = "loss"
# derived: the project's promise for a whole run, 1e5 roundings in float64 and 1e3 in float32 accumulated over the steps
BOUNDS = {"float64": 1e-11, "float32": 1e-4}


@dataclass(frozen=True)
class Step:
    """One step: what both sides make of one state, and how far the two runs have drifted apart.

    The drift is the difference of the losses, and for each group of tensors the overall relative L2 error and the worst
    tensor.
    """

    step: int
    loss: float
    judged: dict[str, Judged]  # loss, accuracy, gradients, weights, ... of the step from one state
    loss_difference: float
    errors: dict[str, float]  # gradients, weights, the optimiser's groups, ... -> |a - b| / |a|
    worst: dict[str, str]  # group -> the tensor that contributes most

    @property
    def differences(self) -> dict[str, float]:
        """The drift of the loss and of every group."""
        return {LOSS: self.loss_difference, **self.errors}

    @property
    def beyond(self) -> tuple[str, str] | None:
        """(quantity, tensor) of the first error beyond its bound, in the order in which a step computes them."""
        return next(((name, found.tensor) for name, found in self.judged.items() if not found.agrees), None)


def lockstep(
    ours: Backend,
    theirs: Backend,
    course: Iterable[tuple[Batch, float]],
    judge: Judge = prove,
    initial: Arrays | None = None,
) -> Iterator[tuple[Step, Start]]:
    """Train both from their initial states, or from given weights, over (batch, learning rate).

    Yields each step with what it starts from. The sides take turns to lead: the other makes the step of the leader's
    state as well as that of its own.
    """
    sides = (ours, theirs)
    states = [side.init_state(initial) for side in sides]
    arrays = [side.state_to_arrays(state) for side, state in zip(sides, states, strict=True)]
    for number, (batch, rate) in enumerate(course, start=1):
        follows = number % 2
        start = Start(arrays[1 - follows], batch, rate)
        made = [make(side, state, batch, rate) for side, state in zip(sides, states, strict=True)]
        pair = list(made)
        pair[follows] = make_from(sides[follows], start)
        found = judge(start, *(each.quantities for each in pair))
        yield Step(number, float(made[0].quantities[LOSS][LOSS]), found, *_drift(*made)), start
        states, arrays = [each.state for each in made], [each.arrays for each in made]


def _drift(ours: Made, theirs: Made) -> tuple[float, dict[str, float], dict[str, str]]:
    losses = [np.asarray(each.quantities[LOSS][LOSS]) for each in (ours, theirs)]
    errors, worst = {}, {}
    for group in (GRADIENTS, *by_group(ours.arrays)):
        errors[group], worst[group] = group_error(ours.quantities[group], theirs.quantities[group])
    return difference(*losses), errors, worst


def group_error(ours: Arrays, theirs: Arrays) -> tuple[float, str]:
    """|a - b| / |a| over all tensors of a group together, and the tensor that contributes most.

    0 if both are 0, |a - b| if only a is 0, infinite if either is not finite or a tensor is on one side only.
    """
    alone = ours.keys() ^ theirs.keys()
    parts = {name: inf if name in alone else difference(ours[name], theirs[name]) for name in {**ours, **theirs}}
    size = norm(np.array([norm(array) for array in ours.values()]))
    error = float(np.linalg.norm(list(parts.values())))
    return error / size if size else error, max(parts, key=lambda name: parts[name])
