"""A function of tensors that a GPU replays as one CUDA graph: its kernels are launched together, at once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3  # calls that compile and choose kernels, before the one that is recorded
_RECORDING = ContextVar("recording", default=False)


@contextmanager
def recording() -> Iterator[None]:
    """Within it calls are about to be recorded: a layer may prefer many short kernels to a few long ones."""
    token = _RECORDING.set(True)
    try:
        yield
    finally:
        _RECORDING.reset(token)


def is_recording() -> bool:
    """True within `recording()`, in its thread."""
    return _RECORDING.get()


class Recorded:
    """Calls `function` on a GPU by a graph, recorded at the first call with arguments of new shapes.

    Arguments are tensors in dictionaries. What is returned is overwritten by the next call.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.graphs: dict[tuple[Any, ...], Graph] = {}
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> Any:
        given = list(_tensors(arguments))
        signature = tuple((tensor.shape, tensor.dtype) for tensor in given)
        if signature not in self.graphs:
            start = time.perf_counter()
            pool = next((graph.graph.pool() for graph in self.graphs.values()), None)
            self.graphs[signature] = Graph(self.function, arguments, pool)
            self.seconds += time.perf_counter() - start
        return self.graphs[signature].replay(given)


class Graph:
    """One recording of a function, with memory of its own for arguments and results."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], pool: Any):
        arguments = _copied(arguments)
        self.inputs = list(_tensors(arguments))
        stream, generator = torch.cuda.Stream(), torch.cuda.get_rng_state()
        stream.wait_stream(torch.cuda.current_stream())
        with recording(), torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function(*arguments)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with recording(), torch.cuda.graph(self.graph, pool=pool):
            self.results = function(*arguments)
        torch.cuda.synchronize()
        torch.cuda.set_rng_state(generator)

    def replay(self, given: list[Tensor]) -> Any:
        """The results for these arguments, in the order of the recorded ones."""
        torch._foreach_copy_(self.inputs, given)
        self.graph.replay()
        return self.results


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
