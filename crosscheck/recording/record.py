"""Records what one side computes, in memory or in a file that another machine compares with its own side."""

import functools
import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crosscheck.recording.arguments import Arguments
from crosscheck.recording.nesting import as_call, in_dtype, is_float, map_arguments, named_arrays
from crosscheck.recording.noise import Noise, measure_noise
from crosscheck.recording.precision import full_precision, xla_compiles
from crosscheck.recording.recording import PROOF_DTYPE, SIDES, Recording
from crosscheck.recording.side import Side, side_of
from crosscheck.recording.stopwatch import timed
from crosscheck.recording.values import WIDENED, Options, Values
from shared.arrays import Arrays
from shared.configs.validation import check_choice
from shared.errors import IsogradError

IMAGE_AXES = (4, 5)  # of a batch of images, or of volumes


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
    widen: bool = False,
    name: str | None = None,
    device: str | None = None,
) -> Recording:
    """Run one side on the inputs, keep everything that is compared, and write it to `path` if one is given.

    `side` is "torch" or "jax"; by default it is read from the module, and a plain function is torch's. `arguments` are
    keywords that only this side takes. The file can be compared on a machine that has only the other framework:
    `compare(path, jax_module)`.
    Raises IsogradError if the module refuses the inputs.
    """
    given, side = as_call(inputs), side or side_of(module)
    check_choice("side", side, SIDES)
    asked = Side.of(side, module, arguments, optimizer)
    options = Options(asked.dtype_under_test(given), train, gradients, device or asked.device, updates)
    options = replace(options, widen=WIDENED if widen else ())
    recording = run(replace(asked, title=name or asked.title), given, options)
    if path is not None:
        recording.save(path)
    return recording


def run(side: Side, arguments: Arguments, options: Options) -> Recording:
    """The recording of a side's module with its floats in the dtype under test."""
    evaluate = _module_of(side.name).evaluate
    given = rounded(side.with_own(arguments), options.dtype)
    if options.device == "cuda" and side.name == "torch":
        _open_gpu()
    if options.dtype == np.float16 and options.device == "cpu" and side.name == "jax":
        _check_float16()
    with full_precision(options.dtype == PROOF_DTYPE), _failures_in_one_sentence(side, given):
        values, noise = _evaluated(evaluate, side, given, options)
    values.inputs = _without(side.own, values.inputs, "")
    values.input_gradients = _without(side.own, values.input_gradients, "input ")
    shared = rounded(arguments, options.dtype)
    return Recording(side.name, side.title, options, values, versions(side.name), noise, shared)


def casts(side: Side, arguments: Arguments, options: Options) -> set[str]:
    """The dtypes of `options.widen` that a side's module casts to, or creates tensors in."""
    given = rounded(side.with_own(arguments), options.dtype)
    with full_precision(options.dtype == PROOF_DTYPE), _failures_in_one_sentence(side, given):
        return _module_of(side.name).casts(side.module, given, options)


def _evaluated(
    evaluate: Callable[..., Values], side: Side, given: Arguments, options: Options
) -> tuple[Values, Noise | None]:
    """The module's values, including timings, and the noise for torch below float64."""
    spent: dict[str, float] = {}
    with timed(spent, side.name):
        values = evaluate(side.module, given, options, side.optimizer)
    noise = None
    if side.name == "torch" and options.dtype != PROOF_DTYPE and options.noise_runs:
        with timed(spent, "noise"):
            noise = measure_noise(side.module, given, options, side.optimizer)
    values.seconds = {part: spent[part] for part in ("torch", "noise") if part in spent} | values.seconds
    return values, noise


def in_precision(options: Options) -> AbstractContextManager[None]:
    """The precision in which modules of these options are compared."""
    return full_precision(options.dtype == PROOF_DTYPE)


@contextmanager
def _failures_in_one_sentence(side: Side, given: Arguments) -> Iterator[None]:
    try:
        yield
    except IsogradError:
        raise
    except Exception as error:  # a user's module may raise anything
        reason = str(error).strip().partition("\n")[0]
        raise IsogradError(
            f"the {SIDES[side.name]} module {side.title} fails on these inputs: {type(error).__name__}: {reason}"
            f"{_about_channels(side, given)}"
        ) from error


def _about_channels(side: Side, given: Arguments) -> str:
    """What may help a JAX module that fails on images; empty for others."""
    has_images = any(is_float(array.dtype) and array.ndim in IMAGE_AXES for array in named_arrays(given).values())
    advice = "; if it takes channels last, give each side its own images with torch_arguments= and jax_arguments="
    return advice if side.name == "jax" and has_images else ""


def _check_float16() -> None:
    if not xla_compiles("float16"):
        raise IsogradError(
            "JAX can't compute in float16 on this processor: XLA finds no instructions that convert it (F16C); "
            "compare in bfloat16, or on a GPU"
        )


@functools.cache
def _open_gpu() -> None:
    """Open the GPU for autograd's own thread too; otherwise cuBLAS warns that it is not."""
    import torch

    torch.ones(1, device="cuda", requires_grad=True).exp().backward()


def _module_of(side: str) -> Any:
    try:
        return importlib.import_module(f"crosscheck.recording.{side}_side")
    except ImportError as error:
        raise IsogradError(
            f"the {SIDES[side]} module can't be run: {error}; install isograd[{side}], or record that side on a "
            "machine that has it and compare the file"
        ) from error


def _without(own: Mapping[str, Any], arrays: Arrays, prefix: str) -> Arrays:
    """The arrays without those of keywords that only one side takes."""
    return {n: array for n, array in arrays.items() if re.split(r"[.\[]", n.removeprefix(prefix))[0] not in own}


def rounded(arguments: Arguments, dtype: np.dtype) -> Arguments:
    """Float arrays in the dtype under test, the rest unchanged."""
    return map_arguments(lambda _, array: in_dtype(array, dtype), *arguments)


def versions(side: str) -> dict[str, str]:
    """Versions of one side's framework."""
    names = {"torch": ("torch",), "jax": ("jax", "flax")}[side]
    return {name: importlib.import_module(name).__version__ for name in names}
