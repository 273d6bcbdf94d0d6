"""Known layouts that turn one array into another: a transposed kernel, reordered gates or heads."""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from torch import nn

from crosscheck import criterion
from crosscheck.causes.flips.modules import ATTENTION, GATE_ORDERS, LSTM_ORDERS, gates
from shared.arrays import Arrays

HIDDEN = re.compile(r"hidden|recurrent|hh|h2h")  # names of a recurrent layer's hidden projection
CONV_TRANSPOSE = (
    "the kernel is flipped, with in and out swapped, as in Flax's ConvTranspose with transpose_kernel=False, "
    "which the layout 'flax.nnx.ConvTranspose' reads"
)


def layouts_between(
    ours: np.ndarray, theirs: np.ndarray, heads: list[int], name: str = ""
) -> Iterator[tuple[str, str]]:
    """Every known layout (catalogue row, words) that turns torch's array into JAX's, or JAX's into torch's.

    An array whose name suggests attention has no gates.
    """
    for array, other in ((ours, theirs), (theirs, ours)):
        for row, what, changed in _other_layouts(array, heads):
            is_named = row != "D03" or not ATTENTION.search(name)
            if is_named and changed.shape == other.shape and np.array_equal(changed, other):
                yield row, what


def merged_biases(ours: Arrays, theirs: Arrays, wrong: Sequence[str]) -> Iterator[tuple[str, str]]:
    """D04 if all wrong tensors are hidden biases of a GRU that lack the candidate's part on one side; D05 if they come
    in pairs that one side has summed into one of the two."""
    if wrong and all(_lacks_candidate(ours, theirs, name) for name in wrong):
        yield "D04", "the candidate's hidden bias is missing"
    layers = [name.rpartition(".")[0].rpartition(".")[0] for name in wrong]
    pairs = [[name for name, layer in zip(wrong, layers, strict=True) if layer == each] for each in set(layers)]
    if pairs and all(len(pair) == 2 and _are_merged(ours, theirs, pair) for pair in pairs):
        yield "D05", "two biases are summed into one"


def _lacks_candidate(ours: Arrays, theirs: Arrays, name: str) -> bool:
    """True if the biases are equal except that one side has zeros in the last third (three gates), or throughout."""
    kernel = ours.get(re.sub("bias", "weight", name))
    bias, other = (side[name] for side in (ours, theirs))
    if kernel is None or kernel.ndim != 2 or not HIDDEN.search(name) or len(bias) != 3 * kernel.shape[1]:
        return False
    kept = 2 * len(bias) // 3
    is_gone = any(not array[kept:].any() for array in (bias, other))
    return is_gone and (np.array_equal(bias[:kept], other[:kept]) or not (bias.any() and other.any()))


def _are_merged(ours: Arrays, theirs: Arrays, names: Sequence[str]) -> bool:
    sides = [[side[name] for name in names] for side in (ours, theirs)]
    are_alike = len({array.shape for side in sides for array in side}) == 1 and sides[0][0].ndim == 1
    has_zero = any(not array.any() for side in sides for array in side)
    return are_alike and has_zero and criterion.prove(sum(sides[0]), sum(sides[1]), 0.0).agrees  # type: ignore[arg-type]


def _other_layouts(array: np.ndarray, heads: list[int]) -> Iterator[tuple[str, str, np.ndarray]]:
    if array.dtype == ml_dtypes.bfloat16:
        yield "D16", "the bits of bfloat16 are interpreted as integers", array.view(np.int16).astype(array.dtype)
    yield from _other_rows(array)
    if array.dtype == np.float64:
        yield "D53", "the numbers were rounded to float32", array.astype(np.float32).astype(np.float64)
    yield from _other_axes(array)
    for order in (*GATE_ORDERS, *LSTM_ORDERS):
        changed = gates(order)("", array)
        if changed is not None:
            yield "D03", f"the gates are stacked in the order {order}", changed
    for number in heads:
        if array.ndim and len(array) % number == 0:
            yield from _other_heads(array, number)


def _other_rows(array: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """Layouts of a matrix: transposed or reshaped, with its padding row zeroed, or with its rows shifted by one."""
    if array.ndim == 2:
        yield "D01", "the kernel is transposed", array.T
        yield "D01", "the kernel is reshaped, not transposed", array.reshape(array.shape[::-1]).T
        yield "D01", "the kernel is reshaped, not transposed", array.T.reshape(array.shape)
        yield "D33", "the padding row is zero", np.concatenate([np.zeros_like(array[:1]), array[1:]])
    if array.ndim > 1:
        axis = array.ndim - 2
        yield "D35", "positions are shifted one place later", np.roll(array, 1, axis)
        yield "D35", "positions are shifted one place earlier", np.roll(array, -1, axis)


def _other_axes(array: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """Layouts of a convolution kernel."""
    if array.ndim > 2:
        for order in itertools.permutations(range(array.ndim)):
            yield "D02", f"the kernel's axes are in the order {order}", array.transpose(order)
        flipped = np.flip(array, tuple(range(2, array.ndim)))
        yield "D02", CONV_TRANSPOSE, flipped.swapaxes(0, 1)
        yield "D02", "the kernel is flipped, as between convolution and correlation", flipped


def _other_heads(array: np.ndarray, number: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """Layouts of a projection that is split into this many heads."""
    parts = array.reshape(number, len(array) // number, *array.shape[1:])
    yield "D09", "heads are the inner index of the width, not the outer one", parts.swapaxes(0, 1).reshape(array.shape)
    if len(array) // number % 2 == 0:
        pairs = parts.reshape(number, -1, 2, *array.shape[1:])
        yield "D11", "rotary pairs are interleaved", pairs.swapaxes(1, 2).reshape(array.shape)


def heads_of(module: Any) -> list[int]:
    """Head counts found among the attributes of the module's layers."""
    names = ("num_heads", "n_heads", "heads", "n_head", "nhead")
    layers = list(module.modules()) if isinstance(module, nn.Module) else []
    found = {getattr(layer, name) for layer in layers for name in names if isinstance(getattr(layer, name, None), int)}
    return sorted(found)
