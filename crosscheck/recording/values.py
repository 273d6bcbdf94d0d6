"""All values of one side as numpy arrays, under names that both sides share."""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from crosscheck.criterion import DRAWS
from crosscheck.recording.axis_order import in_their_order
from crosscheck.recording.nesting import in_dtype
from shared.arrays import Arrays
from shared.rng import Key, key_from_seed

STATISTICS = {"mean": "running_mean", "var": "running_var"}  # Flax's word -> torch's
NARROW = ("float32", "bfloat16", "float16")  # the float dtypes below float64
WIDENED = ("float32",)  # what `widen` reads as float64
BIASED = " (biased)"  # torch keeps unbiased batch variances, Flax biased ones (D22): both are accepted


class Call(NamedTuple):
    """One call of a module: its path, the path of the module whose code called it, and the enclosing call.

    `arguments` are the names, in the called function's signature, of the tensors that it is given, in the order of
    their numbers; `accepts` are all names in that signature.
    """

    path: str
    caller: str
    inside: str = ""
    arguments: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ()


@dataclasses.dataclass
class Values:
    """Everything that is compared of one side, under canonical names and layouts.

    Intermediates are the inputs and outputs of submodule calls, in order: "blocks.0.norm in[0]". Updates are the
    training state after some number of optimiser steps: "1/exp_avg/norm.weight". Statistics are running averages: in
    torch those that a pass in train mode changed, in JAX all of them: "norm.running_mean". Calls in `hidden` ran
    inside a framework loop, where tensors are not visible. `captured` holds the calls that can be repeated, and no file
    does. `seconds` holds timings by phase.
    """

    inputs: Arrays = dataclasses.field(default_factory=dict)
    parameters: Arrays = dataclasses.field(default_factory=dict)
    intermediates: Arrays = dataclasses.field(default_factory=dict)
    outputs: Arrays = dataclasses.field(default_factory=dict)
    input_gradients: Arrays = dataclasses.field(default_factory=dict)
    intermediate_gradients: Arrays = dataclasses.field(default_factory=dict)
    parameter_gradients: Arrays = dataclasses.field(default_factory=dict)
    statistics: Arrays = dataclasses.field(default_factory=dict)
    updates: Arrays = dataclasses.field(default_factory=dict)
    calls: dict[str, Call] = dataclasses.field(default_factory=dict)
    hidden: list[str] = dataclasses.field(default_factory=list)
    captured: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)


ARRAY_FIELDS = tuple(
    field.name for field in dataclasses.fields(Values) if field.name not in ("calls", "hidden", "captured", "seconds")
)


@dataclasses.dataclass(frozen=True)
class Options:
    """How both sides run: `dtype` is the one under test, `updates` counts optimiser steps, `method` is the one called,
    `cotangents` replaces the random numbers that multiply the outputs, `shapes` are those that the other side's outputs
    have, `unrolled` unrolls JAX's loops, `noise_runs`
    counts runs with random rounding, `optimize` lets XLA optimise its machine code, `widen` names the dtypes that a
    module's parameters and casts have in float64 instead, `rounding_seed` lets JAX's steps round at random,
    and a torch run ends as soon as it has recorded the intermediate `until`."""

    dtype: np.dtype
    train: bool = False
    gradients: bool = True
    device: str = "cpu"
    updates: int = 0
    method: str = "forward"
    dropout_key: Key = key_from_seed(0)
    cotangents: Mapping[str, np.ndarray] | None = None
    unrolled: bool = False
    noise_runs: int = DRAWS
    optimize: bool = True
    widen: tuple[str, ...] = ()
    rounding_seed: int | None = None
    until: str = ""
    shapes: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)


def cotangent(name: str, shape: tuple[int, ...], dtype: np.dtype, options: Options) -> np.ndarray:
    """Fixed random numbers by output name, rounded to the dtype under test, so that no direction goes untested.

    `options.cotangents` takes precedence. An output whose axes are in another order than the other side's gets the
    other side's numbers in its own order.
    """
    if options.cotangents is not None:
        given = options.cotangents.get(name, np.zeros(shape))
        found = in_their_order(given, shape)
        return np.zeros(shape, dtype) if found is None else in_dtype(found, options.dtype).astype(dtype)
    found = in_their_order(_drawn(name, options.shapes.get(name, shape), dtype), shape)
    return in_dtype(_drawn(name, shape, dtype) if found is None else found, options.dtype).astype(dtype)


def _drawn(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    drawn = generator.standard_normal(shape)
    return drawn + 1j * generator.standard_normal(shape) if dtype.kind == "c" else drawn


def statistic_name(name: str) -> str:
    """A running statistic under torch's name: "norm.mean" -> "norm.running_mean"."""
    owner, dot, last = name.rpartition(".")
    return f"{owner}{dot}{STATISTICS.get(last, last)}"
