"""The training state as arrays with canonical names: GROUP/NAME for every group of a run, and two counts.

Groups: weights, what the optimiser keeps under PyTorch's names (exp_avg, ...), average (of the weights), gradient_sum.
Frozen parameters appear in weights only: they have no gradients, and their average is the weight itself.
Counts: step (batches so far) and, where several batches make an update, gathered (the real rows in gradient_sum).
"""

from collections.abc import Mapping

import numpy as np

from shared.arrays import Arrays
from shared.configs.optimizer import OptimizerConfig, TrainingConfig
from shared.errors import IsogradError, WeightsError
from shared.initial_weights import Shapes, initial_weights
from shared.parameter_groups import trainable_shapes
from shared.weight_rules import check_names

WEIGHTS, AVERAGE, GRADIENT_SUM = "weights", "average", "gradient_sum"
STEP, GATHERED = "step", "gathered"
MASTER_DTYPES = {"float32": np.float32, "float64": np.float64, "bfloat16": np.float32}  # of weights, by that of a run


def groups_of(optimizer: OptimizerConfig, training: TrainingConfig, shapes: Shapes) -> dict[str, Shapes]:
    """The tensor shapes that a run holds in each group, weights first; only weights include frozen parameters."""
    averages = (AVERAGE,) if training.average_decay is not None else ()
    sums = (GRADIENT_SUM,) if training.accumulate > 1 else ()
    trainable = trainable_shapes(shapes, training.groups)
    return {WEIGHTS: shapes, **dict.fromkeys((*optimizer.state, *averages, *sums), trainable)}


def initial_arrays(
    groups: Mapping[str, Shapes], seed: int, dtype: np.dtype | type, given: Arrays | None = None
) -> Arrays:
    """The given weights, others by (seed, parameter name), which are their own average; all else zero."""
    weights = initial_weights(groups[WEIGHTS], seed, dtype)
    weights |= {name: array.astype(dtype) for name, array in (given or {}).items()}
    check_names(groups[WEIGHTS], weights, "the model")
    zeros = {name: np.zeros_like(array) for name, array in weights.items()}
    values = {group: weights if group in (WEIGHTS, AVERAGE) else zeros for group in groups}
    start = {group: {name: values[group][name] for name in shapes} for group, shapes in groups.items()}
    return join(start, step=0, gathered=np.zeros((), dtype))


def join(groups: Mapping[str, Arrays], step: int, gathered: np.ndarray | None = None) -> Arrays:
    """One flat dict of groups of arrays, the number of steps made, and the rows accumulated if gradients are summed."""
    named = {f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()}
    counts = {GATHERED: gathered} if GRADIENT_SUM in groups and gathered is not None else {}
    return {**named, **counts, STEP: np.array(step, np.int64)}


def split(
    arrays: Mapping[str, np.ndarray], groups: Mapping[str, Shapes], dtype: np.dtype | type, owner: str
) -> dict[str, Arrays]:
    """The groups of a flat dict; the inverse of `join`, less the counts.

    Raises WeightsError for names or shapes that do not fit `groups`, IsogradError for a different dtype or a bad step.
    """
    expected = {f"{group}/{name}": tuple(shape) for group in groups for name, shape in groups[group].items()}
    counts: dict[str, tuple[int, ...]] = {GATHERED: ()} if GRADIENT_SUM in groups else {}
    check_names({**expected, **counts, STEP: ()}, arrays, owner)
    _check_dtypes({name: arrays[name] for name in expected}, np.dtype(dtype), owner)
    if arrays[STEP].dtype.kind not in "iu" or arrays[STEP] < 0:
        raise WeightsError(f"the step of a training state is an integer of at least 0, got {arrays[STEP]!r}")
    return {group: {name: arrays[f"{group}/{name}"] for name in shapes} for group, shapes in groups.items()}


def _check_dtypes(arrays: Mapping[str, np.ndarray], dtype: np.dtype, owner: str) -> None:
    wrong = {name: str(array.dtype) for name, array in arrays.items() if array.dtype != dtype}
    if wrong:
        examples = ", ".join(f"{name} ({got})" for name, got in list(wrong.items())[:3])
        raise IsogradError(
            f"a training state of {owner} in {dtype} was expected, and {len(wrong)} of {len(arrays)} arrays have "
            f"another dtype, such as {examples}: "
            f"go on with --dtype {next(iter(wrong.values()))}, or convert the arrays to {dtype}"
        )
