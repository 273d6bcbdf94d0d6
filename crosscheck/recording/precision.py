"""Full precision in both frameworks while two modules are compared; restores previous settings afterwards."""

import functools
import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


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
