"""The training state as arrays with canonical names: weights/NAME, exp_avg/NAME, exp_avg_sq/NAME and step."""

from collections.abc import Mapping

import numpy as np

from shared.errors import IsogradError, WeightsError
from shared.initial_weights import Shapes, initial_weights
from shared.weight_rules import check_names

Arrays = dict[str, np.ndarray]
GROUPS = ("weights", "exp_avg", "exp_avg_sq")  # Adam's first and second moments under PyTorch's names
STEP = "step"
MASTER_DTYPES = {"float32": np.float32, "float64": np.float64, "bfloat16": np.float32}  # of weights, by that of a run


def initial_arrays(shapes: Shapes, seed: int, dtype: np.dtype | type) -> Arrays:
    """Initial weights by (seed, parameter name), zero moments, step 0."""
    weights = initial_weights(shapes, seed, dtype)
    zeros = {name: np.zeros_like(array) for name, array in weights.items()}
    return join({"weights": weights, "exp_avg": zeros, "exp_avg_sq": zeros}, step=0)


def join(groups: Mapping[str, Arrays], step: int) -> Arrays:
    """One flat dict of groups of arrays and the number of updates made so far."""
    named = {f"{group}/{name}": array for group in GROUPS for name, array in groups[group].items()}
    return {**named, STEP: np.array(step, np.int64)}


def split(arrays: Mapping[str, np.ndarray], shapes: Shapes, dtype: np.dtype | type, owner: str) -> dict[str, Arrays]:
    """The groups of a flat dict; the inverse of `join`.

    Raises WeightsError for names or shapes that do not fit `shapes`, IsogradError for another dtype or a bad step.
    """
    expected = {f"{group}/{name}": tuple(shapes[name]) for group in GROUPS for name in shapes}
    check_names({**expected, STEP: ()}, arrays, owner)
    _check_dtypes({name: arrays[name] for name in expected}, np.dtype(dtype), owner)
    if arrays[STEP].dtype.kind not in "iu" or arrays[STEP] < 0:
        raise WeightsError(f"the step of a training state is an integer of at least 0, got {arrays[STEP]!r}")
    return {group: {name: arrays[f"{group}/{name}"] for name in shapes} for group in GROUPS}


def _check_dtypes(arrays: Mapping[str, np.ndarray], dtype: np.dtype, owner: str) -> None:
    wrong = {name: str(array.dtype) for name, array in arrays.items() if array.dtype != dtype}
    if wrong:
        examples = ", ".join(f"{name} ({got})" for name, got in list(wrong.items())[:3])
        raise IsogradError(
            f"a training state of {owner} in {dtype} was expected, and {len(wrong)} of {len(arrays)} arrays have "
            f"another dtype, such as {examples}: "
            f"go on with --dtype {next(iter(wrong.values()))}, or convert the arrays to {dtype}"
        )
