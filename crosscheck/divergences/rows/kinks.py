"""Rows D44 to D47: gradients at non-differentiable points, which exact zeros and ties do reach."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import torch
from torch import Tensor

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import largest_gap, measurement


@measurement()
def _gradient_gap(
    torch_function: Callable[[Tensor], Tensor],
    jax_function: Callable[[jax.Array], jax.Array],
    point: list[float],
) -> float:
    """The largest absolute difference in the gradients of both functions at `point`."""
    tensor = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch_function(tensor).sum(), tensor)
    return largest_gap(gradient, jax.grad(lambda x: jax_function(x).sum())(jnp.asarray(point)))


KINKS = (
    KnownDivergence(
        id="D44",
        name="abs0",
        trigger="|x| at exactly 0, as in an L1 loss on padding",
        predicted=1.0,
        size_of="difference in the gradients at 0: torch 0, JAX 1",
        measure=partial(_gradient_gap, torch.abs, jnp.abs, [0.0]),
        source="torch.abs and jax.numpy.abs, measured",
        to_torch="x * jax.lax.stop_gradient(jnp.sign(x))",
        to_jax="torch.where(x >= 0, x, -x)",
    ),
    KnownDivergence(
        id="D45",
        name="norm0",
        trigger="the norm of a zero vector",
        predicted=math.nan,
        size_of="NaN if jnp.linalg.norm's gradient is NaN where torch's is 0",
        measure=partial(_gradient_gap, torch.linalg.norm, jnp.linalg.norm, [0.0, 0.0, 0.0]),
        source="torch.linalg.norm and jax.numpy.linalg.norm, measured; optax.safe_norm documentation",
        to_torch="optax.safe_norm(x, 0.0)",
        to_jax="x.square().sum().sqrt()",
    ),
    KnownDivergence(
        id="D46",
        name="clamp-bound",
        trigger="clamp or clip of a value exactly at the bound",
        predicted=0.5,
        size_of="difference in the gradients at the bound: JAX 0.5, torch 1.0 (0.0 from 2.14)",
        measure=partial(_gradient_gap, lambda x: x.clamp(0, 1), lambda x: jnp.clip(x, 0, 1), [1.0]),
        source="pytorch#184572, #184574, #191142",
        to_torch="jnp.where((0 <= x) & (x <= 1), x, jax.lax.stop_gradient(jnp.clip(x, 0, 1))); from 2.14, < not <=",
        to_jax="torch.minimum(torch.maximum(x, low), high), whose gradients split at a tie",
    ),
    KnownDivergence(
        id="D47",
        name="max-dim-ties",
        trigger="the maximum along an axis occurs more than once",
        predicted=0.5,
        size_of="largest difference in the gradients of max(1, 2, 2): torch [0, 1, 0], JAX [0, 0.5, 0.5]",
        measure=partial(_gradient_gap, lambda x: x.max(dim=0).values, lambda x: x.max(axis=0), [1.0, 2.0, 2.0]),
        source="pytorch#56734; jax#37821",
        to_torch="jnp.take_along_axis(x, x.argmax(axis=axis, keepdims=True), axis=axis)",
        to_jax="x.amax(dim=dim)",
    ),
)
