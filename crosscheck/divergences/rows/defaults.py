"""Rows D24, D28 and D29: the same name in both frameworks, with different defaults."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import largest_gap, measurement


@measurement()
def _gelu() -> float:
    inputs = np.linspace(-5, 5, 1001)
    return largest_gap(F.gelu(torch.tensor(inputs)), jax.nn.gelu(inputs))


@measurement()
def _variance() -> float:
    inputs = np.array([1.0, 2.0, 3.0, 4.0])
    return largest_gap(torch.var(torch.tensor(inputs)), jnp.var(inputs))


@measurement()
def _median() -> float:
    inputs = np.array([1.0, 2.0, 3.0, 4.0])
    return largest_gap(torch.median(torch.tensor(inputs)), jnp.median(inputs))


DEFAULTS = (
    KnownDivergence(
        id="D24",
        name="gelu",
        trigger="GELU without arguments: jax.nn.gelu uses the tanh approximation, torch the error function",
        predicted=4.7e-4,
        size_of="largest absolute difference in the values on [-5, 5] (8.7e-4 in the gradient)",
        measure=_gelu,
        source="spd#624, tinygrad#16162, jax.nn.gelu documentation",
        to_torch="jax.nn.gelu(x, approximate=False)",
        to_jax='F.gelu(x, approximate="tanh")',
    ),
    KnownDivergence(
        id="D28",
        name="var-ddof",
        trigger="a variance or standard deviation without arguments: torch divides by n - 1, jax.numpy by n",
        predicted=0.417,
        size_of="absolute difference between the variances of 1, 2, 3, 4 (1.667 in torch, 1.25 in JAX)",
        measure=_variance,
        source="torch.var and jax.numpy.var documentation",
        to_torch="jnp.var(x, ddof=1)",
        to_jax="torch.var(x, correction=0)",
    ),
    KnownDivergence(
        id="D29",
        name="median",
        trigger="the median of an even number of values: torch takes the lower one, jax.numpy the mean of the two",
        predicted=0.5,
        size_of="absolute difference between the medians of 1, 2, 3, 4 (2.0 in torch, 2.5 in JAX)",
        measure=_median,
        source="torch.median and jax.numpy.median documentation",
        to_torch='jnp.quantile(x, 0.5, method="lower")',
        to_jax="torch.quantile(x, 0.5)",
    ),
)
