"""Known layouts that turn one array into another: a transposed kernel, gates or heads in another order."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import nn

from crosscheck.flips.modules import GATE_ORDERS, LSTM_ORDERS, gates


def layouts_between(ours: np.ndarray, theirs: np.ndarray, heads: list[int]) -> Iterator[tuple[str, str]]:
    """Every known layout (row of the catalogue, words) that turns torch's array into JAX's."""
    for row, what, changed in _other_layouts(ours, heads):
        if changed.shape == theirs.shape and np.array_equal(changed, theirs):
            yield row, what


def _other_layouts(array: np.ndarray, heads: list[int]) -> Iterator[tuple[str, str, np.ndarray]]:
    if array.ndim == 2:
        yield "D01", "the kernel is transposed", array.T
        yield "D01", "the kernel is reshaped, not transposed", array.reshape(array.shape[::-1]).T
        yield "D01", "the kernel is reshaped, not transposed", array.T.reshape(array.shape)
        yield "D33", "the padding row is zero", np.concatenate([np.zeros_like(array[:1]), array[1:]])
    if array.ndim > 1:
        axis = array.ndim - 2
        yield "D35", "positions stand one place later", np.roll(array, 1, axis)
        yield "D35", "positions stand one place earlier", np.roll(array, -1, axis)
    if array.dtype == np.float64:
        yield "D53", "the numbers went through float32", array.astype(np.float32).astype(np.float64)
    if array.ndim == 1 and len(array) % 3 == 0:
        yield (
            "D04",
            "the hidden bias of the candidate is gone",
            np.concatenate([array[: -len(array) // 3], np.zeros(len(array) // 3, array.dtype)]),
        )
        yield "D04", "the bias is gone", np.zeros_like(array)
    if array.ndim > 2:
        for order in itertools.permutations(range(array.ndim)):
            yield "D02", f"the kernel's axes are in the order {order}", array.transpose(order)
    for order in (*GATE_ORDERS, *LSTM_ORDERS):
        changed = gates(order)("", array)
        if changed is not None:
            yield "D03", f"the gates are stacked in the order {order}", changed
    for number in heads:
        if array.ndim and len(array) % number == 0:
            parts = array.reshape(number, len(array) // number, *array.shape[1:])
            yield (
                "D09",
                "the heads stand inside each dimension, not around it",
                parts.swapaxes(0, 1).reshape(array.shape),
            )
            if len(array) // number % 2 == 0:
                pairs = parts.reshape(number, -1, 2, *array.shape[1:])
                yield "D11", "rotary pairs are interleaved", pairs.swapaxes(1, 2).reshape(array.shape)


def heads_of(module: Any) -> list[int]:
    """Numbers of heads that the module's layers speak of."""
    names = ("num_heads", "n_heads", "heads", "n_head", "nhead")
    layers = list(module.modules()) if isinstance(module, nn.Module) else []
    found = {getattr(layer, name) for layer in layers for name in names if isinstance(getattr(layer, name, None), int)}
    return sorted(found)
