"""Precision: which operations run in float32 at least, and the switches for exact matrix products.
Twin: torch_impl/precision.py.
"""

import jax
import jax.numpy as jnp
from jax import Array


def at_least_float32(x: Array) -> Array:
    """Widen bfloat16 and float16 for an operation that loses digits (softmax, normalisation); keep other dtypes."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def use_exact_matmul() -> None:
    """Multiply float32 matrices in float32: XLA's default on an H100 is TF32."""
    jax.config.update("jax_default_matmul_precision", "highest")
