"""Operations on tensors of either framework: rounding, stopped gradients, permutation."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from shared.errors import IsogradError


def narrow(x: Any, dtype: str) -> Any:
    """The value rounded to a narrower dtype and cast back; gradients are rounded too."""
    if isinstance(x, float):
        return float(np.asarray(x).astype(dtype))
    if isinstance(x, torch.Tensor) and x.is_floating_point():
        return x.to(getattr(torch, dtype)).to(x.dtype)
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating):
        return x.astype(dtype).astype(x.dtype)
    raise IsogradError("only floating-point numbers can be rounded")


def cast(x: Any, dtype: str) -> Any:
    """The value in a narrower dtype, in which later operations compute."""
    narrow(x, dtype)
    return x.to(getattr(torch, dtype)) if isinstance(x, torch.Tensor) else x.astype(dtype)


def inverted(mask: Any) -> Any:
    """True where the mask is 0; None stays None."""
    return None if mask is None else mask == 0


def stopped(x: Any) -> Any:
    """The value with its gradient stopped."""
    return x.detach() if isinstance(x, torch.Tensor) else jax.lax.stop_gradient(x)


def permuted(x: Any, axes: Sequence[int]) -> Any:
    """The axes in a different order."""
    return x.permute(*axes) if isinstance(x, torch.Tensor) else jnp.transpose(x, axes)


def where(condition: Any, x: Any, other: Any) -> Any:
    """The framework's own `where`."""
    return (torch if isinstance(condition, torch.Tensor) else jnp).where(condition, x, other)


def other_gelu(approximate: Any) -> Any:
    """The name of the other formula."""
    return {"none": "tanh", "tanh": "none"}[approximate] if isinstance(approximate, str) else not approximate


def bessel(x: Any) -> float:
    """The factor that makes a biased variance over the last axis unbiased."""
    return float(x.shape[-1] / (x.shape[-1] - 1))


def fast_variance(x: Any) -> Any:
    """E[x^2] - E[x]^2 over the last axis."""
    means = [(x**power).sum(-1)[..., None] / x.shape[-1] for power in (1, 2)]
    return means[1] - means[0] ** 2
