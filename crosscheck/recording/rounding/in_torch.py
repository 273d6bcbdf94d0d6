"""A context in which torch's operations in float64 round at random. Sibling: in_jax.py."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

HALF_A_UNIT = torch.finfo(torch.float64).eps / 2
EXACT = {  # operations that never round
    "cat", "stack", "clone", "copy", "index", "gather", "embedding", "index_select", "where", "masked_fill",
    "repeat", "flip", "roll", "relu", "threshold", "abs", "neg", "maximum", "minimum", "clamp", "constant_pad_nd",
    "zeros", "ones", "full", "arange", "fill", "zero", "scatter", "empty_like", "zeros_like", "ones_like",
    "threshold_backward", "_to_copy", "new_zeros", "slice_backward", "select_backward", "max_pool2d_with_indices",
    "embedding_dense_backward",
}  # fmt: skip


class RoundedAtRandom(TorchDispatchMode):
    """Context in which the operands and results of every operation in float64 are off by up to half a unit."""

    def __init__(self, seed: int):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.overloadpacket.__name__
        if operation.is_view or name.rstrip("_") in EXACT or _writes(operation):
            return operation(*args, **(kwargs or {}))
        args = pytree.tree_map(self._moved, args)
        return pytree.tree_map(self._moved, operation(*args, **(kwargs or {})))

    def _moved(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.dtype != torch.float64 or leaf.device.type != "cpu":
            return leaf
        random = torch.empty_like(leaf).uniform_(-1, 1, generator=self.generator)
        return leaf * (1 + random * HALF_A_UNIT)


def _writes(operation: Any) -> bool:
    return any(each.alias_info is not None and each.alias_info.is_write for each in operation._schema.arguments)
