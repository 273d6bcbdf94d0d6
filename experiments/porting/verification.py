"""The proof of a port: the same bytes when read back, and the same outputs from both frameworks in float64."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.porting.formats import complete, framework_files
from shared.arrays import Arrays
from shared.example_inputs import example_inputs
from shared.lazy.arrays import LazyArrays
from shared.registry import Twin

SHOWN = ("output", "parameter gradient")


def is_identical(ours: LazyArrays, theirs: LazyArrays) -> bool:
    """Whether names, dtypes, shapes and bytes are all identical."""
    return ours.keys() == theirs.keys() and all(
        array.dtype == theirs[name].dtype
        and array.shape == theirs[name].shape
        and array.read().tobytes() == theirs[name].read().tobytes()
        for name, array in ours.items()
    )


def forward_differences(arrays: LazyArrays, twin: Twin, arguments: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Name, relative L2 difference and bound of every output, with the weights in both frameworks, in float64."""
    for own_format in ("torch", "orbax"):  # both frameworks are needed, torch imported first
        framework_files(own_format)
    crosscheck = importlib.import_module("crosscheck")
    wide = {name: np.asarray(array).astype(np.float64) for name, array in arrays.items()}
    with importlib.import_module("jax").enable_x64(True):
        pair = [_built(side, twin, arguments, wide) for side in ("torch", "jax")]
        inputs = example_inputs(twin, arguments=_with_defaults(twin, pair[0], arguments))
        report = crosscheck.compare(*pair, inputs)
    return [(_title(row), row.error, row.bound) for row in report.rows if row.kind in SHOWN]


def _built(side: str, twin: Twin, arguments: Mapping[str, Any], arrays: Arrays) -> Any:
    module = importlib.import_module(f"{side}_impl.build").build_twin(twin, arguments)
    importlib.import_module(f"{side}_impl.weights").load_arrays(module, arrays)
    return module


def _title(row: Any) -> str:
    return row.tensor if row.kind == "output" else f"{row.kind} of {row.tensor}"


def _with_defaults(twin: Twin, module: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    if twin.config is not None:
        return complete(twin, arguments)
    bound = inspect.signature(type(module)).bind(**arguments)
    bound.apply_defaults()
    return bound.arguments
