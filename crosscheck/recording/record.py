"""What one side computes, on record: kept in memory, or in a file that another machine compares with its own side."""

import functools
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crosscheck.recording import recording_file
from crosscheck.recording.arguments import Arguments
from crosscheck.recording.nesting import as_call, is_float, map_arguments, named_arrays, to_host
from crosscheck.recording.noise import Noise, measure_noise
from crosscheck.recording.precision import full_precision
from crosscheck.recording.stopwatch import timed
from crosscheck.recording.values import Options, Values
from shared.arrays import Arrays
from shared.configs.validation import check_choice
from shared.errors import IsogradError

PROOF_DTYPE = np.dtype(np.float64)
SIDES = {"torch": "torch", "jax": "JAX"}
PACKAGES = {"torch": ("torch",), "jax": ("flax", "jax", "jaxlib")}


@dataclass
class Recording:
    """The values of one side ("torch" or "jax"), and the arguments that both sides are given, None if no file holds
    them; a torch recording below float64 carries the noise too."""

    side: str
    name: str
    options: Options
    values: Values
    versions: dict[str, str]
    noise: Noise | None = None
    arguments: Arguments | None = None

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, atomically."""
        recording_file.save(self, path)

    @staticmethod
    def load(path: str | Path) -> "Recording":
        """Read what `save` wrote; raises IsogradError if it is missing, damaged or of another version."""
        return Recording(**recording_file.load(path))


def record(
    module: Any,
    inputs: Any,
    path: str | Path | None = None,
    *,
    side: str | None = None,
    train: bool = False,
    gradients: bool = True,
    updates: int = 0,
    optimizer: Any = None,
    arguments: Mapping[str, Any] | None = None,
    name: str | None = None,
    device: str | None = None,
) -> Recording:
    """Run one side on the inputs, keep all that is compared, and write it to `path` if one is given.

    `side` is "torch" or "jax"; a module says itself which, a plain function is torch's. `arguments` are keywords that
    only this side takes. The file can be compared on a machine that has the other framework only:
    `compare(path, jax_module)`.
    Raises IsogradError if the module refuses the inputs.
    """
    given, side = as_call(inputs), side or side_of(module)
    check_choice("side", side, SIDES)
    options = Options(floating_dtype(module, given), train, gradients, device or device_of(module), updates)
    recording = run(side, module, given, options, name or title_of(module), optimizer, arguments)
    if path is not None:
        recording.save(path)
    return recording


def run(
    side: str,
    module: Any,
    arguments: Arguments,
    options: Options,
    name: str,
    optimizer: Any = None,
    own: Mapping[str, Any] | None = None,
) -> Recording:
    """The recording of a module with its floats in the dtype under test; `own` are keywords of this side only."""
    evaluate = _evaluator(side)
    shared, own = rounded(arguments, options.dtype), own or {}
    given = rounded(with_own(arguments, own), options.dtype)
    if options.device == "cuda" and side == "torch":
        _open_gpu()
    with full_precision(options.dtype == PROOF_DTYPE):
        try:
            spent: dict[str, float] = {}
            with timed(spent, side):
                values = evaluate(module, given, options, optimizer)
            needs_noise = side == "torch" and options.dtype != PROOF_DTYPE
            noise = None
            if needs_noise:
                with timed(spent, "noise"):
                    noise = measure_noise(module, given, options, optimizer)
        except IsogradError:
            raise
        except Exception as error:  # whatever a user's module raises
            reason = str(error).strip().partition("\n")[0]
            raise IsogradError(
                f"the {SIDES[side]} module {name} fails on these inputs: {type(error).__name__}: {reason}"
            ) from error
    values.seconds = {part: spent[part] for part in ("torch", "noise") if part in spent} | values.seconds
    values.inputs = _without(own, values.inputs, "")
    values.input_gradients = _without(own, values.input_gradients, "input ")
    return Recording(side, name, options, values, versions(side), noise, shared)


def with_own(arguments: Arguments, own: Mapping[str, Any] | None) -> Arguments:
    """The arguments of one side: those of both with its own keywords."""
    args, kwargs = arguments
    return args, {**kwargs, **to_host(dict(own or {}))}


@functools.cache
def _open_gpu() -> None:
    """Open the GPU for autograd's own thread too, where cuBLAS would warn that it is not."""
    import torch

    torch.ones(1, device="cuda", requires_grad=True).exp().backward()


def _evaluator(side: str) -> Any:
    try:
        return importlib.import_module(f"crosscheck.recording.{side}_side").evaluate
    except ImportError as error:
        raise IsogradError(
            f"the {SIDES[side]} module can't be run: {error}; install isograd[{side}], or record that side on a "
            "machine that has it, and give compare the file"
        ) from error


def _without(own: Mapping[str, Any], arrays: Arrays, prefix: str) -> Arrays:
    """The arrays without those of keywords that only one side takes."""
    return {n: array for n, array in arrays.items() if re.split(r"[.\[]", n.removeprefix(prefix))[0] not in own}


def rounded(arguments: Arguments, dtype: np.dtype) -> Arguments:
    """Float arrays in the dtype under test, the rest as it is."""
    return map_arguments(lambda _, array: array.astype(dtype) if is_float(array.dtype) else array, *arguments)


def side_of(module: Any) -> str:
    """ "torch" or "jax", by the classes that the module is made of; torch for a plain function."""
    return "jax" if is_module_of(module, "jax") else "torch"


def is_module_of(module: Any, side: str) -> bool:
    """True if the framework of that side made the module's class, or one of its bases."""
    kinds = type(module[0] if isinstance(module, tuple) and module else module).__mro__
    return any(kind.__module__.partition(".")[0] in PACKAGES[side] for kind in kinds)


def title_of(module: Any) -> str:
    """The name of the module's class, or of the function."""
    module = module[0] if isinstance(module, tuple) and module else getattr(module, "_orig_mod", module)
    return getattr(module, "__name__", type(module).__name__).replace("<lambda>", "function")


def versions(side: str) -> dict[str, str]:
    """Versions of one side's framework."""
    names = {"torch": ("torch",), "jax": ("jax", "flax")}[side]
    return {name: importlib.import_module(name).__version__ for name in names}


def floating_dtype(module: Any, arguments: Arguments) -> np.dtype:
    """The floating type under test: that of the first parameter, or of the first float input."""
    dtypes = [*parameter_dtypes(module), *(array.dtype for array in named_arrays(arguments).values())]
    return next(filter(is_float, dtypes), PROOF_DTYPE)


def parameter_dtypes(module: Any) -> list[np.dtype]:
    """The dtype of every parameter, in order."""
    if side_of(module) == "torch":
        parameters = list(module.parameters()) if hasattr(module, "parameters") else []
        if not parameters:
            return []
        from torch_impl.weights import to_numpy

        return [to_numpy(parameter.detach().flatten()[:1]).dtype for parameter in parameters]
    import jax

    from crosscheck.recording.jax_modules import parameters_of

    return [np.dtype(leaf.dtype) for leaf in jax.tree.leaves(parameters_of(module))]


def device_of(module: Any) -> str:
    """cpu or cuda: where the torch module's parameters are."""
    parameters = list(module.parameters()) if hasattr(module, "parameters") else []
    return parameters[0].device.type if parameters else "cpu"
