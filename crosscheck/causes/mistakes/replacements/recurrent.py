"""States, biases and directions of recurrent layers, in either framework."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch

from crosscheck.causes.mistakes.replacements.values import stopped, where


def ordered(states: Any, order: Callable[[int], Sequence[int]]) -> Any:
    """Reordered states: a list of them, or an array along its first axis."""
    indices = list(order(len(states)))
    return [states[i] for i in indices] if isinstance(states, list | tuple) else states[np.array(indices)]


def with_states(result: tuple[Any, Any], order: Callable[[int], Sequence[int]]) -> tuple[Any, Any]:
    """A layer's outputs and reordered states."""
    return result[0], ordered(result[1], order)


def by_direction(number: int) -> Sequence[int]:
    """Even ones first."""
    return [*range(0, number, 2), *range(1, number, 2)]


def by_layer(number: int) -> Sequence[int]:
    """The inverse of `by_direction`."""
    return [index for layer in range(number // 2) for index in (layer, number // 2 + layer)]


def backwards(number: int) -> Sequence[int]:
    """Last first."""
    return range(number)[::-1]


def in_pairs(number: int) -> Sequence[int]:
    """Neighbours swapped in pairs."""
    return [index ^ 1 for index in range(number)]


def last_output(result: tuple[Any, Any], step: int) -> tuple[Any, Any]:
    """A scan's outputs and final state, with the state taken from one step's output."""
    return result[0], result[0][:, step]


def candidate_bias(projection: Any) -> Any:
    """The last third of a GRU's hidden bias."""
    bias = projection.bias if isinstance(projection.bias, torch.Tensor) else projection.bias[...]
    return bias[2 * len(bias) // 3 :]


def candidate(projection: Any, h: Any) -> Any:
    """The last third of a GRU's hidden projection."""
    projected = projection(h)
    return projected[..., 2 * projected.shape[-1] // 3 :]


def without_candidate_bias(projection: Any, h: Any) -> Any:
    """A hidden projection without the candidate's bias."""
    projected, bias = projection(h), candidate_bias(projection)
    return projected - (torch.nn.functional.pad if isinstance(bias, torch.Tensor) else jnp.pad)(
        bias, (2 * len(bias), 0)
    )


def frozen_bias(projection: Any, x: Any, gates: int) -> Any:
    """A projection whose bias is not trained in the first `gates` of three."""
    bias = projection.bias if isinstance(projection.bias, torch.Tensor) else projection.bias[...]
    size = gates * len(bias) // 3
    frozen = (stopped(bias) - bias)[:size]
    rest = (bias * 0)[size:]
    return projection(x) + (torch.cat if isinstance(bias, torch.Tensor) else jnp.concatenate)([frozen, rest])


def unless_zero(projected: Any, h: Any) -> Any:
    """Zero where the state is zero, as in a cell that then skips its projection."""
    return where((h != 0).sum(-1)[..., None] != 0, projected, 0.0)
