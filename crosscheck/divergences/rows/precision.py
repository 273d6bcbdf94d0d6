"""Rows D50 to D54, D101, D102: how a product, a softmax, a compiler, a conversion, a constant affect precision."""

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F
from flax import linen

from crosscheck.divergences.divergence import KnownDivergence, Processors
from crosscheck.divergences.measurement import as_float64, draw, largest_gap, measurement, relative_gap

EPS = 1e-6


@measurement()
def _slope_of_hard_sigmoid() -> float:
    """How far the two slopes are apart at 0."""
    point = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(F.hardsigmoid(point).sum(), point)
    return largest_gap(slope, jax.grad(lambda x: jax.nn.hard_sigmoid(x).sum())(jnp.zeros(1)))


@measurement()
def _bfloat16_passes() -> float:
    x, y = draw(2, 256, 256).astype("float32")
    rounded = (jnp.asarray(a, jnp.bfloat16).astype(jnp.float32) for a in (x, y))
    return relative_gap(jnp.matmul(*rounded), torch.tensor(x) @ torch.tensor(y))


@jax.jit
def _weight_gradient(x: jax.Array, upstream: jax.Array) -> jax.Array:
    """That of a kernel that is stored as Flax does, by the product that JAX's own derivative makes."""
    return jax.lax.dot_general(upstream, x, (((0, 1), (0, 1)), ((), ()))).T


def _adds_in_bfloat16() -> bool:
    """True if a sum of 515 ones, 516 as bfloat16, stops at 256, after which that has no odd number."""
    x, upstream = (jnp.ones((5, 103, size), jnp.bfloat16) for size in (23, 21))
    return float(_weight_gradient(x, upstream).max()) < 512


@measurement()
def _weight_gradient_in_bfloat16() -> float:
    x, upstream = (jnp.asarray(array, jnp.bfloat16) for array in (draw(5, 11, 23), draw(5, 11, 21, seed=1)))
    exact = as_float64(x).reshape(55, 23).T @ as_float64(upstream).reshape(55, 21)
    return relative_gap(_weight_gradient(x, upstream), exact)


@measurement()
def _softmax_in_bfloat16() -> float:
    arrays = [jnp.asarray(x, jnp.bfloat16) for x in draw(3, 2, 64, 4, 16, std=2.0)]
    exact = F.scaled_dot_product_attention(*(torch.tensor(as_float64(x)).transpose(1, 2) for x in arrays))
    return relative_gap(linen.dot_product_attention(*arrays), exact.transpose(1, 2))


def _rms_norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    return x / jnp.sqrt(jnp.square(x).mean(axis=-1, keepdims=True) + EPS) * (1 + scale)


@measurement()
def _rms_norm_under_jit() -> float:
    arrays = [jnp.asarray(x, jnp.bfloat16) for x in (draw(64, 32), draw(32, std=0.05, seed=1))]
    x, scale = (torch.tensor(as_float64(array)).bfloat16() for array in arrays)
    # roots and quotients round the same on all processors; torch.rsqrt rounds bfloat16 once or twice
    eager = x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + EPS) * (1 + scale)
    return largest_gap(eager, jax.jit(_rms_norm)(*arrays))


@measurement()
def _float64_without_x64() -> float:
    tensor = torch.tensor(draw(1000))
    with jax.enable_x64(False):
        narrow = jnp.asarray(tensor.numpy())
    return float(abs(as_float64(narrow) / as_float64(tensor) - 1).max())


@measurement()
def _scalar_promotes() -> float:
    factor, vector = torch.tensor(1 / 3, dtype=torch.float32), torch.tensor(draw(1000)).bfloat16()
    promoted = jnp.asarray(factor.numpy()) * jnp.asarray(as_float64(vector), jnp.bfloat16)
    return float(abs(as_float64(factor * vector) / as_float64(promoted) - 1).max())


