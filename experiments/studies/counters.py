"""What a function costs, by each framework's own counters: operations, bytes, and measured seconds."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from experiments.studies.sides import Side

ROUNDS = 5  # of which the fastest counts


class Cost(NamedTuple):
    """PyTorch counts the FLOPs of products and the bytes it allocates, JAX all FLOPs, and bytes read or written."""

    flops: float
    bytes: float


def count(side: Side, f: Callable[..., Any], *arguments: Any) -> Cost:
    """The cost of one call."""
    return COUNTERS[side.name](f, *arguments)


def _count_in_torch(f: Callable[..., Any], *arguments: Any) -> Cost:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            f(*arguments)
        return Cost(float(counter.get_total_flops()), allocated(lambda: f(*arguments)))


def allocated(work: Callable[[], object]) -> float:
    """The bytes that PyTorch allocates on the CPU for this work, whether it frees them or not."""
    import torch

    with torch.autograd.profiler.profile(use_kineto=False, profile_memory=True) as profile:
        work()
    return float(sum(max(0, event.self_cpu_memory_usage) for event in profile.function_events))


def _count_in_jax(f: Callable[..., Any], *arguments: Any) -> Cost:
    import jax

    found = jax.jit(f).lower(*arguments).compile().cost_analysis()
    return Cost(float(found["flops"]), float(found["bytes accessed"]))


COUNTERS: dict[str, Callable[..., Cost]] = {"torch": _count_in_torch, "jax": _count_in_jax}


def seconds(side: Side, f: Callable[..., Any], *arguments: Any) -> float:
    """The shortest of a few calls, after one that compiles."""
    compiled, times = side.jit(f), []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        result = compiled(*arguments)
        if hasattr(result, "block_until_ready"):
            result.block_until_ready()
        times.append(time.perf_counter() - started)
    return min(times[1:])
