"""Rows D01, D02 and D09 to D12: one layer's numbers in a different order, so that every shape still fits."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen, nnx
from torch import Tensor, nn

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import draw, largest_gap, load, measurement


def _nnx_linear(kernel: np.ndarray, bias: np.ndarray) -> nnx.Linear:
    layer = nnx.Linear(*kernel.shape, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    layer.kernel.set_value(jnp.asarray(kernel))
    layer.bias.set_value(jnp.asarray(bias))
    return layer


@measurement()
def _untransposed() -> float:
    weight, bias = draw(64, 64, std=1 / np.sqrt(3 * 64), seed=1), draw(64, std=1 / np.sqrt(3 * 64), seed=2)
    inputs = draw(8, 64)
    ours = load(nn.Linear(64, 64), {"weight": weight, "bias": bias})(torch.tensor(inputs))
    return largest_gap(ours, _nnx_linear(weight, bias)(inputs))


@measurement()
def _flattened_channels_last() -> float:
    images = draw(4, 6, 6, 3)
    kernel, dense = draw(3, 3, 3, 5, std=0.2, seed=1), draw(4 * 4 * 5, 7, std=0.1, seed=2)
    features = linen.Conv(5, (3, 3), padding="VALID", use_bias=False, param_dtype=jnp.float64)
    theirs = features.apply({"params": {"kernel": kernel}}, images).reshape(4, -1) @ dense
    convolution = load(nn.Conv2d(3, 5, 3, bias=False), {"weight": kernel.transpose(3, 2, 0, 1)})
    linear = load(nn.Linear(4 * 4 * 5, 7, bias=False), {"weight": dense.T})
    return largest_gap(linear(convolution(torch.tensor(images.transpose(0, 3, 1, 2))).flatten(1)), theirs)


@measurement()
def _heads_last() -> float:
    width, heads, std = 12, 3, 0.5 * 12**-0.5
    packed, out = draw(3 * width, width, std=std, seed=1), draw(width, width, std=std, seed=2)
    weights = {"in_proj_weight": packed, "in_proj_bias": np.zeros(3 * width)}
    weights |= {"out_proj.weight": out, "out_proj.bias": np.zeros(width)}
    attention = load(nn.MultiheadAttention(width, heads, batch_first=True), weights)
    parameters = {
        name: {"kernel": weight.T.reshape(width, -1, heads).swapaxes(1, 2), "bias": np.zeros((heads, width // heads))}
        for name, weight in zip(("query", "key", "value"), np.split(packed, 3), strict=True)
    }
    parameters["out"] = {"kernel": out.T.reshape(-1, heads, width).swapaxes(0, 1), "bias": np.zeros(width)}
    inputs = draw(2, 5, width)
    theirs = linen.MultiHeadAttention(heads, param_dtype=jnp.float64).apply({"params": parameters}, inputs)
    return largest_gap(attention(*[torch.tensor(inputs)] * 3)[0], theirs)


@measurement()
def _conv1d_transposed() -> float:
    from transformers.pytorch_utils import Conv1D

    weight, bias, inputs = draw(64, 64, std=0.02, seed=1), draw(64, std=0.02, seed=2), draw(8, 64)
    ours = load(Conv1D(64, 64), {"weight": weight, "bias": bias})(torch.tensor(inputs))
    return largest_gap(ours, _nnx_linear(weight.T, bias)(inputs))


def _interleaved(inputs: Tensor, angles: Tensor) -> Tensor:
    pairs = torch.view_as_complex(inputs.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def _half_split(inputs: jax.Array, angles: jax.Array) -> jax.Array:
    first, second = jnp.split(inputs, 2, axis=-1)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


@measurement()
def _rotary_pairs() -> float:
    query, key = draw(32, 16, seed=1), draw(32, 16, seed=2)
    angles = np.arange(32)[:, None] * 10_000.0 ** (-np.arange(8) / 8)
    ours = [_interleaved(torch.tensor(a), torch.tensor(angles)) for a in (query, key)]
    theirs = [_half_split(jnp.asarray(a), jnp.asarray(angles)) for a in (query, key)]
    return largest_gap(torch.softmax(ours[0] @ ours[1].T / 4, -1), jax.nn.softmax(theirs[0] @ theirs[1].T / 4))


class _Layer(linen.Module):
    @linen.compact
    def __call__(self, inputs: jax.Array, _: None) -> tuple[jax.Array, None]:
        return linen.Dense(inputs.shape[-1])(inputs), None


@measurement()
def _stacked_leaves() -> float:
    stack = linen.scan(_Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()
    parameters = jax.eval_shape(stack.init, jax.random.key(0), jnp.zeros((1, 8)), None)
    shapes = {leaf.shape for leaf in jax.tree.leaves(parameters)}
    tensors = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3))).state_dict().values()  # square: no transpose
    return float(sum(tuple(tensor.shape) not in shapes for tensor in tensors))


LAYOUT = (
    KnownDivergence(
        id="D01",
        name="linear-transpose",
        trigger="a square weight of nn.Linear (out, in) is used as a kernel of nnx.Linear (in, out): no shape error",
        predicted=2.83,
        size_of="largest absolute difference in a 64 -> 64 layer at torch's initial std, 8 inputs of std 1",
        measure=_untransposed,
        source="Flax guide convert_pytorch_to_flax",
        to_torch="layer.kernel.set_value(weight.T): nnx.Linear computes x @ kernel",
        to_jax="layer.weight.copy_(kernel.T) under torch.no_grad(): nn.Linear computes x @ weight.T",
    ),
    KnownDivergence(
        id="D02",
        name="conv-layout",
        trigger="convolutions: channels first, kernels OIHW in torch; channels last, HWIO in Flax; then a flatten",
        predicted=3.5,
        size_of="largest absolute difference in a dense layer after a correct 3x3 convolution, 80 rows not permuted",
        measure=_flattened_channels_last,
        source="Flax guide convert_pytorch_to_flax",
        to_torch="x.transpose(0, 3, 1, 2).reshape(len(x), -1) before nnx.Linear; kernel = weight.transpose(2, 3, 1, 0)",
        to_jax="x.permute(0, 2, 3, 1).flatten(1) before nn.Linear; weight = kernel.transpose(3, 2, 0, 1)",
    ),
    KnownDivergence(
        id="D09",
        name="mha-packing",
        trigger="in_proj_weight (3E, E) becomes Flax's (E, H, D) kernels, the width split as (D, H): every shape fits",
        predicted=4.3e-2,
        size_of="largest absolute difference in self-attention (E 12, H 3, weight std 0.5 / sqrt(E)) split dim-major",
        measure=_heads_last,
        source="torch.nn.MultiheadAttention documentation, weight transforms of Bonsai and AXLearn",
        to_torch="q, k, v = (w.T.reshape(E, H, D) for w in np.split(in_proj_weight, 3)); out = out.T.reshape(H, D, E)",
        to_jax="in_proj_weight = np.concatenate([w.reshape(E, E).T for w in (q, k, v)]); out = out.reshape(E, E).T",
    ),
    KnownDivergence(
        id="D10",
        name="gpt2-conv1d",
        trigger="a converter transposes every weight, but Hugging Face's GPT-2 already stores Conv1D as (in, out)",
        predicted=0.71,
        size_of="largest absolute difference in the outputs of a 64 -> 64 layer of std 0.02, 8 inputs of std 1",
        measure=_conv1d_transposed,
        source="AXLearn _parameters_to_hf_gpt2_attention",
        to_torch="kernel = weight for c_attn, c_proj and c_fc; q, k, v = np.split(c_attn.weight, 3, axis=1)",
        to_jax="weight = kernel for Conv1D, or weight = kernel.T after replacing it by nn.Linear",
    ),
    KnownDivergence(
        id="D11",
        name="rope-interleave",
        trigger="rotary positions rotate neighbours (x0, x1) here and halves (x0, x8) there; position 0 hides it",
        predicted=0.25,
        size_of="largest absolute difference in attention weights over 32 positions of width 16, torch interleaved",
        measure=_rotary_pairs,
        source="docstring of MaxText's checker, Transformer Engine's rotary utilities",
        to_torch="reorder w_q and w_k to halves: w.reshape(H, D // 2, 2, E).swapaxes(1, 2).reshape(H * D, E)",
        to_jax="reorder w_q and w_k to pairs: w.reshape(H, 2, D // 2, E).transpose(1, 2).reshape(H * D, E)",
    ),
    KnownDivergence(
        id="D12",
        name="scan-stacked",
        trigger="layers in nn.scan: one leaf holds them all along a leading axis, state_dict has one tensor each",
        predicted=6.0,
        size_of="count of tensors in three nn.Linear(8, 8) whose shape matches no leaf of the linen.scan parameters",
        measure=_stacked_leaves,
        source="MaxText's tables of scanned and unscanned parameters",
        to_torch="jax.tree.map(lambda leaf: leaf[i], stacked) is layer i; or loop over nnx.List(layers) without a scan",
        to_jax="jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers): torch's layers along axis 0, in order",
    ),
)
