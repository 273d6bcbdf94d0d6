"""Full precision in both frameworks while two modules are compared; restores previous settings afterwards."""

import functools
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np


@contextmanager
def full_precision(float64: bool = True) -> Iterator[None]:
    """Make both frameworks compute float32 products in float32 (an H100 defaults to TF32). JAX gets float64 only on
    request: otherwise a module could compute with more digits than its users see."""
    with ExitStack() as stack:
        if importlib.util.find_spec("torch"):
            stack.enter_context(_torch_without_tf32())
        if importlib.util.find_spec("jax"):
            import jax

            if float64:
                stack.enter_context(jax.enable_x64(True))
            stack.enter_context(jax.default_matmul_precision("highest"))
        yield


@contextmanager
def _torch_without_tf32() -> Iterator[None]:
    import torch

    switches = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = "ieee"
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value


@functools.cache
def xla_compiles(dtype: str) -> bool:
    """True if XLA can compile this dtype for the CPU: float16 needs conversions that a processor without F16C lacks."""
    import jax

    with jax.default_device(jax.devices("cpu")[0]):
        try:
            jax.block_until_ready(jax.jit(jax.numpy.exp)(jax.numpy.ones(3, dtype)))
        except RuntimeError:  # "Failed to materialize symbols"
            return False
    return True


@functools.cache
def roundings_of_a_product(dtype: str) -> float:
    """How far XLA's gradients of a linear map are off on the CPU, by the error of rounding them once: the most over few
    and many steps, compiled quickly and as users' are; 0 without JAX.

    Some products add up a short dtype in float32, others in itself, term by term: which they are depends on the
    version, the processor, the sizes and the compiler's options.
    """
    if not importlib.util.find_spec("jax") or not xla_compiles(dtype):
        return 0.0
    from crosscheck.recording.jax_side import COMPILER_OPTIONS

    ways = None, COMPILER_OPTIONS["cpu"]
    return max(_roundings(np.dtype(dtype), steps, options) for steps in (11, 51) for options in ways)


def _roundings(dtype: np.dtype, steps: int, options: Mapping[str, Any] | None) -> float:
    import jax

    from jax_impl.compile_cache import known

    shapes = (5, steps, 23), (5, steps, 21)
    generator = np.random.default_rng(0)
    x, gradient = (generator.standard_normal(shape).astype(dtype) for shape in shapes)
    weight, device = np.zeros((21, 23), dtype), jax.devices("cpu")[0]

    def pulled_back(weight: jax.Array, x: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.vjp(lambda weight: x @ weight.T, weight)[1](gradient)[0]

    with jax.default_device(device):
        compiled = jax.jit(pulled_back, compiler_options=known(options, device) if options else None)
        found = np.asarray(compiled(weight, x, gradient)).astype(np.float64)
    exact = np.einsum("bti,bto->oi", x.astype(np.float64), gradient.astype(np.float64))
    rounded_once = exact.astype(dtype).astype(np.float64)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(rounded_once - exact))
