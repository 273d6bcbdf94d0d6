"""Reads casts to narrower floats inside torch code, and tensors created in them, as float64.
Sibling: jax_widening.py.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

CASTS = {Tensor.float: "float32", Tensor.bfloat16: "bfloat16", Tensor.half: "float16"}
CREATED = "float32"  # the dtype of torch's new tensors where none is named


@contextmanager
def widening(dtypes: Sequence[str]) -> Iterator[set[str]]:
    """Context in which every request for one of these dtypes gives float64; yields those that were requested."""
    found: set[str] = set()
    if not dtypes:
        yield found
        return
    default = torch.get_default_dtype()
    try:
        if CREATED in dtypes:
            torch.set_default_dtype(torch.float64)
        with _Widening(dtypes, found):
            yield found
    finally:
        torch.set_default_dtype(default)


def widened(module: Any) -> Any:
    """The module's parameters and buffers in float64, in place."""
    return module.double() if isinstance(module, nn.Module) else module


class _Widening(TorchFunctionMode):
    def __init__(self, dtypes: Sequence[str], found: set[str]):
        super().__init__()
        self.narrow = {getattr(torch, name): name for name in dtypes}
        self.casts = {cast: name for cast, name in CASTS.items() if name in dtypes}
        self.found = found

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in self.casts:
            self.found.add(self.casts[function])
            return args[0].double()
        wide = {name: self._wide(each) for name, each in (kwargs or {}).items()}
        return function(*map(self._wide, args), **wide)  # no function of torch takes a dtype in a nesting

    def _wide(self, leaf: Any) -> Any:
        if type(leaf) is not torch.dtype or leaf not in self.narrow:
            return leaf
        self.found.add(self.narrow[leaf])
        return torch.float64
