"""Hints on where to look first when two modules disagree: a table with one sentence per kind of disagreement."""

from collections.abc import Callable
from typing import Any

import numpy as np

from crosscheck import criterion
from crosscheck.judging.rows import KIND, Row
from crosscheck.report import Report

Both = tuple[np.ndarray, np.ndarray]
HALF_OF_FLOAT32 = float(np.finfo(np.float32).eps) ** 0.5  # half of the digits: accumulated rounding gets no larger

PHASES = {
    "inputs": "the two sides receive different numbers: JAX truncates to 32 bits unless jax_enable_x64 is on",
    "parameters": "give both sides the same weights first: crosscheck.copy_weights(torch_module, jax_module)",
    "forward": "everything before this tensor agrees: check the code and the arguments of {module} (eps, approximate "
    "GELU, softmax axis, mask polarity, a missing bias, unbiased variance)",
    "input gradient": "all outputs agree, so a gradient is stopped or a kink is handled differently: look for detach, "
    "no_grad and stop_gradient in {module}",
    "parameter gradient": "all outputs agree, so some weights get no gradient on one side: look for frozen or tied "
    "weights, detach, stop_gradient and padding_idx in {module}",
    "update": "all gradients agree: compare the optimiser settings (weight decay, eps, bias correction, schedule)",
}


def hint(report: Report) -> str:
    """One sentence about the first divergence of a report that disagrees."""
    row, found = report.first_row, report.first_divergence
    if row is None or found is None:
        return "the difference is in a tensor that no single module produces: inspect the rows"
    both = _arrays(report, row)
    for applies, text in HINTS:
        if both is not None and applies(row, both):
            return text
    return PHASES[found.phase].format(module=found.module)


def _arrays(report: Report, row: Row) -> Both | None:
    """Both sides' tensor of a row."""
    if report.recordings is None:
        return None
    ours, theirs = (getattr(each.values, KIND[row.kind].attribute) for each in report.recordings)
    return (ours[row.tensor], theirs[row.tensor]) if row.tensor in ours and row.tensor in theirs else None


def _finite(array: np.ndarray) -> bool:
    return bool(np.isfinite(array.astype(np.float64)).all())


def _is_zero(array: np.ndarray) -> bool:
    return array.size > 0 and not array.any()


def _has_the_same_numbers(both: Both) -> bool:
    ours, theirs = (np.sort(array, axis=None) for array in both)
    is_told = ours.dtype == np.float64 and ours.size > 1 and ours.shape == theirs.shape and _finite(ours)
    return is_told and criterion.prove(ours, theirs, 0.0).agrees


def _is_transposed(both: Both) -> bool:
    ours, theirs = both
    return ours.ndim == 2 and ours.shape == theirs.shape[::-1] and np.array_equal(ours, theirs.T)


def _is_the_other_way_round(both: Both) -> bool:
    return all(array.dtype == np.bool_ for array in both) and np.array_equal(both[0], ~both[1])


def _in_float32(row: Row, both: Both) -> bool:
    """One side of a float64 pair holds float32 numbers, and the gap is within float32 rounding."""
    rounded = [array.any() and np.array_equal(array, array.astype(np.float32)) for array in both]
    return all(array.dtype == np.float64 for array in both) and any(rounded) and row.error < HALF_OF_FLOAT32


HINTS: tuple[tuple[Callable[[Row, Any], bool], str], ...] = (
    (
        lambda row, both: row.kind == "running statistic",
        "outputs and gradients agree, but the running average is weighted differently: torch's momentum is the weight "
        "of the new batch, Flax's that of the old average, so momentum=0.1 in torch is momentum=0.9 in Flax",
    ),
    (
        lambda row, both: row.is_nan_in_both,
        "NaN never equals itself: find its source (a fully masked row, a division by zero, the gradient of a square "
        "root at 0) and fix it on both sides",
    ),
    (
        lambda row, both: _finite(both[0]) != _finite(both[1]),
        "only one side is not finite: look for a fully masked row, an overflow, a division by 0 or a square root at 0",
    ),
    (
        lambda row, both: row.kind == "parameter" and _is_transposed(both),
        "one is the transpose of the other: a Flax kernel is (in, out), a torch weight (out, in)",
    ),
    (
        lambda row, both: row.shape != row.jax_shape,
        "the shapes differ: check the axis order, keepdims, and squeezed or broadcast axes",
    ),
    (
        lambda row, both: row.kind != "parameter" and _has_the_same_numbers(both),
        "both sides hold the same numbers in a different order: look for a reshape without a transpose (channels first "
        "or last before a flatten, heads, groups) and for a roll or a flip",
    ),
    (
        lambda row, both: _is_the_other_way_round(both),
        "one mask is the inverse of the other: invert it, or, if one side marks what to hide and the other what to "
        "keep, check the code that reads it",
    ),
    (
        lambda row, both: _is_zero(both[0]) != _is_zero(both[1]) and "gradient" in row.kind,
        "one side has no gradient here: look for detach, no_grad, requires_grad=False or stop_gradient",
    ),
    (
        _in_float32,
        "one side computes in float32 here: build its layers in float64 (param_dtype; nnx.Embed keeps the dtype it was "
        "constructed with), and create constants in the dtype of the inputs",
    ),
)
