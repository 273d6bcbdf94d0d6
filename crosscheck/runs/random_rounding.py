"""Random rounding in a float64 run, to measure how much noise a lower precision must produce.

Every input and output of every arithmetic operation, forward and backward, is multiplied by 1 + d, with d uniform and
the unit roundoff of the lower precision as its standard deviation (Monte Carlo arithmetic: Parker 1997). Perturbing the
terms of a sum, and not only its result, preserves the noise of a sum that cancels; a softmax is taken apart, so that
the sums inside move as well. The spread of a few such runs is the noise that any honest implementation in that
precision shows, even where a gradient is zero in theory.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from crosscheck.recording.rounding.taken_apart import parts_of

SPREAD = 3**0.5  # uniform on (-SPREAD, SPREAD) has standard deviation 1
EXACT = frozenset([  # operations that move numbers without rounding them
    "cat", "stack", "where", "embedding", "clone", "_to_copy", "copy", "index", "select_backward",
    "slice_backward", "index_select", "gather", "masked_fill", "zeros", "zeros_like", "new_zeros", "ones",
    "ones_like", "full", "full_like", "scalar_tensor", "arange", "empty_like", "_unsafe_view", "neg", "abs", "relu",
    "threshold_backward", "tril",
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
        kwargs = kwargs or {}
        name = operation._schema.name.removeprefix("aten::")
        if name in EXACT or operation.is_view or operation._schema.is_mutable:
            return operation(*args, **kwargs)
        if parts := parts_of(operation, args, kwargs):
            with self:
                return parts(*args, **kwargs)
        written = WRITTEN.get(name, ())
        moved = [arg if place in written else _map_tensors(self.moved, arg) for place, arg in enumerate(args)]
        return _map_tensors(self.moved, operation(*moved, **kwargs))

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
