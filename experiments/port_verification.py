"""The proof of a port: the same bytes when read again, and the same outputs of both frameworks in float64."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.weight_formats import Arrays, framework_files
from shared.registry import BATCH, STEPS, Inputs, Twin

TOKENS = ("inputs", "ids")  # the arguments that are token ids where they are integers


def is_identical(ours: Arrays, theirs: Arrays) -> bool:
    """Whether names, dtypes, shapes and bytes are all the same."""
    return ours.keys() == theirs.keys() and all(
        array.dtype == theirs[name].dtype
        and array.shape == theirs[name].shape
        and array.tobytes() == theirs[name].tobytes()
        for name, array in ours.items()
    )


def forward_differences(arrays: Arrays, twin: Twin, arguments: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Name, relative L2 difference and bound of every output, with the weights in both frameworks, in float64."""
    torch_files, jax_files = framework_files("torch"), framework_files("orbax")  # torch comes first in one process
    crosscheck = importlib.import_module("crosscheck")
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    with importlib.import_module("jax").enable_x64(True):
        pair = [files.build_twin(twin, arguments) for files in (torch_files, jax_files)]
        for side, module in zip(("torch", "jax"), pair, strict=True):
            importlib.import_module(f"{side}_impl.weights").load_arrays(module, wide)
        report = crosscheck.compare(*pair, inputs_for(twin, _with_defaults(pair[0], arguments)), gradients=False)
    return [(row.tensor, row.error, row.bound) for row in report.rows if row.kind == "output"]


def inputs_for(twin: Twin, arguments: Mapping[str, Any]) -> Inputs:
    """The registry's example inputs, made to fit other constructor arguments than the registry's own."""
    generator = np.random.default_rng(0)
    inputs = twin.inputs(generator, BATCH, min(STEPS, arguments.get("sequence_length", STEPS)))
    if all(arguments.get(name) == value for name, value in twin.arguments.items()):
        return inputs
    widths = {size: arguments[name] for name, size in twin.arguments.items() if type(size) is int}
    fitted = {}
    for name, array in inputs.items():
        is_float = array.dtype.kind == "f"
        if is_float and name not in twin.optional:
            shape = (*array.shape[:-1], widths.get(array.shape[-1]) or array.shape[-1])
            fitted[name] = generator.standard_normal(shape)
        elif not is_float:
            fitted[name] = array % arguments["vocabulary_size"] if name in TOKENS else array
    return fitted


def _with_defaults(module: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    bound = inspect.signature(type(module)).bind(**arguments)
    bound.apply_defaults()
    return bound.arguments
