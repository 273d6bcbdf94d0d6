"""Full precision in both frameworks while two modules are compared; restores previous settings afterwards."""

import functools
import importlib.util
from collections.abc import Iterator
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
    """How far XLA is off on the CPU in the gradient that a check of a linear map sees, by the error of rounding once:
    the most over few and many steps, compiled quickly and as users' programs are; 0 without JAX.

    Some products add up a short dtype in float32, others in itself, term by term: which they are depends on the
    version, the processor, the sizes, the precision asked for and the compiler's options.
    """
    if not importlib.util.find_spec("jax") or not xla_compiles(dtype):
        return 0.0
    return max(_roundings(np.dtype(dtype), steps, optimize) for steps in (11, 51) for optimize in (False, True))


def _roundings(dtype: np.dtype, steps: int, optimize: bool) -> float:
    from crosscheck.recording.jax_side import evaluate
    from crosscheck.recording.nesting import as_call
    from crosscheck.recording.values import Options, cotangent

    generator = np.random.default_rng(0)
    x, weight, bias = (generator.standard_normal(shape).astype(dtype) for shape in ((5, steps, 23), (21, 23), (21,)))
    options = Options(dtype, optimize=optimize)
    with full_precision():
        values = evaluate(_linear(weight, bias), as_call({"inputs": x}), options)
    ((name, output),) = values.outputs.items()
    gradient = cotangent(name, output.shape, output.dtype, options).astype(np.float64)
    exact = np.einsum("bti,bto->oi", x.astype(np.float64), gradient)
    found = values.parameter_gradients["weight"].astype(np.float64)
    rounded_once = exact.astype(dtype).astype(np.float64)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(rounded_once - exact))


def _linear(weight: np.ndarray, bias: np.ndarray) -> Any:
    """Flax's own linear map, in which no fault is planted: XLA may add up the gradient of a kernel, which modules have,
    in another way than that of a transposed weight."""
    from flax import nnx

    made = nnx.Linear(weight.shape[1], weight.shape[0], rngs=nnx.Rngs(0))
    made.kernel, made.bias = nnx.Param(weight.T), nnx.Param(bias)
    return made
