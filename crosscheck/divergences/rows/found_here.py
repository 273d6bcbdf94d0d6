"""Rows D65 to D70: divergences found while writing and comparing this project's twins."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F
from flax import nnx
from torch import Tensor, nn

from crosscheck.criterion import unit_roundoff
from crosscheck.divergences.divergence import KnownDivergence, Processors
from crosscheck.divergences.measurement import (
    as_float64,
    draw,
    largest_gap,
    measurement,
    relative_gap,
)

EPS = 1e-5
SHAPE = (4, 11, 13)


def _layer_norm_in_torch(x: Tensor, weight: Tensor) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    centred = centred - centred.mean(dim=-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(dim=-1, keepdim=True) + EPS) * weight


def _layer_norm_in_jax(x: jax.Array, weight: jax.Array) -> jax.Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    centred = centred - centred.mean(axis=-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPS) * weight


@measurement()
def _mean_computed_twice() -> float:
    inputs, upstream = _rows_at_5000(), draw(*SHAPE, seed=1).astype(np.float32)
    weight = torch.ones(SHAPE[-1], requires_grad=True)
    _layer_norm_in_torch(torch.tensor(inputs), weight).backward(torch.tensor(upstream))
    return relative_gap(_weight_gradient(jnp.ones(SHAPE[-1], jnp.float32), inputs, upstream), weight.grad)


def _rows_at_5000() -> np.ndarray:
    return draw(*SHAPE, mean=5000.0).astype(np.float32)


@jax.jit
def _weight_gradient(weight: jax.Array, x: jax.Array, upstream: jax.Array) -> jax.Array:
    return jax.vjp(lambda weight: _layer_norm_in_jax(x, weight), weight)[1](upstream)[0]


@measurement()
def _leaves_a_mean() -> bool:
    """True if a row that was centred twice by the compiled program still has a mean: a gradient of ones in one row
    makes that program return the row."""
    means = []
    for step in range(SHAPE[1]):
        upstream = np.zeros(SHAPE, np.float32)
        upstream[0, step] = 1.0
        row = _weight_gradient(jnp.ones(SHAPE[-1], jnp.float32), _rows_at_5000(), upstream)
        means.append(abs(as_float64(row).mean()))
    return max(means) > SHAPE[-1] * 2 * unit_roundoff(np.dtype(np.float32))  # more than the roundings of its entries


@measurement()
def _memory_shared_with_torch() -> float:
    tensor = torch.zeros(1024)
    array = jax.device_put(tensor.numpy(), jax.devices("cpu")[0])
    before = as_float64(tensor).copy()
    tensor += 1
    return largest_gap(before, array)


@measurement()
def _bias_correction_in_float32() -> float:
    """With b1 = eps = 0, the square of the first step is its bias correction over (1 - b2) * g**2, exactly 1."""
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.ones(1)
    torch.optim.Adam([parameter], lr=1.0, betas=(0.0, 0.999), eps=0.0).step()
    adam = optax.scale_by_adam(b1=0.0, b2=0.999, eps=0.0)
    with jax.enable_x64(False):
        step, _ = adam.update(jnp.ones(1), adam.init(jnp.zeros(1)))
    return largest_gap(as_float64(parameter) ** 2, as_float64(step) ** 2)


@measurement()
def _gradient_of_nothing() -> float:
    query, key, value, upstream = draw(4, 4, 6, 64).astype(np.float32)
    bias = draw(64, seed=1).astype(np.float32)
    tensors = [torch.tensor(x) for x in (query, key, value)]
    own = torch.tensor(bias, requires_grad=True)
    F.scaled_dot_product_attention(tensors[0], tensors[1] + own, tensors[2]).backward(torch.tensor(upstream))

    def attended(bias: jax.Array) -> jax.Array:
        q, k, v = (jnp.asarray(x)[:, :, None] for x in (query, key + bias, value))
        return (jax.nn.dot_product_attention(q, k, v)[:, :, 0] * upstream).sum()

    return relative_gap(jax.jit(jax.grad(attended))(bias), own.grad)


@measurement()
def _attention_in_float64() -> float:
    inputs = draw(3, 2, 5, 3, 7)
    exact = F.scaled_dot_product_attention(*(torch.tensor(x).transpose(1, 2) for x in inputs)).transpose(1, 2)
    return relative_gap(jax.nn.dot_product_attention(*map(jnp.asarray, inputs)), exact)


@measurement()
def _truncated_normal() -> float:
    std, shape = 0.02, (1000, 100)
    own = nn.init.trunc_normal_(torch.empty(shape), std=std, generator=torch.Generator().manual_seed(0))
    theirs = nnx.initializers.truncated_normal(stddev=std)(jax.random.key(0), shape, jnp.float32)
    return float(1 - as_float64(theirs).std() / as_float64(own).std())


FINDINGS = (
    KnownDivergence(
        id="D65",
        name="recomputed-mean",
        trigger="subtracting the mean of x - mean(x) once more, in float32 under jax.jit, at a mean of 5000",
        predicted=1.0e-4,
        size_of="relative L2 difference in LayerNorm's weight gradients (torch's own error: 1e-7)",
        measure=_mean_computed_twice,
        source="found here: XLA computes the mean in several fusions, and rounds it in only one: in the other, sum / 13"
        " and the subtraction are one instruction (a width of 8 or 16 shows nothing: the quotient is exact)",
        to_torch="x = x - jax.lax.stop_gradient(x[..., :1]) first, which is exact for entries close together",
        to_jax="torch has no such error; subtract x[..., :1].detach() too, so that both sides do the same",
        processors=Processors("round the mean in only one of XLA's fusions (FMA)", _leaves_a_mean, 1.1e-7),
    ),
    KnownDivergence(
        id="D66",
        name="shared-memory",
        trigger="jax.device_put(tensor.numpy()) or jnp.from_dlpack(tensor) on a CPU, then an in-place change in torch",
        predicted=1.0,
        size_of="change in the JAX array when 1 is added to the tensor in place",
        measure=_memory_shared_with_torch,
        source="jax.device_put documentation (may_alias); found here (jnp.asarray may share too; jax 0.10 copies)",
        to_torch="jnp.array(tensor.numpy()), which copies",
        to_jax="torch.from_dlpack(array) shares memory the same way; call array.copy() first where it must not",
    ),
    KnownDivergence(
        id="D67",
        name="bias-correction-float32",
        trigger="the first steps of Adam without jax_enable_x64: 1 - b2**count is float32 in optax, float64 in torch",
        predicted=1.3e-5,
        size_of="relative error of the correction at step 1 with b2 = 0.999 (the step uses its root)",
        measure=_bias_correction_in_float32,
        source="optax.scale_by_adam and torch.optim.Adam source; found here",
        to_torch="-jnp.expm1(count * math.log(b2)) in place of 1 - b2**count",
        to_jax="1 - float(numpy.float32(b2) ** numpy.float32(step))",
    ),
    KnownDivergence(
        id="D68",
        name="zero-gradient-noise",
        trigger="a bias that the softmax cancels (key bias, or V.bias of additive attention), in float32",
        predicted=2.0,
        size_of="relative L2 difference in its gradients, zero in theory: two independent rounding errors",
        measure=_gradient_of_nothing,
        source="found here; in theory softmax(scores + constant) = softmax(scores)",
        to_torch="nothing to change: compare against the model's largest gradient, or drop the bias",
        to_jax="likewise; AdamW divides the noise by its own size, so the bias drifts: freeze it",
    ),
    KnownDivergence(
        id="D69",
        name="attention-float64",
        trigger="jax.nn.dot_product_attention or nnx.dot_product_attention in float64",
        predicted=6.1e-8,
        size_of="relative L2 difference in the outputs: JAX's softmax is float32 whatever the inputs",
        measure=_attention_in_float64,
        source="jax.nn.dot_product_attention source; found here",
        to_torch="flax.linen.dot_product_attention, or jnp.einsum and jax.nn.softmax",
        to_jax="(q @ k.mT * d**-0.5).float().softmax(dim=-1).to(v.dtype) @ v",
    ),
    KnownDivergence(
        id="D70",
        name="truncated-normal",
        trigger="truncated normal initial weights: torch truncates at -2 and 2, JAX at -2 and 2 standard deviations",
        predicted=0.12,
        size_of="how much smaller JAX's standard deviation is relative to torch's, at 0.02",
        measure=_truncated_normal,
        source="torch.nn.init.trunc_normal_ and jax.nn.initializers.truncated_normal documentation",
        to_torch="truncated_normal(std, lower=-2 / std, upper=2 / std)",
        to_jax="nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)",
    ),
)
