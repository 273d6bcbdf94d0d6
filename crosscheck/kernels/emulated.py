"""The kernels of clusters on a CPU, with no GPU and no CUDA: a C++ compiler makes programs of them in which the threads
of a cluster take turns at random, and what its blocks send each other arrives at random times (cluster.cpp).
"""

import ctypes
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
import torch

from jax_impl.layers import persistent_gru as jax_gru
from shared.cuda import gru_clusters
from shared.errors import IsogradError
from shared.gru_plan import Plan
from torch_impl.layers import persistent_gru as torch_gru

PROGRAM = Path(__file__).with_name("cluster.cpp")
COMPILER = shutil.which("c++")
# Threads jump between stacks of their own, which takes a hardened longjmp, some compilers' default, for a broken stack.
OPTIONS = "-std=c++20", "-O1", "-w", "-shared", "-fPIC", "-U_FORTIFY_SOURCE"
SEEDS = itertools.count()


class Emulated(NamedTuple):
    """A kernel and what it is launched with."""

    program: ctypes.CDLL
    plan: Plan


class WaitsForEver(IsogradError):
    """Threads of a cluster do."""


@contextmanager
def clusters_on_a_cpu(processors: int) -> Iterator[None]:
    """Launch kernels of clusters on a CPU, cut as for a GPU of so many multiprocessors."""
    with (
        _changed((torch_gru, jax_gru), _has_clusters=lambda device: True, cluster_kernel=_kernel),
        _changed((torch_gru,), _launch_clusters=_launch),
        _changed((jax_gru,), kernel_call=_kernel_call),
        few_processors(processors),
    ):
        yield


def few_processors(processors: int) -> AbstractContextManager[None]:
    """Cut layers as for a GPU of so many multiprocessors."""
    return _changed((torch_gru, jax_gru), _processors=lambda device: processors)


@contextmanager
def _changed(modules: Sequence[ModuleType], **values: Any) -> Iterator[None]:
    before = [(module, name, getattr(module, name)) for module in modules for name in values]
    for module, name, _ in before:
        setattr(module, name, values[name])
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def _kernel(way: str, plan: Plan, dtype: str, trains: bool) -> Emulated:
    return Emulated(_compiled(gru_clusters.kernels(), tuple(gru_clusters.definitions(way, plan, dtype, trains))), plan)


@lru_cache(maxsize=2)
def _compiled(source: str, definitions: tuple[str, ...]) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        kernels, made = Path(folder) / "kernels.cu", Path(folder) / "kernels.so"
        kernels.write_text(source, encoding="utf-8")
        command = [str(COMPILER), *OPTIONS, *definitions, f'-DKERNELS="{kernels}"', str(PROGRAM), "-o", str(made)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise IsogradError(f"{COMPILER}: {run.stderr}")
        return ctypes.CDLL(str(made))


def _launch(kernel: Emulated, arrays: Sequence[torch.Tensor]) -> None:
    _run(kernel, [each.data_ptr() for each in arrays])


def _run(kernel: Emulated, addresses: Sequence[int]) -> None:
    """Raises WaitsForEver."""
    program, plan = kernel
    numbers = (ctypes.c_int * 3)(plan.batch_size, plan.steps, plan.directions)
    given = (ctypes.c_void_p * len(addresses))(*addresses)
    if program.launch(given, numbers, plan.programs, ctypes.c_uint(next(SEEDS))):
        raise WaitsForEver("the threads of a cluster wait for ever")


def _kernel_call(
    kernel: Emulated, arrays: Sequence[Any], results: Sequence[jax.ShapeDtypeStruct], *, zeroed: int
) -> list[jax.Array]:
    """In place of jaxlib's launch."""

    def call(*arrays: Any) -> list[np.ndarray]:
        read = [np.ascontiguousarray(each) for each in arrays]
        written = [np.zeros(each.shape, each.dtype) for each in results]
        _run(kernel, [each.ctypes.data for each in (*read, *written)])
        return written

    return jax.pure_callback(call, list(results), *arrays, vmap_method="sequential")
