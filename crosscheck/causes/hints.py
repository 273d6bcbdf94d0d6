"""What to look at first when two modules disagree: one sentence for each way in which they do, as a table."""

from collections.abc import Callable
from typing import Any

import numpy as np

from crosscheck import criterion
from crosscheck.judging.rows import KIND, Row
from crosscheck.report import Report

Both = tuple[np.ndarray, np.ndarray]
HALF_OF_FLOAT32 = float(np.finfo(np.float32).eps) ** 0.5  # half of the digits: what roundings grow to, no more

PHASES = {
    "inputs": "the two sides are given other numbers: JAX holds 32 bits unless jax_enable_x64 is on",
    "parameters": "load the same weights on both sides before comparing (jax_impl.load_arrays, torch_impl.to_arrays)",
    "forward": "everything before this tensor agrees: look at the code and the arguments of {module} (eps, approximate "
    "GELU, axis of a softmax, polarity of a mask, a missing bias, unbiased variance)",
    "input gradient": "all outputs agree, so a gradient is stopped or a kink is passed another way: look for detach, "
    "no_grad and stop_gradient in {module}",
    "parameter gradient": "all outputs agree, so some weights get no gradient on one side: look for frozen or tied "
    "weights, detach, stop_gradient and padding_idx in {module}",
    "update": "all gradients agree: compare the optimisers' settings (weight decay, eps, bias correction, schedule)",
}


def hint(report: Report) -> str:
    """One sentence about the first divergence of a report that disagrees."""
    row, found = report.first_row, report.first_divergence
    if row is None or found is None:
        return "the difference is in a tensor that no single module makes: look at the rows"
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
    """One side of a float64 pair holds float32's numbers, and the gap is what rounding to them can make."""
    rounded = [array.any() and np.array_equal(array, array.astype(np.float32)) for array in both]
    return all(array.dtype == np.float64 for array in both) and any(rounded) and row.error < HALF_OF_FLOAT32


HINTS: tuple[tuple[Callable[[Row, Any], bool], str], ...] = (
    (
        lambda row, both: row.kind == "running statistic",
        "outputs and gradients agree, but a batch is averaged in with another weight: torch's momentum weighs the new "
        "batch, Flax's the old average, so momentum=0.1 in torch is momentum=0.9 in Flax",
    ),
    (
        lambda row, both: row.is_nan_in_both,
        "NaN agrees with nothing, not with itself: find what makes it (a fully masked row, a division by zero, the "
        "gradient of a root at 0) and mend it on both sides",
    ),
    (
        lambda row, both: _finite(both[0]) != _finite(both[1]),
        "only one side is not finite: look for a fully masked row, an overflow, a division by zero or a root at 0",
    ),
    (
        lambda row, both: row.kind == "parameter" and _is_transposed(both),
        "one is the other transposed: a Flax kernel is (in, out), a torch weight (out, in)",
    ),
    (
        lambda row, both: row.shape != row.jax_shape,
        "the shapes differ: look at the order of the axes, at keepdims, and at squeezed or broadcast axes",
    ),
    (
        lambda row, both: row.kind != "parameter" and _has_the_same_numbers(both),
        "both sides hold the same numbers in another order: look for a reshape without a transpose (channels first or "
        "last before a flatten, heads, groups) and for a roll or a flip",
    ),
    (
        lambda row, both: _is_the_other_way_round(both),
        "one mask is the other way round: turn it, or, if one side says what to hide and the other what to keep, look "
        "at the code that reads it",
    ),
    (
        lambda row, both: _is_zero(both[0]) != _is_zero(both[1]) and "gradient" in row.kind,
        "one side has no gradient here at all: look for detach, no_grad, requires_grad=False or stop_gradient",
    ),
    (
        _in_float32,
        "one side computes in float32 here: build its layers in float64 (param_dtype, and nnx.Embed keeps the dtype of "
        "its construction), and make constants in the dtype of the inputs",
    ),
)
