"""Mistakes made alike in both twins, which leave them equal: what the formula says decides."""

import numpy as np
from proofs import assert_proven

import crosscheck
from crosscheck.faults.fault import Fault
from crosscheck.recording import torch_side
from crosscheck.recording.nesting import as_call
from crosscheck.recording.precision import full_precision
from crosscheck.recording.values import Options
from crosscheck.twins.formulas.table import evaluate
from shared.registry import TWINS
from torch_impl.weights import to_arrays


def pairs_of(faults: tuple[Fault, ...]) -> dict[str, Fault]:
    """The torch side of each mistake, by the name that both sides share."""
    return {fault.name.removesuffix("/torch"): fault for fault in faults if fault.side == "torch"}


def as_specified(fault: Fault) -> None:
    """Assert that the torch twin of a fault computes its formula in the fault's case and mode, in float64."""
    pair = crosscheck.build_pair(fault.twin, case=fault.case)
    weights = {} if TWINS[fault.twin].function else to_arrays(pair.torch)
    options = Options(np.dtype("float64"), train=fault.mode == "train")
    with full_precision():
        ours = torch_side.evaluate(pair.torch, as_call(pair.inputs), options)
        assert_proven(ours, evaluate(fault.twin, weights, pair.inputs, options))
