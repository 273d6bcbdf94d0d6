"""Compiling with JAX: by options that its version knows; a program kept between runs that is damaged is replaced.

PyTorch has no twin of this file: its compiler checks what it has kept.
"""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

Option = bool | int
# On a GPU, trying Triton's kernels for matrix products takes most of the time of compiling and gains no speed.
OPTIONS: dict[str, dict[str, Option]] = {"gpu": {"xla_gpu_enable_triton_gemm": False}}


def compiled_or_loaded(lowered: jax.stages.Lowered, name: str, options: dict[str, Any] | None) -> jax.stages.Compiled:
    """The program of the function `name`, from JAX's cache where it is there and sound."""
    try:
        with _errors_of_the_cache():
            return lowered.compile(options)
    except Exception:  # of the cache, whose errors have no class of their own; one of the program comes again below
        _forget(name)
        return lowered.compile(options)


@contextmanager
def _errors_of_the_cache() -> Iterator[None]:
    """They are raised within, not told as warnings."""
    before = jax.config.jax_raise_persistent_cache_errors
    jax.config.update("jax_raise_persistent_cache_errors", True)
    try:
        yield
    finally:
        jax.config.update("jax_raise_persistent_cache_errors", before)


def _forget(name: str) -> None:
    """Remove the kept programs of functions of this name: JAX never replaces one that it can't read."""
    folder = jax.config.jax_compilation_cache_dir
    for path in Path(folder).glob(f"jit_{name}-*") if folder else ():
        path.unlink(missing_ok=True)


def options_for(device: jax.Device, dtype: str) -> dict[str, Option]:
    """What training and generation in a dtype are compiled with; in float64, which must be exact, nothing (D100)."""
    return {} if dtype == "float64" else known(OPTIONS.get(device.platform, {}), device)


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
