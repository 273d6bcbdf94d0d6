"""Rows D48, D49, D55, D63 and D64: divergences that show only on an NVIDIA GPU."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F
from flax import nnx
from torch import nn

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import as_float64, draw, largest_gap, measurement, relative_gap
from crosscheck.divergences.rows.sequences import flax_cell

REPEATS, ROWS, WIDTH = 8, 16_384, 16


@contextmanager
def _precision_as_shipped() -> Iterator[None]:
    """Both frameworks at their defaults: torch in float32 except in cuDNN's layers, JAX in TF32."""
    defaults = {torch.backends.cuda.matmul: "none", torch.backends.cudnn.rnn: "tf32"}
    before = {switch: switch.fp32_precision for switch in defaults}
    for switch, value in defaults.items():
        switch.fp32_precision = value
    try:
        with jax.default_matmul_precision("default"):
            yield
    finally:
        for switch, value in before.items():
            switch.fp32_precision = value


@_precision_as_shipped()
def _matmul_in_tf32() -> float:
    arrays = draw(2, 256, 256).astype(np.float32)
    x, y = torch.tensor(arrays, device="cuda")
    return relative_gap(jnp.matmul(*map(jnp.asarray, arrays)), x @ y)


@measurement()
def _gru_in_tf32() -> float:
    inputs = draw(16, 32, 256).astype(np.float32)
    gru = nn.GRU(256, 256, batch_first=True)  # at width 64 cuDNN uses a different, float32 kernel
    nn.init.zeros_(gru.bias_hh_l0)  # nnx.GRUCell has none
    read = nnx.jit(lambda rnn, x: rnn(x))
    full = read(nnx.RNN(flax_cell(gru)), jnp.asarray(inputs))
    with _precision_as_shipped(), torch.no_grad():
        return relative_gap(gru.cuda()(torch.tensor(inputs, device="cuda"))[0], full)


@measurement()
def _second_moment_of_fused_adamw() -> float:
    gradient = draw(1000).astype(np.float32)
    parameter = nn.Parameter(torch.zeros(1000, device="cuda"))
    parameter.grad = torch.tensor(gradient, device="cuda")
    adamw = torch.optim.AdamW([parameter], betas=(0.9, 0.999), fused=True)
    adamw.step()
    _, state = optax.adamw(1e-3, b2=0.999).update(
        jnp.asarray(gradient), optax.adamw(1e-3, b2=0.999).init(jnp.zeros(1000)), jnp.zeros(1000)
    )
    return relative_gap(adamw.state[parameter]["exp_avg_sq"], optax.tree.get(state, "nu"))


def _embedding_gradients(dtype: str, ids: np.ndarray, upstream: np.ndarray) -> tuple[torch.Tensor, jax.Array]:
    """The gradient of a two-row table in torch and in JAX, on the GPU."""
    table = torch.zeros(2, WIDTH, dtype=getattr(torch, dtype), device="cuda", requires_grad=True)
    vectors = F.embedding(torch.tensor(ids, device="cuda"), table)
    vectors.backward(torch.tensor(upstream, device="cuda").to(table.dtype))
    _, pull_back = jax.vjp(lambda table: table[jnp.asarray(ids)], jnp.zeros((2, WIDTH), dtype))
    return table.grad, jax.jit(pull_back)(jnp.asarray(upstream, dtype))[0]


@measurement()
def _gradients_that_do_not_repeat() -> float:
    ids, upstream = np.arange(ROWS) % 2, draw(ROWS, WIDTH)
    runs = [_embedding_gradients("float32", ids, upstream)[1] for _ in range(REPEATS)]
    return float(np.mean(np.ptp([as_float64(run) for run in runs], axis=0) > 0))


@measurement()
def _compiled_gradients_that_do_not_repeat() -> float:
    ids = torch.tensor(np.arange(ROWS) % 2, device="cuda")
    table = torch.zeros(2, WIDTH, device="cuda", requires_grad=True)
    upstream = torch.tensor(draw(ROWS, WIDTH), device="cuda", dtype=table.dtype)
    lookup = torch.compile(lambda table: F.embedding(ids, table))
    runs = [torch.autograd.grad(lookup(table), table, upstream)[0] for _ in range(REPEATS)]
    return float(np.mean(np.ptp([as_float64(run) for run in runs], axis=0) > 0))


@measurement()
def _gelu_in_float64() -> float:
    inputs, weight, bias = draw(256, 48), draw(48, 192), draw(192)
    run = jax.jit(
        lambda x, w, b: jax.nn.gelu(x @ w + b, approximate=True), compiler_options={"xla_gpu_enable_triton_gemm": False}
    )
    tensors = (torch.tensor(array, device="cuda") for array in (bias, inputs, weight))
    return relative_gap(run(inputs, weight, bias), F.gelu(torch.addmm(*tensors), approximate="tanh"))


@measurement()
def _bfloat16_embedding_gradient() -> float:
    accumulated, added = _embedding_gradients("bfloat16", np.ones(ROWS, np.int64), draw(ROWS, WIDTH))
    return relative_gap(added[1], accumulated[1])


@measurement()
def _mask_that_cudnn_refuses() -> float:
    inputs, mask = draw(3, 2, 32, 3, 64), np.arange(32) < np.array([[[[20]]], [[[32]]]])  # (B, 1, 1, T)
    tensors = (torch.tensor(x, device="cuda").bfloat16().transpose(1, 2) for x in inputs)
    outputs = F.scaled_dot_product_attention(*tensors, attn_mask=torch.tensor(mask, device="cuda")).transpose(1, 2)
    arrays = (jnp.asarray(x, jnp.bfloat16) for x in inputs)
    try:
        return largest_gap(
            outputs, jax.nn.dot_product_attention(*arrays, mask=jnp.asarray(mask), implementation="cudnn")
        )
    except ValueError:
        return math.inf


