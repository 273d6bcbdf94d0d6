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
        arguments = copied(arguments)
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
            self.results = _apart(function(*arguments))
        torch.cuda.synchronize()
        torch.cuda.set_rng_state(generator)

    def __call__(self, *arguments: Any) -> Any:
        """The results for these arguments, a copy."""
        return copied(self.lend(*arguments))

    def lend(self, *arguments: Any) -> Any:
        """The results in the recording's memory, which its next call overwrites."""
        by_dtype: dict[torch.dtype, list[tuple[Tensor, Tensor]]] = {}  # of which one launch copies many
        for recorded, given in zip(self.arguments, _tensors(arguments), strict=True):
            by_dtype.setdefault(recorded.dtype, []).append((recorded, given))
        for pairs in by_dtype.values():
            torch._foreach_copy_(*map(list, zip(*pairs, strict=True)))
        self.graph.replay()
        return self.results


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of nested tuples and dictionaries, in their order."""
    if isinstance(value, Tensor):
        yield value
    else:
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def copied(value: Any) -> Any:
    """Tensors of nested tuples and dictionaries as copies, which keep no gradients."""
    return _mapped(lambda tensor: tensor.detach().clone(), value)


def _apart(results: Any) -> Any:
    """Results that share memory are copied: who is lent them may write to each."""
    taken: set[int] = set()

    def own(result: Tensor) -> Tensor:
        memory = result.untyped_storage().data_ptr()
        is_shared = memory in taken
        taken.add(memory)
        return result.detach().clone() if is_shared else result.detach()

    return _mapped(own, results)


def _mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {name: _mapped(function, part) for name, part in value.items()}
    return tuple(_mapped(function, part) for part in value)
