"""Precision: which operations run in float32 at least, and the switches for exact matrix products.
Twin: jax_impl/precision.py.
"""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Widen bfloat16 and float16 for an operation that loses digits (softmax, normalisation); keep other dtypes."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def use_exact_matmul() -> None:
    """Multiply float32 matrices in float32: every TF32 switch off (cuDNN's recurrent layers have their own)."""
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cudnn.rnn.fp32_precision = "ieee"
