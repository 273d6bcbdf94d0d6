"""Random rounding in a float64 run, to measure how much noise a lower precision must produce.

Every input and output of every arithmetic operation, forward and backward, is multiplied by 1 + d, with d uniform and
the unit roundoff of the lower precision as its standard deviation (Monte Carlo arithmetic: Parker 1997). Perturbing the
terms of a sum, and not only its result, preserves the noise of a sum that cancels. An operation with a sum inside is
taken apart, so that the sum is rounded as well. The spread of a few such runs is the noise that any honest
implementation in that precision shows, even where a gradient is zero in theory.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch.utils._python_dispatch import TorchDispatchMode

SPREAD = 3**0.5  # uniform on (-SPREAD, SPREAD) has standard deviation 1
EXACT = frozenset([  # operations that move numbers without rounding them
    "cat", "stack", "where", "embedding", "clone", "_to_copy", "copy", "index", "select_backward",
    "slice_backward", "index_select", "gather", "masked_fill", "zeros", "zeros_like", "new_zeros", "ones",
    "ones_like", "full", "full_like", "scalar_tensor", "arange", "empty_like", "_unsafe_view", "neg", "abs", "relu",
    "threshold_backward", "tril",
])  # fmt: skip
# Operations with a sum inside. Moving their operands alone cancels: a softmax's backward pass gives every row a sum of 0,
# whatever comes in, and what shifts all scores alike would have a gradient without the noise of the sum of each row.
APART = get_decompositions([
    torch.ops.aten._softmax, torch.ops.aten._softmax_backward_data, torch.ops.aten._log_softmax,
    torch.ops.aten._log_softmax_backward_data, torch.ops.aten.native_layer_norm,
    torch.ops.aten.native_layer_norm_backward,
])  # fmt: skip
WRITTEN = {"native_batch_norm": (3, 4)}  # positions of arguments written in place, which the schema does not declare


class RandomRounding(TorchDispatchMode):
    """Context in which every number entering or leaving an arithmetic operation moves by about `roundoff`."""

    def __init__(self, roundoff: float, seed: int):
        super().__init__()
        self.roundoff = roundoff
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if operation in APART:
            with self:
                return APART[operation](*args, **(kwargs or {}))
        name = operation._schema.name.removeprefix("aten::")
        if name in EXACT or operation.is_view or operation._schema.is_mutable:
            return operation(*args, **(kwargs or {}))
        written = WRITTEN.get(name, ())
        moved = [arg if place in written else _map_tensors(self.moved, arg) for place, arg in enumerate(args)]
        return _map_tensors(self.moved, operation(*moved, **(kwargs or {})))

    def moved(self, x: Tensor) -> Tensor:
        """x with every entry moved randomly by about its roundoff; integers and booleans are unchanged."""
        if not x.is_floating_point():
            return x
        spread = SPREAD * self.roundoff
        return x * torch.empty_like(x).uniform_(1 - spread, 1 + spread, generator=self.generator)


def _map_tensors(function: Callable[[Tensor], Tensor], result: Any) -> Any:
    if isinstance(result, Tensor):
        return function(result)
    if isinstance(result, tuple | list):
        return type(result)(_map_tensors(function, item) for item in result)
    return result
