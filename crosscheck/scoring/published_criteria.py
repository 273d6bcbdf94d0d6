"""Criteria that other projects publish for parity between two frameworks, applied to the same values as ours.

Each decides whether a pair passes, with the project's own thresholds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from crosscheck.recording.nesting import is_float
from crosscheck.recording.values import Options, Values, cotangent
from shared.arrays import Arrays

Passes = Callable[[Values, Values], bool]


@dataclass(frozen=True)
class Criterion:
    """A project's acceptance criterion; `source` says where it is published."""

    name: str
    rule: str
    source: str
    passes: Passes


PUBLISHED_DTYPES = (
    "float64",
    "float32",
)  # they are published for float32; float64 only makes it easier for them
# Each number is published by the project itself, and kept here to show what it lets through.
HF_TIGHT, HF_LOOSE, BONSAI, PADIFF, LEVANTER, MAXTEXT, ALGOPERF, EQX = 1e-5, 4e-2, 1e-3, 1e-7, 1e-2, 0.015, 1.0, 1e-4


def _floats(ours: Arrays, theirs: Arrays) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of float tensors in float64; none for unequal shapes."""
    for name, array in ours.items():
        if name in theirs and is_float(array.dtype) and array.shape == theirs[name].shape and array.size:
            yield array.astype(np.float64), theirs[name].astype(np.float64)


def _outputs_within(absolute: float, relative: float = 0.0) -> Passes:
    def passes(ours: Values, theirs: Values) -> bool:
        return all(
            (np.abs(a - b) <= absolute + relative * np.abs(b)).all() for a, b in _floats(ours.outputs, theirs.outputs)
        )

    return passes


def _gradients_close(ours: Values, theirs: Values) -> bool:
    pairs = _floats(ours.parameter_gradients, theirs.parameter_gradients)
    return all((np.abs(a - b) <= LEVANTER + LEVANTER * np.abs(b)).all() for a, b in pairs)


def _means_close(ours: Values, theirs: Values) -> bool:
    tensors = [{**side.outputs, **side.parameter_gradients} for side in (ours, theirs)]
    return all(abs(a.mean() - b.mean()) <= PADIFF * abs(b.mean()) for a, b in _floats(*tensors))


def _gradients_in_l2(ours: Values, theirs: Values) -> bool:
    pairs = _floats(ours.parameter_gradients, theirs.parameter_gradients)
    return all(np.linalg.norm(a - b) <= EQX * np.linalg.norm(b) for a, b in pairs)


def _divergence_of_logits(ours: Values, theirs: Values) -> bool:
    """The largest Kullback-Leibler divergence of the softmax over the last axis."""
    for a, b in _floats(ours.outputs, theirs.outputs):
        if a.ndim:
            log_a, log_b = (x - np.logaddexp.reduce(x, axis=-1, keepdims=True) for x in (a, b))
            if not (np.exp(log_a) * (log_a - log_b)).sum(axis=-1).max() < MAXTEXT:
                return False
    return True


def _loss_and_norm(ours: Values, theirs: Values) -> bool:
    """Relative error of the loss and of the gradient norm."""
    pairs = zip(_scalars(ours), _scalars(theirs), strict=True)
    return all(abs(a - b) <= ALGOPERF * abs(b) for a, b in pairs)


def _scalars(values: Values) -> tuple[float, float]:
    options = Options(np.dtype(np.float64))
    outputs = {name: array for name, array in values.outputs.items() if is_float(array.dtype)}
    loss = sum(float((a * cotangent(name, a.shape, a.dtype, options)).sum()) for name, a in outputs.items())
    gradients = [gradient.astype(np.float64).ravel() for gradient in values.parameter_gradients.values()]
    return loss, float(np.linalg.norm(np.concatenate(gradients))) if gradients else 0.0


# fmt: off
CRITERIA = (
    Criterion("Hugging Face, tight", "outputs within 1e-5",
              "transformers v4, tests of Flax models", _outputs_within(HF_TIGHT)),
    Criterion("Hugging Face, usual", "outputs within 4e-2",
              "transformers v4, test_modeling_flax_common", _outputs_within(HF_LOOSE)),
    Criterion("Bonsai", "outputs within 1e-3, relative and absolute",
              "jax-ml/bonsai, tests", _outputs_within(BONSAI, BONSAI)),
    Criterion("PaDiff", "means of outputs and gradients within 1e-7",
              "PaddlePaddle/PaDiff, compare_mode mean", _means_close),
    Criterion("Levanter", "gradients within 1e-2, relative and absolute",
              "stanford-crfm/levanter, tests", _gradients_close),
    Criterion("MaxText", "divergence of the softmax below 0.015",
              "AI-Hypercomputer/maxtext, forward_pass_logit_checker", _divergence_of_logits),
    Criterion("AlgoPerf", "loss and gradient norm within 100 %",
              "mlcommons/algorithmic-efficiency, tests/modeldiffs", _loss_and_norm),
    Criterion("eqx-zoo", "gradients within 1e-4 in relative L2",
              "eqx-zoo, tests", _gradients_in_l2),
)
# fmt: on