PRECISION = (
    KnownDivergence(
        id="D50",
        name="tpu-bf16",
        trigger="a float32 matrix product on a TPU at JAX's default precision",
        predicted=2.3e-3,
        size_of="relative L2 difference in a 256 x 256 product, JAX's inputs rounded to bfloat16 as in one such pass",
        measure=_bfloat16_passes,
        source="jax#1856; jax#10413; jax.default_matmul_precision documentation",
        to_torch='jax.config.update("jax_default_matmul_precision", "highest")',
        to_jax="(x.bfloat16().float() @ y.bfloat16().float())",
    ),
    KnownDivergence(
        id="D51",
        name="softmax-dtype",
        trigger="attention in bfloat16 with linen.dot_product_attention, whose scores and softmax are bfloat16 too",
        predicted=8.4e-3,
        size_of="relative L2 error of Linen's output against torch's in float64 (torch's own in bfloat16: 3.0e-3)",
        measure=_softmax_in_bfloat16,
        source="flax.linen.dot_product_attention documentation (force_fp32_for_softmax); spd#707",
        to_torch="jax.nn.dot_product_attention(q, k, v); force_fp32_for_softmax=True leaves the scores in bfloat16",
        to_jax="(q @ k.mT * d**-0.5).softmax(dim=-1) @ v, every step in bfloat16",
    ),
    KnownDivergence(
        id="D52",
        name="jit-vs-eager",
        trigger="a bfloat16 RMSNorm under jax.jit, which keeps extra digits between steps",
        predicted=0.0156,
        size_of="largest absolute difference of jax.jit from torch, which matches JAX without jit bit for bit",
        measure=_rms_norm_under_jit,
        source="gemma#367",
        to_torch="normalise in float32 and round once, on both sides: x.astype(jnp.float32) first, x.dtype last",
        to_jax="x.float() first, x.dtype last",
    ),
    KnownDivergence(
        id="D53",
        name="x64-off",
        trigger="float64 or int64 passed to JAX without jax_enable_x64",
        predicted=5.9e-8,
        size_of="largest relative change in 1000 numbers that become float32; int64 becomes int32 likewise",
        measure=_float64_without_x64,
        source="JAX documentation, double (64 bit) precision",
        to_torch='jax.config.update("jax_enable_x64", True)',
        to_jax="tensor.float(), ids.int()",
    ),
    KnownDivergence(
        id="D54",
        name="promotion",
        trigger="a zero-dimensional float32 array times a bfloat16 array",
        predicted=5.2e-3,
        size_of="largest relative difference in the products: torch bfloat16, JAX float32",
        measure=_scalar_promotes,
        source="torch.result_type and JAX type promotion documentation",
        to_torch="x * scalar.astype(x.dtype)",
        to_jax="x.float() * scalar",
    ),
    KnownDivergence(
        id="D101",
        name="bf16-product-on-cpu",
        trigger="the gradient of a kernel in bfloat16 on a CPU, with the YNNPACK that jax 0.11 turns on",
        predicted=8.9e-3,
        size_of="relative L2 error of sums of 55 products that are rounded after each (torch rounds once: 1.7e-3)",
        measure=_weight_gradient_in_bfloat16,
        source="measured with jax 0.11.2: the product is one that YNNPACK does not take, and XLA adds it up as it is",
        to_torch='jax.jit(f, compiler_options={"xla_cpu_experimental_ynn_fusion_type": ""})',
        to_jax="nothing to change in torch, which adds up in float32",
        processors=Processors("run a jaxlib that adds up such products in bfloat16", _adds_in_bfloat16, 1.7e-3),
    ),
    KnownDivergence(
        id="D102",
        name="hard-sigmoid-gradient",
        trigger="the gradient of a hard sigmoid in float64, whose slope torch holds in float32 (MobileNet 3)",
        predicted=5.0e-9,
        size_of="absolute difference of torch's slope from 1/6, which JAX has",
        measure=_slope_of_hard_sigmoid,
        source="measured: torch's gradient at 0 is float32's 1/6",
        to_torch="nothing to change in JAX, whose slope is 1/6",
        to_jax="F.relu6(x + 3) / 6",
    ),
)
