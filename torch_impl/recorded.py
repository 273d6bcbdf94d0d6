"""A function of tensors that a GPU replays as one CUDA graph, without a launch for each of its kernels.

JAX has no twin of this file: it compiles whole steps.
"""

from collections.abc import Callable, Iterator
from typing import Any, Optional

import torch
from torch import Tensor

WARM_UP = 3  # calls that compile and choose kernels, before the one that is recorded


class Recording:
    """The function with its own memory for arguments and results; every call must have the same shapes.

    Arguments and results are tensors in tuples and dictionaries. Recordings that take turns share their memory.
    """

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], others: Optional["Recording"] = None):
        arguments = _copied(arguments)
        self.arguments = list(_tensors(arguments))
        self.function = function  # the graph reads the memory of the tensors that it holds
        stream, generator = torch.cuda.Stream(), torch.cuda.get_rng_state()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function(*arguments)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        pool = others and others.graph.pool()
        # What JAX or the garbage collector frees meanwhile is no part of the graph, and must not end its capture.
        with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="relaxed"):
            self.results = function(*arguments)
        torch.cuda.synchronize()
        torch.cuda.set_rng_state(generator)

    def __call__(self, *arguments: Any) -> Any:
        """The results for these arguments, a copy."""
        for recorded, given in zip(self.arguments, _tensors(arguments), strict=True):
            recorded.copy_(given)
        self.graph.replay()
        return _copied(self.results)


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of nested tuples and dictionaries, in their order."""
    if isinstance(value, Tensor):
        yield value
    else:
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in value.items()}
    return tuple(_copied(part) for part in value)
