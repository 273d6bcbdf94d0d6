"""Mistakes of public reports, rebuilt small: `explain` names each with its row of the catalogue, at its module."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax import nnx

from crosscheck.explain import explain
from crosscheck.pairing.copy_weights import copy_weights


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


IMAGES, ROWS, IDS = drawn(2, 3, 8, 8), drawn(4, 6, seed=1), np.array([1, 3, 0, 2])
HEADS, KERNEL = drawn(2, 4, 6, 4, seed=2), drawn(3, 2, 3, 3, seed=3)
POSITIONS = np.arange(6)


def attention(seen):
    def run(x):
        scores = x @ jnp.swapaxes(x, -1, -2) / 2
        return jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), -1) @ x

    return run


def windowed(x):
    distance = torch.arange(6)[:, None] - torch.arange(6)
    seen = (distance >= 0) & (distance < 3)
    return (x @ x.mT / 2).masked_fill(~seen, -torch.inf).softmax(-1) @ x


def tiled(x):
    return jnp.tile(x, (1, 2, 1, 1)) * jnp.arange(1.0, 9)[:, None, None]


def smoothed(logits):
    share = jnp.where(jax.nn.one_hot(IDS, 6) > 0, 0.9, 0.1 / 5)
    return -(share * jax.nn.log_softmax(logits)).sum(-1).mean()


def transposed(x):
    kernel = jnp.asarray(KERNEL.transpose(2, 3, 0, 1))
    y = jax.lax.conv_transpose(x.transpose(0, 2, 3, 1), kernel, (2, 2), "VALID")
    return y.transpose(0, 3, 1, 2)


def upsampled(x):
    return jax.image.resize(x, (2, 3, 16, 16), "bilinear")


class TorchRotary(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

    def forward(self, x):
        angles = torch.arange(5).double()[:, None] * 100.0 ** (-torch.arange(4) / 4)
        cos, sin = angles.cos(), angles.sin()

        def rotated(y):
            a, b = y.chunk(2, -1)
            return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

        return rotated(self.q_proj(x)) @ rotated(self.k_proj(x)).mT


class FlaxRotary(nnx.Module):
    """Rotates neighbours, not halves, with weights that were not permuted."""

    def __init__(self, rngs):
        self.q_proj, self.k_proj = nnx.Linear(8, 8, rngs=rngs), nnx.Linear(8, 8, rngs=rngs)

    def __call__(self, x):
        angles = jnp.arange(5.0)[:, None] * 100.0 ** (-jnp.arange(4) / 4)
        cos, sin = jnp.cos(angles), jnp.sin(angles)

        def rotated(y):
            a, b = y[..., ::2], y[..., 1::2]
            return jnp.stack([a * cos - b * sin, b * cos + a * sin], -1).reshape(y.shape)

        return rotated(self.q_proj(x)) @ jnp.swapaxes(rotated(self.k_proj(x)), -1, -2)


class TorchNorm(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.fc, self.norm = torch.nn.Linear(6, 6), norm(6)

    def forward(self, x):
        return self.norm(self.fc(x))


class FlaxNorm(nnx.Module):
    def __init__(self, rngs, norm):
        self.fc, self.norm = nnx.Linear(6, 6, rngs=rngs), norm(6, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.fc(x))


def modules(ours, make):
    torch.manual_seed(0)
    ours = ours.double()
    return ours, copy_weights(ours, make(nnx.Rngs(0)))


# report: (a pair, an input, options, row of the catalogue, module)
WORKED_ON = {
    "flax#2401, a pool that counts its padding": (
        lambda: (lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
                 lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 1, 3, 3), (1, 1, 1, 1), "SAME") / 9),
        IMAGES, {}, "D74", "function"),
    "transformers#11364, the fast GELU": (
        lambda: (lambda x: F.gelu(x) @ x.T, lambda x: jax.nn.gelu(x) @ x.T), ROWS, {}, "D24", "function"),
    "flax#2195, a ported LayerNorm": (
        lambda: modules(TorchNorm(torch.nn.LayerNorm), lambda rngs: FlaxNorm(rngs, nnx.LayerNorm)),
        ROWS, {}, "D18", "TorchNorm.norm"),
    "jax#11252, a transposed convolution": (
        lambda: (lambda x: F.conv_transpose2d(x, torch.tensor(KERNEL), stride=2), transposed),
        IMAGES, {}, "D76", "function"),
    "onnx#7274, tiled heads": (
        lambda: (lambda x: x.repeat_interleave(2, 1) * torch.arange(1.0, 9).double()[:, None, None], tiled),
        HEADS, {}, "D87", "function"),
    "attention that sees one token ahead": (
        lambda: (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
                 attention(POSITIONS[:, None] + 1 >= POSITIONS)), HEADS, {}, "D78", "function"),
}  # fmt: skip
HELD_BACK = {
    "cmmd-pytorch#4, smoothing of a smaller image": (
        lambda: (lambda x: F.interpolate(x, (4, 4), mode="bicubic"),
                 lambda x: jax.image.resize(x, (2, 3, 4, 4), "bicubic")), IMAGES, {}, "D77", "function"),
    "transformers#29176, a window one token too wide": (
        lambda: (windowed, attention((POSITIONS[:, None] >= POSITIONS) & (POSITIONS[:, None] - POSITIONS <= 3))),
        HEADS, {}, "D78", "windowed"),
    "icefall#107, smoothed labels among the others": (
        lambda: (lambda logits: F.cross_entropy(logits, torch.tensor(IDS), label_smoothing=0.1), smoothed),
        ROWS, {}, "D84", "function"),
    "transformers#25199, rotary pairs": (
        lambda: modules(TorchRotary(), FlaxRotary), drawn(2, 5, 8), {}, "D11", "TorchRotary"),
    "scvi-tools#2309, momentum of batch normalisation": (
        lambda: modules(TorchNorm(torch.nn.BatchNorm1d),
                        lambda rngs: FlaxNorm(rngs, lambda n, rngs: nnx.BatchNorm(n, epsilon=1e-5, rngs=rngs))),
        ROWS, {"train": True}, "D21", "TorchNorm.norm"),
    "flax#2210, aligned corners": (
        lambda: (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True), upsampled),
        IMAGES, {}, "D77", "function"),
}  # fmt: skip
REPORTS = {**WORKED_ON, **HELD_BACK}


@pytest.mark.parametrize("report", REPORTS)
def test_the_mistake_of_a_public_report_is_named_at_its_module(report):
    make, inputs, options, row, module = REPORTS[report]
    with jax.enable_x64(True):
        found = explain(*make(), inputs, **options)
    assert found.report.first_divergence.module == module, str(found)
    assert found.divergence is not None, str(found)
    assert found.divergence.id == row, str(found)
