"""Triton's interpreter with all programs of a launch at once, as threads, so that programs can wait for others.

The interpreter takes them in turn otherwise, and a group of two would wait for ever. Threads pause at random, as
programs on a GPU do. TRITON_INTERPRET=1 must be set before PyTorch is imported, which imports Triton.
"""

import inspect
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import torch

from jax_impl.layers import persistent_gru as jax_gru
from torch_impl.layers import persistent_gru as torch_gru

PROCESSORS = 132  # of the GPU whose cuts are tried
PAUSE, ONE_IN = 1e-2, 12  # seconds at most, long beside a poll, and how often


@contextmanager
def programs_at_once() -> Iterator[None]:
    """Launch the kernels of layers on a CPU as threads, cut as for a GPU."""
    from triton.runtime import interpreter

    builder = interpreter.interpreter_builder
    changed = (
        (interpreter.GridExecutor, "__call__", _launch),
        (torch_gru, "_processors", lambda device: PROCESSORS),
        (jax_gru, "_processors", lambda device: PROCESSORS),
        (jax_gru, "triton_call", _triton_call),
        (builder, "options", replace(builder.options, debug=True, sanitize_overflow=False)),  # assertions hold
        (builder, "create_barrier", _pause),
        (builder, "create_atomic_rmw", _then_pause(builder.create_atomic_rmw)),
    )
    before = [getattr(owner, name) for owner, name, _ in changed]
    for owner, name, value in changed:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for (owner, name, _), value in zip(changed, before, strict=True):
            setattr(owner, name, value)


def _launch(launch: Any, *arrays: Any, **constants: Any) -> None:
    """In place of the interpreter's own loop over the grid; it raises what the first thread to fail raised."""
    from triton.runtime import interpreter

    known = inspect.getfullargspec(launch.fn).args
    given = inspect.getcallargs(launch.fn, *arrays, **{n: each for n, each in constants.items() if n in known})
    arguments = {n: a if n in launch.constexprs else interpreter._implicit_cvt(a) for n, a in given.items()}
    failed: list[BaseException] = []

    def run() -> None:
        try:
            launch.fn(**arguments)
        except BaseException as error:
            failed.append(error)

    scope = interpreter._patch_lang(launch.fn)
    try:
        threads = [threading.Thread(target=run) for _ in range(launch.grid[0])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        scope.restore()
    if failed:
        raise failed[0]


def _triton_call(
    kernel: Any,
    arrays: Sequence[jax.Array],
    results: Sequence[jax.ShapeDtypeStruct],
    numbers: Sequence[np.integer],
    constants: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    programs: int,
    zeroed: int,
) -> list[jax.Array]:
    """In place of jaxlib's launch: XLA calls back, and PyTorch holds the memory."""

    def call(*given: Any) -> list[np.ndarray]:
        read = [torch.from_numpy(np.array(each)) for each in given]
        written = [torch.from_numpy(np.zeros(each.shape, each.dtype)) for each in results]
        kernel[(programs,)](*read, *written, *map(int, numbers), **constants)
        return [each.numpy() for each in written]

    return jax.pure_callback(call, list(results), *arrays, vmap_method="sequential")


def _pause() -> None:
    time.sleep(random.random() * PAUSE if random.randrange(ONE_IN) == 0 else 0)


def _then_pause(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*given: Any) -> Any:
        result = function(*given)
        _pause()
        return result

    return run
