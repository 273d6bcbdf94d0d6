"""Compiling with JAX: by options that its version knows, on a GPU several programs side by side; one kept between runs
that is damaged is replaced.

PyTorch has no twin of this file: its compiler checks what it has kept, and a graph is recorded by running it.
"""

import functools
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from shared.backend import COMPILING
from shared.errors import IsogradError
from shared.process import usable_cores

Program = jax.stages.Compiled
NO_MEMORY = "RESOURCE_EXHAUSTED"  # how XLA's errors of lacking memory begin
Option = bool | int | str
# On a GPU, trying Triton's kernels for matrix products takes most of the time of compiling and gains no speed.
OPTIONS: dict[str, dict[str, Option]] = {"gpu": {"xla_gpu_enable_triton_gemm": False}}


@contextmanager
def side_by_side(device: jax.Device) -> Iterator[Executor | None]:
    """Threads that end with the last program begun in the block: one for two cores, since XLA has threads of its own.

    None on a CPU: the first program would be there later than if it were compiled alone.
    """
    if device.platform == "cpu":
        yield None
        return
    pool = ThreadPoolExecutor(max(1, usable_cores() // 2), COMPILING)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False)


def begin(lowered: jax.stages.Lowered, name: str, options: dict[str, Any], pool: Executor | None) -> "Future[Program]":
    """The program of the function `name`, compiled by the pool, or at once without one."""
    if pool is not None:
        return pool.submit(compiled_or_loaded, lowered, name, options)
    program: Future[Program] = Future()
    program.set_result(compiled_or_loaded(lowered, name, options))
    return program


def compiled_or_loaded(lowered: jax.stages.Lowered, name: str, options: dict[str, Any] | None) -> Program:
    """The program of the function `name`, from JAX's cache where it is there and sound.

    Raises IsogradError for one that XLA can't compile, unless memory runs out.
    """
    try:
        with _errors_of_the_cache:
            return lowered.compile(options)
    except Exception:  # of the cache, whose errors have no class of their own; one of the program comes again below
        _forget(name)
    try:
        return lowered.compile(options)
    except jax.errors.JaxRuntimeError as error:
        if NO_MEMORY in str(error):
            raise
        reason = str(error).partition("\n")[0]
        raise IsogradError(f"XLA can't compile the {name} of this model on this device: {reason}") from error


class _ErrorsOfTheCache:
    """Within the block, in any number of threads, they are raised, not told as warnings."""

    def __init__(self) -> None:
        self.lock, self.within, self.before = threading.Lock(), 0, False

    def __enter__(self) -> None:
        with self.lock:
            if self.within == 0:
                self.before = jax.config.jax_raise_persistent_cache_errors
                jax.config.update("jax_raise_persistent_cache_errors", True)
            self.within += 1

    def __exit__(self, *raised: object) -> None:
        with self.lock:
            self.within -= 1
            if self.within == 0:
                jax.config.update("jax_raise_persistent_cache_errors", self.before)


_errors_of_the_cache = _ErrorsOfTheCache()


def _forget(name: str) -> None:
    """Remove the kept programs of functions of this name: JAX never replaces one that it can't read."""
    folder = jax.config.jax_compilation_cache_dir
    for path in Path(folder).glob(f"jit_{name}-*") if folder else ():
        path.unlink(missing_ok=True)


def options_for(device: jax.Device, dtype: str) -> dict[str, Option]:
    """What training and generation in a dtype are compiled with; nothing for float64 on a GPU (D100)."""
    must_be_exact = device.platform == "gpu" and dtype == "float64"
    return {} if must_be_exact else known(OPTIONS.get(device.platform, {}), device)


def known(options: Mapping[str, Option], device: jax.Device) -> dict[str, Option]:
    """Those of the options that XLA knows for this device: they come and go with its versions."""
    return {name: value for name, value in options.items() if _is_known(name, value, device)}


@functools.cache
def _is_known(name: str, value: Option, device: jax.Device) -> bool:
    zero = jax.device_put(np.zeros((), np.float32), device)
    try:
        jax.jit(lambda x: x, compiler_options={name: value}).lower(zero).compile()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True
