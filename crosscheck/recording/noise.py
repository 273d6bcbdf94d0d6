"""How far the float64 oracle moves when every operation rounds at random where the module's own operation rounds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crosscheck import criterion
from crosscheck.recording.arguments import Arguments
from crosscheck.recording.nesting import is_float
from crosscheck.recording.values import ARRAY_FIELDS, Options, Values
from shared.arrays import Arrays
from shared.training_state import AVERAGE, WEIGHTS

GRADIENTS = ("input_gradients", "intermediate_gradients", "parameter_gradients")
NUMBERS = 100_000_000  # parameters times runs that are kept at once: 8 bytes each
Movement = dict[str, dict[str, float]]  # field of Values -> tensor -> L2 norm of the movement


@dataclass
class Noise:
    """The float64 run, and how far each of its tensors moves."""

    oracle: Values
    movement: Movement


def measure_noise(module: Any, arguments: Arguments, options: Options, optimizer: Any = None) -> Noise:
    """Run the torch module on the CPU with shadows in float64: one that is exact, and some that round at random.

    `optimizer` makes the updates, as in the run being judged: see `update_with_torch`.
    """
    from crosscheck.recording import torch_side

    module, options = torch_side.on_cpu(module), replace(options, device="cpu")
    kept = torch_side.size_of(module) if options.gradients or options.updates else 0  # equal shadows share their memory
    together = max(1, min(options.noise_runs, NUMBERS // (1 + kept)))
    movement: Movement = {field: {} for field in ARRAY_FIELDS}
    for seed in range(0, options.noise_runs, together):
        runs = min(together, options.noise_runs - seed)
        exact, *moved = torch_side.shadows(module, arguments, options, runs, seed, optimizer)
        for values in moved:
            _add_movement(movement, exact, values)
    for field in GRADIENTS:
        _pool(getattr(exact, field), movement[field])
    for moments in _moments(exact.updates):
        _pool(moments, movement["updates"])
    return Noise(exact, movement)


def _add_movement(movement: Movement, exact: Values, moved: Values) -> None:
    for field in ARRAY_FIELDS:
        for name, array in getattr(exact, field).items():
            if is_float(array.dtype):
                other = getattr(moved, field)[name]  # equal shadows, as of parameters, share their memory
                distance = 0.0 if _place(other) == _place(array) else criterion.movement(other, array)
                movement[field][name] = max(movement[field].get(name, 0.0), distance)


def _place(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _moments(updates: Arrays) -> Iterator[Arrays]:
    """The optimiser's state by step and group: what a gradient that is zero in theory leads to."""
    for group in dict.fromkeys(name.rsplit("/", 1)[0] for name in updates):
        if group.split("/")[-1] not in (WEIGHTS, AVERAGE):
            yield {name: array for name, array in updates.items() if name.startswith(f"{group}/")}


def _pool(gradients: Arrays, movement: dict[str, float]) -> None:
    """Give a gradient that is zero in theory at least the root mean square of all movements: its own few say little.

    Such a gradient can be a single repeated number: over 300 seeds, one such error reached 1.4 times the bound from its
    own movement, but only 0.5 times the pooled bound.
    """
    floor = max(map(criterion.norm, gradients.values()), default=0.0)
    pooled = float(np.sqrt(np.mean(np.square([movement[name] for name in gradients])))) if gradients else 0.0
    for name, array in gradients.items():
        if criterion.norm(array) <= criterion.PROOF * floor:
            movement[name] = max(movement[name], pooled)
