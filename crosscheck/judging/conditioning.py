"""Tells an ill-conditioned computation from a mistake: how far both sides move in float64 if every step rounds at
random.

A saturated tanh inside a logarithm loses digits in either code, a variance as E[x^2] - E[x]^2 only in its own. What
moves by more than the proof allows on both sides is held to the noise rule, as in shorter dtypes; all else stays with
the proof.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from crosscheck import criterion
from crosscheck.judging.judge import Scale
from crosscheck.judging.rows import KIND, Row
from crosscheck.pairing.comparison import Comparison
from crosscheck.pairing.layouts import canonical
from crosscheck.recording import record
from crosscheck.recording.recording import PROOF_DTYPE, Recording

RUNS = 4
MOST = 2.0**-12  # derived: half of float32's digits; a larger gap is no rounding in float64
EXACT = {  # operations that never round
    "cat", "stack", "clone", "copy", "index", "gather", "embedding", "index_select", "where", "masked_fill",
    "repeat", "flip", "roll", "relu", "threshold", "abs", "neg", "maximum", "minimum", "clamp", "constant_pad_nd",
    "zeros", "ones", "full", "arange", "fill", "zero", "scatter", "empty_like", "zeros_like", "ones_like",
    "threshold_backward", "_to_copy", "new_zeros", "slice_backward", "select_backward", "max_pool2d_with_indices",
    "embedding_dense_backward",
}  # fmt: skip
DECIDED = "float64 under random rounding"


def ill_conditioned(rows: Sequence[Row], comparison: Comparison, ours: Recording, theirs: Recording) -> list[Row]:
    """The rows with those that only rounding explains as agreeing: the error is below what random rounding moves."""
    errors = [row.error for row in rows if not row.agrees and not KIND[row.kind].is_inside]
    can_run = all(side.recorded is None for side in (comparison.ours, comparison.theirs))
    can_run &= comparison.options.dtype == PROOF_DTYPE
    if not can_run or not errors or max(errors) > MOST:
        return list(rows)
    moved = [_shaken(comparison, seed) for seed in range(RUNS)]
    scale = Scale.of(ours.values)
    found = [row if row.agrees else _judged(row, moved, ours, theirs, scale) for row in rows]
    if not all(row.agrees for row in found if not KIND[row.kind].is_inside):
        return list(rows)
    options = [replace(comparison.options, rounding_seed=seed) for seed in range(RUNS // 2)]
    other = [replace(comparison, options=each).jax_recording(ours) for each in options]
    both = zip(rows, found, strict=True)
    return [new if old.agrees else _judged(old, other, theirs, ours, scale, new) for old, new in both]


def _shaken(comparison: Comparison, seed: int) -> Recording:
    with RoundedAtRandom(seed):
        return canonical(record.run(comparison.ours, comparison.arguments, comparison.options), comparison.layouts)


def _judged(
    row: Row,
    moved: Sequence[Recording],
    ours: Recording,
    theirs: Recording,
    scale: Scale,
    judged: Row | None = None,
) -> Row:
    """The row held to the movement of one side; with `judged`, that of the other side: as it is, or as judged."""
    field = KIND[row.kind].attribute
    exact, other = (getattr(side.values, field)[row.tensor] for side in (ours, theirs))
    if exact.shape != other.shape:
        return row
    movement = max(criterion.movement(getattr(each.values, field)[row.tensor], exact) for each in moved)
    floor = scale.floor(field, row.tensor)
    verdict = criterion.compare_noise(exact, other, floor, exact, movement, criterion.unit_roundoff(PROOF_DTYPE))
    if not verdict.agrees or verdict.bound <= criterion.PROOF:
        return row
    if judged is not None:
        return judged
    return replace(
        row,
        error=verdict.error,
        bound=verdict.bound,
        sensitivity=verdict.sensitivity,
        decided_in=DECIDED,
        statistics=(),
    )


class RoundedAtRandom(TorchDispatchMode):
    """Context in which the operands and results of every operation in float64 are off by up to half a unit."""

    def __init__(self, seed: int):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.overloadpacket.__name__
        if operation.is_view or name.rstrip("_") in EXACT or _writes(operation):
            return operation(*args, **(kwargs or {}))
        args = pytree.tree_map(self._moved, args)
        return pytree.tree_map(self._moved, operation(*args, **(kwargs or {})))

    def _moved(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.dtype != torch.float64 or leaf.device.type != "cpu":
            return leaf
        random = torch.empty_like(leaf).uniform_(-1, 1, generator=self.generator)
        return leaf * (1 + random * criterion.unit_roundoff(PROOF_DTYPE))


def _writes(operation: Any) -> bool:
    return any(each.alias_info is not None and each.alias_info.is_write for each in operation._schema.arguments)