GPU = (
    KnownDivergence(
        id="D48",
        name="tf32-matmul",
        trigger="a float32 matrix product on an A100 or H100, both frameworks at their defaults",
        predicted=2.9e-4,
        size_of="relative L2 difference in a 256 x 256 product: torch float32, JAX TF32",
        measure=_matmul_in_tf32,
        source="jax#12008; jax#18934; pytorch/xla#3553; flax#3128",
        to_torch='jax.config.update("jax_default_matmul_precision", "highest")',
        to_jax='torch.backends.cuda.matmul.fp32_precision = "tf32"',
        device="cuda",
    ),
    KnownDivergence(
        id="D49",
        name="tf32-cudnn-rnn",
        trigger="nn.GRU or nn.LSTM in float32 on a GPU, torch at its defaults",
        predicted=3.0e-4,
        size_of="relative L2 difference in the outputs over 32 steps: torch's cuDNN in TF32, JAX in float32",
        measure=_gru_in_tf32,
        source="pytorch#40737; pytorch#179445; transformers#45248",
        to_torch='nnx.RNN under jax.default_matmul_precision("default")',
        to_jax='torch.backends.cudnn.rnn.fp32_precision = "ieee" (the switch in torch.backends does not cover it)',
        device="cuda",
    ),
    KnownDivergence(
        id="D55",
        name="gpu-nondeterminism",
        trigger="the gradient of a gather with repeated ids: atomic additions in the order that threads arrive",
        predicted=1.0,
        size_of="share of entries in a float32 embedding's gradient that vary over 8 runs of JAX",
        measure=_gradients_that_do_not_repeat,
        source="jax#13672; jax#565; jax#4823; jax#4824",
        to_torch="XLA_FLAGS=--xla_gpu_deterministic_ops=true",
        to_jax="torch sorts the ids of F.embedding (compiled, it does not: D98); index_add_ varies too, unless "
        "use_deterministic_algorithms(True)",
        device="cuda",
    ),
    KnownDivergence(
        id="D98",
        name="compiled-embedding-atomics",
        trigger="torch.compile of a step with an embedding in float32 on a GPU: runs no longer repeat to the bit",
        predicted=1.0,
        size_of="share of entries in a float32 embedding's gradient that vary over 8 runs of compiled torch",
        measure=_compiled_gradients_that_do_not_repeat,
        source="measured on an H200 with torch 2.11: Inductor adds the gradient of F.embedding up with atomics",
        to_torch="a custom operation around aten.embedding_dense_backward, which sorts the ids",
        to_jax="XLA adds them up with atomics, too (D55)",
        device="cuda",
    ),
    KnownDivergence(
        id="D63",
        name="bf16-embedding-scatter",
        trigger="a bfloat16 embedding with many equal ids, such as token types, on a GPU (on a CPU torch does it too)",
        predicted=0.148,
        size_of="relative L2 error of JAX's gradient of a row shared by 16,384 ids; torch sums in float32",
        measure=_bfloat16_embedding_gradient,
        source="measured on an H100; XLA sums a scatter in the table's dtype",
        to_torch="jnp.take(table.astype(jnp.float32), ids, axis=0).astype(table.dtype)",
        to_jax="torch.zeros_like(table).index_add_(0, ids, upstream) for the gradient",
        device="cuda",
    ),
    KnownDivergence(
        id="D64",
        name="cudnn-mask-shape",
        trigger='jax.nn.dot_product_attention(implementation="cudnn") with a mask of shape (B, 1, 1, T)',
        predicted=math.inf,
        size_of="infinite if JAX raises ValueError where torch's SDPA broadcasts the mask",
        measure=_mask_that_cudnn_refuses,
        source="jax#28974",
        to_torch="jnp.broadcast_to(mask, (B, 1, T, T)), or key_value_seq_lengths=lengths",
        to_jax="nothing to change in torch; pass attn_mask=mask.expand(B, 1, T, T) to use the same shape",
        device="cuda",
    ),
    KnownDivergence(
        id="D71",
        name="fused-adamw-on-gpu",
        trigger="torch.optim.AdamW(fused=True) on a GPU: its kernel computes 1 - beta_2 in float32",
        predicted=1.3e-5,
        size_of="relative L2 difference in the second moment after one step at beta_2 = 0.999",
        measure=_second_moment_of_fused_adamw,
        source="measured here on an H100, torch 2.11",
        to_torch="(1 - jnp.float32(b2)) in place of 1 - b2",
        to_jax="torch.optim.AdamW(..., foreach=True)",
        device="cuda",
    ),
    KnownDivergence(
        id="D100",
        name="gelu-epilogue",
        trigger="the approximate GELU of a linear map in float64 on a GPU, under xla_gpu_enable_triton_gemm=False",
        predicted=1.9e-11,
        size_of="relative L2 difference in the outputs: XLA lets cuBLASLt apply the GELU, to 11 digits of float64's 16",
        measure=_gelu_in_float64,
        source="measured on an H200 with jax 0.11: the compiled program has the epilogue BIAS_GELU",
        to_torch="leave the option at its default, with which XLA applies the GELU itself",
        to_jax="nothing to change in torch, whose GELU is float64",
        device="cuda",
    ),
)
