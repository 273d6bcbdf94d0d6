"""Buffers of equal names that hold different numbers: told where the two modules agree, since no output shows them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from crosscheck import criterion
from crosscheck.pairing.renaming import Rules, new_name
from crosscheck.recording.nesting import is_float
from crosscheck.recording.recording import PROOF_DTYPE
from crosscheck.recording.values import statistic_name
from shared.arrays import Arrays


def differing_buffers(torch_module: Any, jax_module: Any, rules: Rules) -> list[str]:
    """Names of the buffers that both modules have and that differ by more than rounding, in torch's order.

    Nothing if a side is a recording: it has no buffers.
    """
    if torch_module is None or jax_module is None:
        return []
    from torch.nn import Module

    from torch_impl.weights import to_numpy as from_torch

    buffers = torch_module.named_buffers() if isinstance(torch_module, Module) else ()
    ours = {name: from_torch(buffer) for name, buffer in buffers}
    flat = _variables(jax_module) if ours else {}
    names = {path: new_name(".".join(map(str, path)), rules) for path in flat}
    theirs: Arrays = {}
    for path, name in names.items():
        theirs |= dict.fromkeys((name, statistic_name(name)), np.asarray(flat[path]))  # or numpy's own
    return [name for name, array in ours.items() if name in theirs and _differ(array, theirs[name])]


def _variables(module: Any) -> Mapping[tuple[Any, ...], Any]:
    """All variables of a module besides its parameters, by path."""
    import flax.linen as nn
    from flax import nnx, traverse_util

    if isinstance(module, nnx.Module):
        found = nnx.to_flat_state(nnx.split(module, nnx.Param, nnx.RngState, ...)[3])
        return {path: getattr(variable, "get_value", lambda each=variable: each)() for path, variable in found}
    module, variables = module.unbind() if isinstance(module, nn.Module) else module
    trees = [tree for name, tree in variables.items() if name != "params"]
    return {path: array for tree in trees for path, array in traverse_util.flatten_dict(nn.meta.unbox(tree)).items()}


def _differ(ours: np.ndarray, theirs: np.ndarray) -> bool:
    if ours.shape != theirs.shape or not (is_float(ours.dtype) and is_float(theirs.dtype)):
        return not np.array_equal(ours, theirs)
    coarser = max(criterion.unit_roundoff(array.dtype) for array in (ours, theirs))
    allowed = max(criterion.PROOF, coarser if coarser > criterion.unit_roundoff(PROOF_DTYPE) else 0.0)
    return criterion.difference(ours, theirs) > criterion.NOISE_RATIO * allowed * criterion.norm(ours)
