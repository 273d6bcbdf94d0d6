"""Flips of a module's attributes and weights, and of its inputs."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from crosscheck.flips.flip import EPSILONS, Flip
from crosscheck.flips.functions import HIDDEN_ROWS
from crosscheck.values import Arrays

NORMS = {"RMSNorm": "D19", "GroupNorm": "D23", "BatchNorm": "D23"}  # LayerNorm and all others: D18


def _set_eps(eps: float, row: str) -> Callable[[nn.Module], bool]:
    def change(module: nn.Module) -> bool:
        found = False
        for layer in module.modules():
            kind = next((d for name, d in NORMS.items() if name in type(layer).__name__), "D18")
            for name in ("eps", "epsilon", "variance_epsilon"):
                if kind == row and isinstance(getattr(layer, name, None), float) and getattr(layer, name) != eps:
                    setattr(layer, name, eps)
                    found = True
        return found

    return change


def _toggle(name: str, values: tuple[Any, Any]) -> Callable[[nn.Module], bool]:
    def change(module: nn.Module) -> bool:
        having = [layer for layer in module.modules() if hasattr(layer, name) and getattr(layer, name) in values]
        for layer in having:
            setattr(layer, name, values[1 - values.index(getattr(layer, name))])
        return bool(having)

    return change


LAYER_FLIPS = (
    *(
        Flip(row, f"{norm} with eps {eps:g}", layers=_set_eps(eps, row))
        for row, norm in (("D18", "normalisation"), ("D19", "RMSNorm"), ("D23", "group or batch normalisation"))
        for eps in EPSILONS
    ),
    Flip(
        "D33", "the padding row of an embedding with a gradient (or without)", layers=_toggle("padding_idx", (0, None))
    ),
)


# Weights


def _square(name: str, array: np.ndarray) -> np.ndarray | None:
    return array.T if array.ndim == 2 and array.shape[0] == array.shape[1] else None


def gates(order: tuple[int, ...], only: str = "") -> Callable[[str, np.ndarray], np.ndarray | None]:
    """The change of weights whose first axis holds the gates in this order."""

    def change(name: str, array: np.ndarray) -> np.ndarray | None:
        if only not in name or array.ndim not in (1, 2) or len(array) % len(order) or len(array) <= len(order):
            return None
        parts = np.split(array, len(order))
        return np.concatenate([parts[index] for index in order])

    return change


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(index) for index in range(len(order)))


def _without_candidate_bias(name: str, array: np.ndarray) -> np.ndarray | None:
    """The last third of a GRU's hidden bias as zeros."""
    if not (name.endswith("hidden_proj.bias") or "bias_hh" in name) or len(array) % 3:
        return None
    return np.concatenate([array[: -len(array) // 3], np.zeros_like(array[-len(array) // 3 :])])


GATE_ORDERS = [order for order in itertools.permutations(range(3)) if order != (0, 1, 2)]
WEIGHT_FLIPS = (
    Flip("D01", "square kernels transposed", weights=_square, undo=_square),
    *(
        Flip("D03", f"gates stacked in the order {order}", weights=gates(order), undo=gates(_inverse(order)))
        for order in GATE_ORDERS
    ),
    Flip("D04", "no hidden bias in the candidate", weights=_without_candidate_bias, undo=_without_candidate_bias),
)


def changed_weights(arrays: Arrays, flip: Flip) -> Arrays:
    """The arrays that the flip changes, changed."""
    found = {name: flip.weights(name, array) for name, array in arrays.items()} if flip.weights else {}
    return {name: array for name, array in found.items() if array is not None}


# Inputs


def _inverted(name: str, array: np.ndarray) -> np.ndarray | None:
    return ~array if array.dtype == np.bool_ else None


INPUT_FLIPS = (
    Flip("D38", "boolean masks the other way round", inputs=_inverted),
    *(  # a mask of no padding hides everything then
        Flip("D38", f"boolean masks the other way round, and {what} where they hide all", functions, inputs=_inverted)
        for what, functions in HIDDEN_ROWS.items()
    ),
)
