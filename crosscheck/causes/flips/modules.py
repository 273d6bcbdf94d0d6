"""Flips of a module's attributes, weights and inputs."""

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from crosscheck.causes.flips.fast_variance import FAST_VARIANCE
from crosscheck.causes.flips.flip import EPSILONS, Flip
from crosscheck.causes.flips.functions import HIDDEN_ROWS
from shared.arrays import Arrays

NORMS = {"rms": "D19", "groupnorm": "D23", "batchnorm": "D23"}  # LayerNorm and all others: D18


def _set_eps(eps: float, row: str) -> Callable[[nn.Module], bool]:
    def change(module: nn.Module) -> bool:
        found = False
        for layer in module.modules():
            kind = next((d for name, d in NORMS.items() if name in type(layer).__name__.lower()), "D18")
            for name in ("eps", "epsilon", "variance_epsilon"):
                if kind == row and isinstance(getattr(layer, name, None), float) and getattr(layer, name) != eps:
                    setattr(layer, name, eps)
                    found = True
        return found

    return change


def _set_momentum(other: Callable[[float], float]) -> Callable[[nn.Module], bool]:
    def change(module: nn.Module) -> bool:
        layers = [m for m in module.modules() if isinstance(getattr(m, "momentum", None), float)]
        for layer in layers:
            layer.momentum = other(layer.momentum)
        return bool(layers)

    return change


def _toggle(name: str, values: tuple[Any, Any]) -> Callable[[nn.Module], bool]:
    def change(module: nn.Module) -> bool:
        having = [layer for layer in module.modules() if hasattr(layer, name) and getattr(layer, name) in values]
        for layer in having:
            setattr(layer, name, values[1 - values.index(getattr(layer, name))])
        return bool(having)

    return change


def _one_bias(module: nn.Module) -> bool:
    """Fold each second bias of a recurrent layer into its first, and train that one alone."""
    found = False
    for layer in module.modules():
        if isinstance(layer, nn.LSTM | nn.RNN | nn.LSTMCell | nn.RNNCell):
            for name, second in layer.named_parameters(recurse=False):
                if name.startswith("bias_hh"):
                    getattr(layer, name.replace("_hh", "_ih")).data += second.data
                    second.data.zero_()
                    second.requires_grad_(False)
                    found = True
    return found


LAYER_FLIPS = (
    *(
        Flip(row, f"{norm} with eps {eps:g}", layers=_set_eps(eps, row))
        for row, norm in (("D18", "normalisation"), ("D19", "RMSNorm"), ("D23", "group or batch normalisation"))
        for eps in EPSILONS
    ),
    *(
        Flip("D21", f"batch normalisation with {what} as torch's momentum", layers=_set_momentum(other))
        for what, other in (
            ("one minus its momentum", lambda m: 1 - m),
            ("0.01", lambda _: 0.01),
            ("0.1", lambda _: 0.1),
        )
    ),
    Flip("D07", "one trained bias where torch adds two", layers=_one_bias),
    Flip("D20", "variance of every normalisation as E[x^2] - E[x]^2", FAST_VARIANCE),
    Flip("D33", "gradient for an embedding's padding row (or none)", layers=_toggle("padding_idx", (0, None))),
)


# Weights


def _square(name: str, array: np.ndarray) -> np.ndarray | None:
    is_square = array.ndim == 2 and array.shape[0] == array.shape[1]
    return array.T if is_square and "weight" in name.rpartition(".")[2] else None


def _square_of_its_own(name: str, array: np.ndarray) -> np.ndarray | None:
    """For parameters that are no layer's kernel, such as the transitions of a chain."""
    is_square = array.ndim == 2 and array.shape[0] == array.shape[1]
    return array.T if is_square and "weight" not in name.rpartition(".")[2] else None


ATTENTION = re.compile(r"attn|attention|qkv|in_proj|query|key|value")  # three parts that are not gates


