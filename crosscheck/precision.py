"""Both frameworks at full precision while two modules are compared, and as they were before afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import torch

TF32_SWITCHES = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)


@contextmanager
def full_precision() -> Iterator[None]:
    """float64 allowed in JAX, float32 products in float32 in both (TF32 is the default on an H100)."""
    before = [switch.fp32_precision for switch in TF32_SWITCHES]
    for switch in TF32_SWITCHES:
        switch.fp32_precision = "ieee"
    try:
        with jax.enable_x64(True), jax.default_matmul_precision("highest"):
            yield
    finally:
        for switch, value in zip(TF32_SWITCHES, before, strict=True):
            switch.fp32_precision = value
