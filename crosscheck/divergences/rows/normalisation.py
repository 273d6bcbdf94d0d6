"""Rows D18 to D23: what a normalising layer adds to the variance, and how it computes and stores it."""

import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch import nn

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import draw, largest_gap, measurement


def _wide() -> dict[str, object]:
    return {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}


@measurement()
def _layer_norm_epsilon() -> float:
    inputs = draw(1, 64, std=0.01)
    return largest_gap(nn.LayerNorm(64).double()(torch.tensor(inputs)), nnx.LayerNorm(64, **_wide())(inputs))


@measurement()
def _rms_norm_epsilon() -> float:
    inputs = draw(1, 64, std=1e-3).astype(np.float32)  # torch uses the dtype's epsilon
    return largest_gap(nn.RMSNorm(64)(torch.tensor(inputs)), nnx.RMSNorm(64, rngs=nnx.Rngs(0))(inputs))


@measurement()
def _fast_variance() -> float:
    inputs = draw(8, 4, mean=5000).astype(np.float32)
    ours = nn.LayerNorm(4, eps=1e-6)(torch.tensor(inputs))
    return largest_gap(ours, nnx.LayerNorm(4, epsilon=1e-6, rngs=nnx.Rngs(0))(inputs))


@measurement()
def _batch_norm_momentum() -> float:
    inputs = draw(4, 8, mean=1).astype(np.float32)
    ours, theirs = nn.BatchNorm1d(8), nnx.BatchNorm(8, rngs=nnx.Rngs(0))
    ours(torch.tensor(inputs))
    theirs(inputs)
    return largest_gap(ours.running_mean, theirs.mean[...])


@measurement()
def _batch_norm_variance() -> float:
    inputs = draw(4, 64).astype(np.float32)
    ours, theirs = nn.BatchNorm1d(64, momentum=0.1), nnx.BatchNorm(64, momentum=0.9, rngs=nnx.Rngs(0))
    ours(torch.tensor(inputs))
    theirs(inputs)
    return largest_gap(ours.running_var, theirs.var[...])


@measurement()
def _group_norm_epsilon() -> float:
    inputs = draw(8, 6, 16, std=0.01)
    ours = nn.GroupNorm(4, 16).double()(torch.tensor(inputs).transpose(1, 2)).transpose(1, 2)
    return largest_gap(ours, nnx.GroupNorm(16, num_groups=4, **_wide())(inputs))


NORMALISATION = (
    KnownDivergence(
        id="D18",
        name="ln-eps",
        trigger="layer norm at its default epsilon, 1e-5 in torch, 1e-6 in Flax (Keras 1e-3, BERT 1e-12), small inputs",
        predicted=0.10,
        size_of="largest absolute difference in the outputs at std 0.01 (1e-5 at std 1)",
        measure=_layer_norm_epsilon,
        source="torch.nn.LayerNorm and flax.nnx.LayerNorm documentation",
        to_torch="nnx.LayerNorm(n, epsilon=1e-5)",
        to_jax="nn.LayerNorm(n, eps=1e-6)",
    ),
    KnownDivergence(
        id="D19",
        name="rms-eps",
        trigger="RMS norm at its default epsilon: the dtype's own in torch (1.19e-7 in float32), 1e-6 in Flax",
        predicted=0.78,
        size_of="largest absolute difference in the outputs in float32 at std 1e-3",
        measure=_rms_norm_epsilon,
        source="spd#625, torch.nn.RMSNorm and flax.nnx.RMSNorm documentation",
        to_torch="nnx.RMSNorm(n, epsilon=float(jnp.finfo(x.dtype).eps))",
        to_jax="nn.RMSNorm(n, eps=1e-6)",
    ),
    KnownDivergence(
        id="D20",
        name="ln-fast-variance",
        trigger="layer, group or batch norm in float32, inputs with a large mean: Flax uses E[x^2] - E[x]^2 by default",
        predicted=928.0,
        size_of="largest absolute difference in the outputs in float32 at mean 5000 and std 1, equal epsilon",
        measure=_fast_variance,
        source="flax.nnx.LayerNorm documentation of use_fast_variance, pytorch#51102 (the same fault, fixed)",
        to_torch="nnx.LayerNorm(n, use_fast_variance=False), likewise for nnx.GroupNorm and nnx.BatchNorm",
        to_jax="var = (x.square().mean(-1) - x.mean(-1).square()).clamp(min=0) in a custom layer",
    ),
    KnownDivergence(
        id="D21",
        name="bn-momentum",
        trigger="batch norm at its default momentum: torch's 0.1 weights the new batch, Flax's 0.99 the old mean",
        predicted=0.126,
        size_of="largest absolute difference in the running mean after one batch of 4 with mean 1",
        measure=_batch_norm_momentum,
        source="torch.nn.BatchNorm1d and flax.nnx.BatchNorm documentation",
        to_torch="nnx.BatchNorm(n, momentum=0.9)",
        to_jax="nn.BatchNorm1d(n, momentum=0.01)",
    ),
    KnownDivergence(
        id="D22",
        name="bn-unbiased",
        trigger="batch norm in training: torch keeps the unbiased variance of the batch, Flax the biased one",
        predicted=0.105,
        size_of="largest absolute difference in 64 running variances after one batch of 4, equal momentum",
        measure=_batch_norm_variance,
        source="torch.nn.BatchNorm1d and flax.nnx.BatchNorm documentation",
        to_torch="layer.var.set_value(layer.var[...] + 0.1 * x.var(0) / (len(x) - 1)) after each training step",
        to_jax="layer.running_var.sub_(0.1 * x.var(0) / len(x)) after each training step (torch's var is unbiased)",
    ),
    KnownDivergence(
        id="D23",
        name="gn-eps",
        trigger="group norm at its default epsilon: 1e-5 in torch, 1e-6 in Flax, on small inputs",
        predicted=0.17,
        size_of="largest absolute difference in the outputs at std 0.01, 4 groups of 16 channels",
        measure=_group_norm_epsilon,
        source="torch.nn.GroupNorm and flax.nnx.GroupNorm documentation",
        to_torch="nnx.GroupNorm(n, num_groups=g, epsilon=1e-5)",
        to_jax="nn.GroupNorm(g, n, eps=1e-6)",
    ),
)
