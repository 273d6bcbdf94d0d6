"""Known layouts that turn one array into another: a transposed kernel, gates or heads in another order."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from torch import nn

from crosscheck import criterion
from crosscheck.flips.modules import GATE_ORDERS, LSTM_ORDERS, gates
from crosscheck.values import Arrays


def layouts_between(ours: np.ndarray, theirs: np.ndarray, heads: list[int]) -> Iterator[tuple[str, str]]:
    """Every known layout (row of the catalogue, words) that turns torch's array into JAX's, or JAX's into torch's."""
    for array, other in ((ours, theirs), (theirs, ours)):
        for row, what, changed in _other_layouts(array, heads):
            if changed.shape == other.shape and np.array_equal(changed, other):
                yield row, what


def merged_biases(ours: Arrays, theirs: Arrays, wrong: Sequence[str]) -> Iterator[tuple[str, str]]:
    """D05, if all wrong tensors are biases in pairs, which one side has added up into one of the two."""
    layers = [name.rpartition(".")[0].rpartition(".")[0] for name in wrong]
    pairs = [[name for name, layer in zip(wrong, layers, strict=True) if layer == each] for each in set(layers)]
    if pairs and all(len(pair) == 2 and _are_merged(ours, theirs, pair) for pair in pairs):
        yield "D05", "two biases are added up into one"


def _are_merged(ours: Arrays, theirs: Arrays, names: Sequence[str]) -> bool:
    sides = [[side[name] for name in names] for side in (ours, theirs)]
    are_alike = len({array.shape for side in sides for array in side}) == 1 and sides[0][0].ndim == 1
    has_zero = any(not array.any() for side in sides for array in side)
    return are_alike and has_zero and criterion.prove(sum(sides[0]), sum(sides[1]), 0.0).agrees  # type: ignore[arg-type]


def _other_layouts(array: np.ndarray, heads: list[int]) -> Iterator[tuple[str, str, np.ndarray]]:
    if array.dtype == ml_dtypes.bfloat16:
        yield "D16", "the bits of bfloat16 are read as integers", array.view(np.int16).astype(array.dtype)
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
