"""The running statistics that a pass in train mode changed in a torch module."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from crosscheck.recording.values import BIASED
from shared.arrays import Arrays
from torch_impl.weights import to_numpy


def running_statistics(module: Any) -> Arrays:
    """Every float buffer by name, copied."""
    buffers = module.named_buffers() if isinstance(module, nn.Module) else ()
    return {name: to_numpy(buffer).copy() for name, buffer in buffers if buffer.is_floating_point()}


def changed_statistics(module: Any, before: Arrays, intermediates: Mapping[str, np.ndarray]) -> Arrays:
    """Buffers that differ from `before`; next to a batch norm's running variance, its biased counterpart."""
    now = running_statistics(module) if before else {}
    changed = {name: array for name, array in now.items() if not np.array_equal(array, before.get(name))}
    for name in list(changed):
        path, _, last = name.rpartition(".")
        layer = module.get_submodule(path)
        if last == "running_var" and isinstance(layer, _BatchNorm) and layer.momentum is not None:
            changed[name + BIASED] = changed[name] - _excess(layer.momentum, path, intermediates, changed[name].dtype)
    return changed


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
