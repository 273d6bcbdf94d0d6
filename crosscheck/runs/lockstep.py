"""Two backends in lockstep: both train on each batch in turn, and their full state is compared after every step."""

from shared.arrays import Arrays
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from crosscheck.criterion import difference, norm
from shared.backend import Backend, Batch
from shared.training_state import AVERAGE, WEIGHTS

GRADIENTS, LOSS = "gradients", "loss"
MOVED = (WEIGHTS, AVERAGE)  # by the rest of the state
# derived: the project's promise for a whole run, 1e5 roundings in float64 and 1e3 in float32 accumulated over the steps
BOUNDS = {"float64": 1e-11, "float32": 1e-4}


@dataclass(frozen=True)
class Step:
    """One step: the losses, and for each group of tensors its overall relative L2 error and its worst tensor."""

    step: int
    loss: float
    loss_difference: float
    errors: dict[str, float]  # gradients, weights, the optimiser's groups, ... -> |a - b| / |a|
    worst: dict[str, str]  # group -> the tensor that contributes most

    @property
    def differences(self) -> dict[str, float]:
        """The differences of the loss and of every group."""
        return {LOSS: self.loss_difference, **self.errors}

    def beyond(self, bound: float) -> tuple[str, str] | None:
        """(group, tensor) of the first error beyond the bound, in the order in which an update computes them."""
        beyond = (group for group, difference in self.differences.items() if not difference <= bound)
        return next(((group, self.worst.get(group, LOSS)) for group in beyond), None)


def lockstep(
    ours: Backend, theirs: Backend, course: Iterable[tuple[Batch, float]], before: dict[str, Any] | None = None
) -> Iterator[Step]:
    """Train both from their initial states over (batch, learning rate), and yield a comparison of each step.

    `before`, if given, always holds the `state` of `ours` before the step, the step's `batch` and its `rate`.
    """
    sides = (ours, theirs)
    states = [side.init_state() for side in sides]
    arrays = [side.state_to_arrays(state) for side, state in zip(sides, states, strict=True)]
    for number, (batch, rate) in enumerate(course, start=1):
        if before is not None:
            before |= {"state": arrays[0], "batch": batch, "rate": rate}
        gradients = [side.gradients_of(state, batch) for side, state in zip(sides, states, strict=True)]
        stepped = [side.train_step(state, batch, rate) for side, state in zip(sides, states, strict=True)]
        states = [state for state, _ in stepped]
        losses = [float(side.fetch(metrics)[LOSS]) for side, (_, metrics) in zip(sides, stepped, strict=True)]
        arrays = [side.state_to_arrays(state) for side, state in zip(sides, states, strict=True)]
        yield _compared(number, losses, gradients, arrays)


def _compared(number: int, losses: list[float], gradients: list[Arrays], states: list[Arrays]) -> Step:
    grouped = [{GRADIENTS: found, **by_group(state)} for found, state in zip(gradients, states, strict=True)]
    errors, worst = {}, {}
    for group, ours in grouped[0].items():
        errors[group], worst[group] = group_error(ours, grouped[1][group])
    return Step(number, losses[0], abs(losses[0] - losses[1]), errors, worst)


def by_group(state: Mapping[str, np.ndarray]) -> dict[str, Arrays]:
    """The tensors of a state by group, in the order in which an update computes them; counts have no group."""
    groups: dict[str, Arrays] = {}
    for name, array in state.items():
        group, slash, tensor = name.partition("/")
        if slash:
            groups.setdefault(group, {})[tensor] = array
    return {group: groups[group] for group in sorted(groups, key=lambda group: (group in MOVED, group == AVERAGE))}


def group_error(ours: Arrays, theirs: Arrays) -> tuple[float, str]:
    """|a - b| / |a| over all tensors of a group together, and the tensor that contributes most.

    0 if both are 0, |a - b| if only a is 0, infinite if either is not finite or a tensor is on one side only.
    """
    alone = ours.keys() ^ theirs.keys()
    parts = {name: inf if name in alone else difference(ours[name], theirs[name]) for name in {**ours, **theirs}}
    size = norm(np.array([norm(array) for array in ours.values()]))
    error = float(np.linalg.norm(list(parts.values())))
    return error / size if size else error, max(parts, key=lambda name: parts[name])
