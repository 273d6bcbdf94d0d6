"""The running statistics that a pass in train mode changed in a torch module."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from crosscheck.recording.shadows import read
from crosscheck.recording.values import BIASED, Values
from shared.arrays import Arrays


def running_statistics(module: Any) -> Arrays:
    """Every float buffer by name, copied."""
    buffers = module.named_buffers() if isinstance(module, nn.Module) else ()
    return {name: read(buffer).copy() for name, buffer in buffers if buffer.is_floating_point()}


def changed_statistics(module: Any, before: Arrays) -> Arrays:
    """Buffers that differ from `before`."""
    now = running_statistics(module) if before else {}
    return {name: array for name, array in now.items() if not np.array_equal(array, before.get(name))}


def with_biased_variances(module: Any, values: Values) -> Values:
    """The values with, next to a batch norm's running variance, its biased counterpart."""
    changed = dict(values.statistics)
    for name, array in values.statistics.items():
        path, _, last = name.rpartition(".")
        layer = module.get_submodule(path)
        if last == "running_var" and isinstance(layer, _BatchNorm) and layer.momentum is not None:
            changed[name + BIASED] = array - _excess(layer.momentum, path, values.intermediates, array.dtype)
    return replace(values, statistics=changed)


def _excess(momentum: float, path: str, intermediates: Mapping[str, np.ndarray], dtype: np.dtype) -> np.ndarray:
    """How much a running variance exceeds, after all calls of a layer, the one computed from variances over n."""
    calls = itertools.chain([path], (f"{path}#{number}" for number in itertools.count(1)))
    found = itertools.takewhile(lambda batch: batch is not None, (intermediates.get(f"{call} in[0]") for call in calls))
    excess = np.zeros(())
    for batch in found:
        number = batch.size // batch.shape[1]
        variance = batch.astype(np.float64).var((0, *range(2, batch.ndim)), ddof=1)
        excess = (1 - momentum) * excess + momentum * variance / number
    return excess.astype(dtype)