def gates(order: tuple[int, ...], only: str = "") -> Callable[[str, np.ndarray], np.ndarray | None]:
    """A change of weights that puts the gates along the first axis in this order."""

    def change(name: str, array: np.ndarray) -> np.ndarray | None:
        is_gated = only in name and not ATTENTION.search(name) and array.ndim in (1, 2)
        if not is_gated or len(array) % len(order) or len(array) <= len(order):
            return None
        parts = np.split(array, len(order))
        return np.concatenate([parts[index] for index in order])

    return change


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(index) for index in range(len(order)))


def _without_candidate_bias(name: str, array: np.ndarray) -> np.ndarray | None:
    """A GRU's hidden bias with zeros in the last third."""
    if not (name.endswith("hidden_proj.bias") or "bias_hh" in name) or len(array) % 3:
        return None
    return np.concatenate([array[: -len(array) // 3], np.zeros_like(array[-len(array) // 3 :])])


def _has_four_gates(arrays: Arrays) -> bool:
    """True for the weights of a single LSTM, all 4 times as wide as its state."""
    return len({len(a) if a.ndim else 0 for a in arrays.values()}) == 1 and any(
        a.ndim == 2 and len(a) == 4 * a.shape[1] for a in arrays.values()
    )


QUERY, KEY = (
    re.compile(rf"(^|[._])(w_?|to_?)?({name}|{name[0]})(_?proj|_?lin(ear)?)?\.(weight|bias)$")
    for name in ("query", "key")
)
HEAD_SIZES = (*range(4, 33, 2), 40, 48, 64, 80, 96, 128)


def _has_queries_and_keys(arrays: Arrays) -> bool:
    return all(any(pattern.search(name) for name in arrays) for pattern in (QUERY, KEY))


def _rotary(size: int, is_split: bool) -> Callable[[str, np.ndarray], np.ndarray | None]:
    """Queries and keys with the pairs of each head split into two halves, or the halves interleaved into pairs."""

    def change(name: str, array: np.ndarray) -> np.ndarray | None:
        if not (QUERY.search(name) or KEY.search(name)) or len(array) % size:
            return None
        parts = (size // 2, 2) if is_split else (2, size // 2)
        return array.reshape(-1, *parts, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)

    return change


GATE_ORDERS, LSTM_ORDERS = (list(itertools.permutations(range(number)))[1:] for number in (3, 4))
WEIGHT_FLIPS = (
    Flip("D01", "square kernels transposed", weights=_square, undo=_square),
    Flip(
        "D01",
        "square parameters transposed",
        weights=_square_of_its_own,
        undo=_square_of_its_own,
        fix=("read the parameter as torch does, not its transpose", "read the parameter's transpose, as JAX does"),
    ),
    *(
        Flip("D03", f"gates stacked in the order {order}", weights=gates(order), undo=gates(_inverse(order)))
        for order in GATE_ORDERS
    ),
    *(
        Flip(
            "D03",
            f"gates stacked in the order {order}",
            weights=gates(order),
            undo=gates(_inverse(order)),
            fits=_has_four_gates,
        )
        for order in LSTM_ORDERS
    ),
    *(
        Flip(
            "D11",
            f"rotary pairs {what}, heads of {size}",
            weights=_rotary(size, is_split),
            undo=_rotary(size, not is_split),
            fits=_has_queries_and_keys,
        )
        for size in HEAD_SIZES
        for is_split, what in ((True, "interleaved, not in halves"), (False, "in halves, not interleaved"))
    ),
    Flip("D04", "no hidden bias in the candidate", weights=_without_candidate_bias, undo=_without_candidate_bias),
)


def changed_weights(arrays: Arrays, flip: Flip) -> Arrays:
    """The arrays that the flip changes, after the change."""
    if not flip.weights or not flip.fits(arrays):
        return {}
    found = {name: flip.weights(name, array) for name, array in arrays.items()}
    return {name: array for name, array in found.items() if array is not None}


# Inputs


def _inverted(name: str, array: np.ndarray) -> np.ndarray | None:
    return ~array if array.dtype == np.bool_ else None


INPUT_FLIPS = (
    Flip("D38", "boolean masks inverted", inputs=_inverted),
    *(  # inverted, a mask without padding hides everything
        Flip("D38", f"boolean masks inverted, and {what} where they hide everything", functions, inputs=_inverted)
        for what, functions in HIDDEN_ROWS.items()
    ),
)
