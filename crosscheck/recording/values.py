"""What one side computes, as numpy arrays under names that both sides share."""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from shared.arrays import Arrays
from shared.rng import Key, key_from_seed

STATISTICS = {"mean": "running_mean", "var": "running_var"}  # Flax's word -> torch's
BIASED = " (biased)"  # torch keeps the unbiased variance of a batch, Flax the biased one (D22): either is accepted


class Call(NamedTuple):
    """One call of a module: its path, the path of the module whose code made it, and the call inside which that was."""

    path: str
    caller: str
    inside: str = ""


@dataclasses.dataclass
class Values:
    """Everything of one side that is compared, in canonical names and layouts.

    Intermediates are what goes in and out of the calls of submodules, in order: "blocks.0.norm in[0]". Updates are the
    training state after a number of optimiser steps: "1/exp_avg/norm.weight". Statistics are the running averages that
    a pass in train mode has changed in torch, and all that there are in JAX: "norm.running_mean". Calls in `hidden` ran
    inside a loop of the framework's, where no tensor can be seen. `seconds` says what took how long.
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
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)


ARRAY_FIELDS = tuple(
    field.name for field in dataclasses.fields(Values) if field.name not in ("calls", "hidden", "seconds")
)


@dataclasses.dataclass(frozen=True)
class Options:
    """How both sides are run: `dtype` is the one under test, `updates` counts optimiser steps, `method` is called,
    `cotangents` stand in for the random numbers that the outputs are multiplied by, `unrolled` writes JAX's loops out,
    `noise_runs` counts the runs with random roundings, and `optimize` lets XLA optimise its machine code."""

    dtype: np.dtype
    train: bool = False
    gradients: bool = True
    device: str = "cpu"
    updates: int = 0
    method: str = "forward"
    dropout_key: Key = key_from_seed(0)
    cotangents: Mapping[str, np.ndarray] | None = None
    unrolled: bool = False
    noise_runs: int = 12
    optimize: bool = True


def cotangent(name: str, shape: tuple[int, ...], dtype: np.dtype, options: Options) -> np.ndarray:
    """Fixed random numbers by output name, rounded to the dtype under test, so that no direction is blind.

    Those that the options give come first.
    """
    if options.cotangents is not None:
        given = options.cotangents.get(name)
        return np.zeros(shape, dtype) if given is None else given.astype(options.dtype).astype(dtype)
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return generator.standard_normal(shape).astype(options.dtype).astype(dtype)


def statistic_name(name: str) -> str:
    """A running statistic under torch's word for it: "norm.mean" -> "norm.running_mean"."""
    owner, dot, last = name.rpartition(".")
    return f"{owner}{dot}{STATISTICS.get(last, last)}"
