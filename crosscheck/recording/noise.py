"""How far the float64 oracle moves when every operation rounds randomly, as a lower precision would."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crosscheck import criterion
from crosscheck.recording.arguments import Arguments
from crosscheck.recording.nesting import is_float, map_arguments
from crosscheck.recording.values import ARRAY_FIELDS, Options, Values
from shared.arrays import Arrays

GRADIENTS = ("input_gradients", "intermediate_gradients", "parameter_gradients")
Movement = dict[str, dict[str, float]]  # field of Values -> tensor -> L2 norm of the movement


@dataclass
class Noise:
    """The float64 run, and how far each of its tensors moves."""

    oracle: Values
    movement: Movement


def measure_noise(module: Any, arguments: Arguments, options: Options, optimizer: Any = None) -> Noise:
    """Run the torch module in plain float64, then with random rounding at the scale of `options.dtype`.

    `optimizer` makes the updates, as in the run being judged: see `update_with_torch`.
    """
    from crosscheck.recording import torch_side
    from crosscheck.recording.random_rounding import RandomRounding

    oracle, wide = torch_side.in_float64(module), widened(arguments)
    options = replace(options, device="cpu")
    exact = torch_side.evaluate(oracle, wide, options, optimizer)
    movement: Movement = {field: {} for field in ARRAY_FIELDS}
    for seed in range(options.noise_runs):
        with RandomRounding(criterion.unit_roundoff(options.dtype), seed):
            _add_movement(movement, exact, torch_side.evaluate(oracle, wide, options, optimizer))
    for field in GRADIENTS:
        _pool(getattr(exact, field), movement[field])
    return Noise(exact, movement)


def widened(arguments: Arguments) -> Arguments:
    """Arguments with float arrays in float64, the rest unchanged."""
    return map_arguments(lambda _, a: a.astype(np.float64) if is_float(a.dtype) else a, *arguments)


def _add_movement(movement: Movement, exact: Values, moved: Values) -> None:
    for field in ARRAY_FIELDS:
        for name, array in getattr(exact, field).items():
            if is_float(array.dtype):
                distance = criterion.movement(getattr(moved, field)[name], array)
                movement[field][name] = max(movement[field].get(name, 0.0), distance)


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
