"""Rows D73 to D97 and D99: mistakes that ports of models make, each with the size it has on a small example."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import draw, largest_gap, measurement, relative_gap

X, Y = draw(3, 4, 6), draw(3, 4, 6, seed=1)
IMAGE = draw(2, 3, 8, 8)


def _softmax(scores: np.ndarray) -> np.ndarray:
    return np.asarray(torch.softmax(torch.tensor(scores), -1))


def _rotated(angles: np.ndarray) -> np.ndarray:
    return np.concatenate([np.cos(angles), np.sin(angles)], -1)


@measurement()
def _float32_inside() -> float:
    table = np.arange(1, 6) / 3.0
    return relative_gap(table.astype(np.float32) * np.sqrt(2.0), torch.tensor(table) * np.sqrt(2.0))


@measurement()
def _pool() -> float:
    ones = torch.ones(1, 1, 4, 4)
    return largest_gap(F.avg_pool2d(ones, 3, 1, 1), F.avg_pool2d(ones, 3, 1, 1, count_include_pad=False))


@measurement()
def _same() -> float:
    x, kernel = torch.tensor(IMAGE), torch.tensor(draw(3, 3, 3, 3, seed=1))
    theirs = jax.lax.conv_general_dilated(IMAGE, kernel.numpy(), (2, 2), "SAME")
    return relative_gap(theirs, F.conv2d(x, kernel, stride=2, padding=1))


@measurement()
def _flipped() -> float:
    x, kernel = draw(9), draw(3, seed=1)
    ours = F.conv1d(torch.tensor(x)[None, None], torch.tensor(kernel)[None, None])[0, 0]
    return relative_gap(jnp.convolve(x, kernel, mode="valid"), ours)


@measurement()
def _resize() -> float:
    ours = F.interpolate(torch.tensor(IMAGE), (4, 4), mode="bilinear")
    return relative_gap(jax.image.resize(IMAGE, (2, 3, 4, 4), "linear"), ours)


@measurement()
def _off_by_one() -> float:
    scores = draw(6, 6)
    seen = [np.tril(np.ones((6, 6), bool), shift) for shift in (0, 1)]
    ours, theirs = (_softmax(np.where(each, scores, -np.inf)) for each in seen)
    return relative_gap(theirs, ours)


@measurement()
def _forgotten() -> float:
    scores = draw(6, 6)
    return relative_gap(_softmax(scores), _softmax(np.where(np.tril(np.ones((6, 6), bool)), scores, -np.inf)))


@measurement()
def _scores() -> float:
    scores = draw(6, 6)
    return relative_gap(_softmax(scores), _softmax(scores / 8**0.5))


@measurement()
def _factor() -> float:
    return relative_gap(X, torch.tensor(X) * 6**0.5)


@measurement()
def _one_plus() -> float:
    weight = draw(6, std=0.1, seed=2)
    return relative_gap(X * weight, torch.tensor(X * (1 + weight)))


@measurement()
def _groups() -> float:
    x = torch.tensor(draw(2, 8, 5))
    return relative_gap(F.group_norm(x, 4), F.group_norm(x, 8))


@measurement()
def _reduction() -> float:
    return relative_gap(float(((X - Y) ** 2).sum(-1).mean()), F.mse_loss(torch.tensor(X), torch.tensor(Y)))


@measurement()
def _order() -> float:
    return relative_gap(jnp.concatenate([Y, X], -1), torch.cat([torch.tensor(X), torch.tensor(Y)], -1))


@measurement()
def _angles() -> float:
    positions, powers = np.arange(16.0)[:, None], np.arange(8) / 8
    return relative_gap(_rotated(positions * 1e6**-powers), _rotated(positions * 1e4**-powers))


@measurement()
def _heads() -> float:
    heads = torch.tensor(X)[:, :2]
    return relative_gap(jnp.tile(heads.numpy(), (1, 2, 1)), heads.repeat_interleave(2, 1))


@measurement()
def _residual() -> float:
    return relative_gap(Y, torch.tensor(X + Y))


@measurement()
def _activation() -> float:
    return relative_gap(jax.nn.silu(X), F.gelu(torch.tensor(X)))


@measurement()
def _conjugate() -> float:
    z = torch.tensor(1.0 + 2.0j, requires_grad=True)
    (z * z).real.backward()
    theirs = jax.grad(lambda w: (w * w).real)(1.0 + 2.0j)
    return abs(complex(z.grad) - complex(theirs)) if z.grad is not None else 0.0


@measurement()
def _fourier() -> float:
    return largest_gap(jnp.abs(jnp.fft.rfft(np.ones(16))), torch.fft.rfft(torch.ones(16), norm="ortho").abs())


@measurement()
def _schedule() -> float:
    steps = np.arange(6)
    return largest_gap(*(0.5 * (1 + np.cos(np.pi * steps / total)) for total in (5, 6)))


@measurement()
def _stopped() -> float:
    w = torch.tensor(3.0, requires_grad=True)
    (w * w).backward()
    theirs = jax.grad(lambda v: v * jax.lax.stop_gradient(v))(3.0)
    return float(w.grad - float(theirs)) if w.grad is not None else 0.0


@measurement()
def _behind_where() -> float:
    return float(jax.grad(lambda x: jnp.where(x > 1000.0, 0.0, jnp.exp(x)).sum())(1001.0))


@measurement()
def _normalised() -> float:
    short = np.array([[1e-3, 0.0]])
    theirs = short / np.sqrt(np.square(short).sum(-1, keepdims=True) + 1e-6)
    return largest_gap(theirs, F.normalize(torch.tensor(short)))


@measurement()
def _chosen() -> float:
    ours = torch.zeros(4, dtype=torch.float64).softmax(-1).topk(2).values
    theirs = jax.nn.softmax(jax.lax.top_k(jnp.zeros(4), 2)[0])
    return relative_gap(theirs, ours)


@measurement()
def _kept() -> float:
    return relative_gap(X, torch.tensor(X) / 0.5)


@measurement()
def _other() -> float:
    return relative_gap(np.floor(4 * X), torch.round(4 * torch.tensor(X)))


PORTS = (
    KnownDivergence(
        "D73", "float32-inside", "a layer or constant made in float32 in a float64 model, as nnx.Embed's own",
        2.4e-08, "relative L2 difference of five products", _float32_inside, "flax.nnx.Embed, its dtype",
        "build it with dtype=jnp.float64 (and param_dtype), and constants in the dtype of the inputs",
        "create tensors with dtype=x.dtype, or compare with widen=True",
    ),
    KnownDivergence(
        "D74", "pool-padding", "an average pool over padding: torch and Flax count it by default, Keras does not",
        0.56, "largest difference over ones, kernel 3, padding 1", _pool, "torch.nn.AvgPool2d, flax.linen.avg_pool",
        "avg_pool(..., count_include_pad=...) and padding as in torch", "count_include_pad=False, padding as in JAX",
    ),
    KnownDivergence(
        "D75", "conv-padding", "SAME padding with stride 2: XLA pads more behind, torch alike on both sides",
        1.3, "relative L2 difference, kernel 3, stride 2, on 8 x 8", _same, "diffusers#621, jax.lax documentation",
        "padding=((1, 1), (1, 1)), torch's", "F.pad(x, (0, 1, 0, 1)) before a convolution without padding",
    ),
    KnownDivergence(
        "D76", "flipped-kernel", "a convolution of numpy's kind, or a transposed one, with its kernel not flipped",
        0.024, "relative L2 difference, kernel 3", _flipped, "torch.nn.functional.conv1d, jax.numpy.convolve",
        "flip the kernel along its axes in space", "weight.flip(2, 3)",
    ),
    KnownDivergence(
        "D77", "resize", "an image made smaller: jax.image.resize smooths, its cubic has a = -0.5, not -0.75",
        0.47, "relative L2 difference, 8 x 8 to 4 x 4, linear", _resize, "jax.image.resize, torch F.interpolate",
        "jax.image.resize(..., antialias=False); cubic as torch's needs own weights",
        "F.interpolate(..., antialias=True, align_corners=False)",
    ),
    KnownDivergence(
        "D78", "mask-off-by-one", "a causal mask or a window that is one place too wide or too narrow",
        0.45, "relative L2 difference of six attention weights", _off_by_one, "Flax Mistral in transformers 4.57.6",
        "let each query see itself and what lies before, window - 1 places back", "the same in torch",
    ),
    KnownDivergence(
        "D79", "mask-forgotten", "attention without its causal or padding mask",
        0.68, "relative L2 difference of six attention weights", _forgotten, "ports of BERT and GPT-2",
        "pass the mask to every layer", "drop the mask, if that is meant",
    ),
    KnownDivergence(
        "D80", "attention-scale", "attention scores that are not divided by sqrt(size of a head), or divided twice",
        0.37, "relative L2 difference of the weights, heads of 8", _scores, "esmjax#7",
        "scale = head_size ** -0.5, once", "scale= of scaled_dot_product_attention as in JAX",
    ),
    KnownDivergence(
        "D81", "constant-factor", "an embedding or a branch that is scaled twice, or never",
        0.59, "relative L2 difference for sqrt(6)", _factor, "openpi#769",
        "apply the factor where torch does, once", "apply it as JAX does",
    ),
    KnownDivergence(
        "D82", "one-plus-weight", "a norm that multiplies by 1 + weight on one side and by weight on the other",
        1.0, "relative L2 difference, weights near 0", _one_plus, "gemma_pytorch#33",
        "multiply by 1 + scale, or add 1 to the weights that are copied", "multiply by the weight itself",
    ),
    KnownDivergence(
        "D83", "norm-groups", "group normalisation with another number of groups",
        0.39, "relative L2 difference, 4 and 8 groups", _groups, "diffusers#621",
        "num_groups as in torch", "num_groups as in JAX",
    ),
    KnownDivergence(
        "D84", "reduction", "a loss that is reduced otherwise, smooths its labels among others, or is another: Huber's",
        5.0, "relative difference, a squared error summed over 6 features", _reduction, "flax#2401, icefall#107, optax",
        "reduce over all axes as torch does", "reduction= as in JAX",
    ),
    KnownDivergence(
        "D85", "order-of-parts", "parts of a concatenation, of a split, or two directions in another order",
        1.4, "relative L2 difference of two parts", _order, "diffusers: flip_sin_to_cos, skip connections",
        "concatenate in torch's order", "concatenate in JAX's order",
    ),
    KnownDivergence(
        "D86", "angles", "rotary or sinusoidal angles of another base, shift, sign, or with sine and cosine exchanged",
        0.44, "relative L2 difference of bases 1e4 and 1e6 at 16 positions", _angles, "sglang-jax#1472",
        "take base and order from torch's configuration", "take them from JAX's",
    ),
    KnownDivergence(
        "D87", "heads", "heads split, joined or repeated in another order: (0 0 1 1) or (0 1 0 1)",
        1.2, "relative L2 difference of two heads repeated twice", _heads, "repeat_interleave, jnp.repeat and jnp.tile",
        "jnp.repeat(x, n, axis) for repeat_interleave, and (heads, size) in reshapes", "repeat as JAX does",
    ),
    KnownDivergence(
        "D88", "residual", "a residual connection that is forgotten",
        0.75, "relative L2 difference", _residual, "ports of BERT",
        "add the input of the branch", "leave it out",
    ),
    KnownDivergence(
        "D89", "activation", "another activation: SiLU for GELU, another slope",
        0.15, "relative L2 difference of SiLU and GELU", _activation, "hidden_act of configurations",
        "the activation of torch's configuration", "the activation of JAX's",
    ),
    KnownDivergence(
        "D90", "complex-conjugate", "the gradient of a complex parameter: JAX's is the conjugate of torch's",
        8.0, "absolute difference of the gradients of Re(z^2) at 1 + 2i", _conjugate, "jax#9110, jax#4891",
        "conjugate gradients before an optimizer: jax.tree.map(jnp.conj, gradients)", "no change: torch's descends",
    ),
    KnownDivergence(
        "D91", "fft-norm", "a Fourier transform with another norm",
        12.0, "largest difference of 16 ones with norm=None and 'ortho'", _fourier, "torch.fft, jax.numpy.fft",
        "norm= as in torch", "norm= as in JAX",
    ),
    KnownDivergence(
        "D92", "optimizer-settings", "an optimizer's eps, betas or schedule that differ, such as by one step in all",
        0.15, "largest difference of two cosine schedules of 5 and 6 steps", _schedule, "spd#642",
        "the settings of torch's optimizer", "the settings of optax's",
    ),
    KnownDivergence(
        "D93", "stopped-gradient", "a gradient that is stopped on one side, or a table that is frozen",
        3.0, "absolute difference of the gradient of w^2 at 3", _stopped, "jax#22101",
        "remove stop_gradient, or freeze as torch does", "detach as JAX does",
    ),
    KnownDivergence(
        "D94", "nan-behind-where", "a where that hides an overflow: the value is right, its gradient 0 times infinity",
        float("nan"), "gradient of where(x > 1000, 0, exp(x)) at 1001", _behind_where, "jax#17117, jax#26328",
        "mask the operand before the function that overflows, too", "the same in torch",
    ),
    KnownDivergence(
        "D95", "vector-norm", "a vector or a weight divided by its norm, with another epsilon or along other axes",
        0.29, "largest difference of (1e-3, 0) with 1e-6 under the root or as the least norm", _normalised,
        "flax.linen.WeightNorm (1e-12 under the root), torch's weight_norm (none), F.normalize (the least norm)",
        "the epsilon and axes of torch", "those of JAX",
    ),
    KnownDivergence(
        "D96", "sum-to-one", "weights of chosen experts that sum to one on one side, or a softmax along another axis",
        1.0, "relative L2 difference, 2 of 4 equal weights", _chosen,
        "litgpt#2013, Megatron-LM#955, torchtitan#1448",
        "normalise over what torch does, before or after the choice", "normalise as JAX does",
    ),
    KnownDivergence(
        "D97", "dropout-scale", "dropout of values or of whole paths that are not divided by the share that is kept",
        0.5, "relative L2 difference, a half is kept", _kept, "pytorch-image-models#2118",
        "divide by the share that is kept, as torch does", "leave the kept values as they are",
    ),
    KnownDivergence(
        "D99", "other-operation", "a number, an operation or a tensor made inside that is another on the other side",
        0.1, "relative L2 difference of floor and round of 4 x", _other, "mlx#1636, mlx#3071, flax#2214",
        "make it as torch does", "make it as JAX does",
    ),
)  # fmt: skip
