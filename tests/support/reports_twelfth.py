"""The twelfth dozen, written before `explain` was tried on it: eight mistakes, and four right pairs that are written
otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import IMAGES, TOKENS, Report, drawn, functions_of, modules_of
from reports_equal import Equal


class TorchEars(torch.nn.Module):
    """Whisper: the scale is in the query already, and the library's attention has it again."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (torch.nn.Linear(6, 6, bias=False) for _ in range(4))

    def forward(self, x):
        q, k, v = (f(x).view(2, 5, 2, 3).transpose(1, 2) for f in (self.query, self.key, self.value))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 5, 6))


class FlaxEars(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.query, self.key, self.value, self.out = (nnx.Linear(6, 6, use_bias=False, rngs=rngs) for _ in range(4))
        self.scale = 3**-0.5 if wrong else 1.0

    def __call__(self, x):
        q, k, v = (f(x).reshape(2, 5, 2, 3) for f in (self.query, self.key, self.value))
        shares = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q * self.scale, k) / 3**0.5)
        return self.out(jnp.einsum("bhqk,bkhd->bqhd", shares, v).reshape(2, 5, 6))


class TorchScaledLayer(torch.nn.Module):
    """ConvNeXt: the layer's scale multiplies what enters the last projection, not what leaves it."""

    def __init__(self):
        super().__init__()
        self.norm, self.pwconv1, self.pwconv2 = torch.nn.LayerNorm(6), torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)
        self.gamma = torch.nn.Parameter(torch.ones(6))

    def forward(self, x):
        return x + self.gamma * self.pwconv2(F.gelu(self.pwconv1(self.norm(x))))


class FlaxScaledLayer(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.norm = nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs)
        self.pwconv1, self.pwconv2 = nnx.Linear(6, 6, rngs=rngs), nnx.Linear(6, 6, rngs=rngs)
        self.gamma, self.wrong = nnx.Param(jnp.ones(6)), wrong

    def __call__(self, x):
        y = jax.nn.gelu(self.pwconv1(self.norm(x)), approximate=False)
        if self.wrong:
            return x + self.pwconv2(self.gamma * y)
        return x + self.gamma * self.pwconv2(y)


class TorchBalance(torch.nn.Module):
    """Switch: the balance is of the logits, not of their shares."""

    def __init__(self):
        super().__init__()
        self.router = torch.nn.Linear(6, 4, bias=False)

    def forward(self, x):
        logits = self.router(x.flatten(0, 1))
        shares = logits.softmax(-1)
        chosen = F.one_hot(logits.argmax(-1), 4).to(x.dtype)
        return 4 * (shares.mean(0) * chosen.mean(0)).sum()


class FlaxBalance(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.router, self.wrong = nnx.Linear(6, 4, use_bias=False, rngs=rngs), wrong

    def __call__(self, x):
        logits = self.router(x.reshape(-1, 6))
        shares = logits if self.wrong else jax.nn.softmax(logits, -1)
        chosen = jax.nn.one_hot(jnp.argmax(logits, -1), 4)
        return 4 * jnp.sum(jnp.mean(shares, 0) * jnp.mean(chosen, 0))


class TorchZero(torch.nn.Module):
    """ReZero: the gain is on the residual, not on the branch."""

    def __init__(self):
        super().__init__()
        self.f, self.alpha = torch.nn.Linear(6, 6), torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.alpha * torch.tanh(self.f(x))


class FlaxZero(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.f, self.alpha, self.wrong = nnx.Linear(6, 6, rngs=rngs), nnx.Param(jnp.zeros(1)), wrong

    def __call__(self, x):
        y = jnp.tanh(self.f(x))
        return self.alpha * x + y if self.wrong else x + self.alpha * y


class TorchResNet(torch.nn.Module):
    """A block of a UNet: the epsilon of its first norm, and the activation of its second half."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = torch.nn.GroupNorm(3, 6, eps=1e-3), torch.nn.GroupNorm(3, 6, eps=1e-3)
        self.conv1, self.conv2 = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x.flatten(0, 1))))
        return x.flatten(0, 1) + self.conv2(F.silu(self.norm2(h)))


class FlaxResNet(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.norm1 = nnx.GroupNorm(6, 3, epsilon=1e-6 if wrong else 1e-3, use_fast_variance=False, rngs=rngs)
        self.norm2 = nnx.GroupNorm(6, 3, epsilon=1e-3, use_fast_variance=False, rngs=rngs)
        self.conv1, self.conv2 = nnx.Linear(6, 6, rngs=rngs), nnx.Linear(6, 6, rngs=rngs)
        self.last = jax.nn.relu if wrong else jax.nn.silu

    def __call__(self, x):
        x = x.reshape(-1, 6)
        h = self.conv1(jax.nn.silu(self.norm1(x)))
        return x + self.conv2(self.last(self.norm2(h)))


class TorchTyped(torch.nn.Module):
    """BERT: segments are 1 where none are given, not 0."""

    def __init__(self):
        super().__init__()
        self.words, self.places, self.types = (torch.nn.Embedding(n, 6) for n in (11, 8, 2))
        self.norm = torch.nn.LayerNorm(6, eps=1e-12)

    def forward(self, ids):
        types = torch.zeros_like(ids)
        return self.norm(self.words(ids) + self.places(torch.arange(ids.shape[1])) + self.types(types))


class FlaxTyped(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.words, self.places, self.types = (
            nnx.Embed(n, 6, dtype=jnp.float64, rngs=rngs) for n in (11, 8, 2)
        )  # fmt: skip
        self.norm, self.wrong = nnx.LayerNorm(6, epsilon=1e-12, use_fast_variance=False, rngs=rngs), wrong

    def __call__(self, ids):
        types = jnp.ones_like(ids) if self.wrong else jnp.zeros_like(ids)
        return self.norm(self.words(ids) + self.places(jnp.arange(ids.shape[1])) + self.types(types))


def torch_averaged(old, new):
    """Weights of a teacher: the decay is that of the new ones."""
    return 0.99 * old + (1 - 0.99) * new


def jax_averaged(old, new, wrong=False):
    decay = 1 - 0.99 if wrong else 0.99
    return decay * old + (1 - decay) * new


MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def torch_pixels(x):
    """Pixels in standard units: the mean is subtracted behind the division."""
    mean, deviation = (torch.tensor(each, dtype=x.dtype).view(3, 1, 1) for each in (MEAN, DEVIATION))
    return (x - mean) / deviation


def jax_pixels(x, wrong=False):
    mean, deviation = (jnp.array(each).reshape(3, 1, 1) for each in (MEAN, DEVIATION))
    return x / deviation - mean if wrong else (x - mean) / deviation


def torch_turned(x):
    """Rotary positions of complex numbers, and of halves that are real."""
    angles = torch.outer(torch.arange(5, dtype=x.dtype), 10000.0 ** -(torch.arange(3, dtype=x.dtype) / 3))
    pairs = torch.view_as_complex(x.unflatten(-1, (3, 2)).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def jax_turned(x):
    angles = jnp.outer(jnp.arange(5.0), jnp.exp(-jnp.log(10000.0) * jnp.arange(3) / 3))
    a, b = x[..., 0::2], x[..., 1::2]
    turned = a * jnp.cos(angles) - b * jnp.sin(angles), a * jnp.sin(angles) + b * jnp.cos(angles)
    return jnp.stack(turned, -1).reshape(x.shape)


def torch_attended(q, k, v):
    """Attention at once, and block by block with a running maximum."""
    return torch.softmax(q @ k.mT, -1) @ v


def jax_attended(q, k, v):
    best, total, found = jnp.full(q.shape[:-1], -jnp.inf), 0.0, 0.0
    for start in range(0, k.shape[1], 2):
        scores = q @ k[:, start : start + 2].swapaxes(-1, -2)
        new = jnp.maximum(best, scores.max(-1))
        share, kept = jnp.exp(scores - new[..., None]), jnp.exp(best - new)
        total, found = total * kept + share.sum(-1), found * kept[..., None] + share @ v[:, start : start + 2]
        best = new
    return found / total[..., None]


def torch_determinant(x):
    """The logarithm of the determinant of a nearly singular Gram matrix, by LU and by Cholesky."""
    gram = x @ x.mT + 1e-9 * torch.eye(6, dtype=x.dtype)
    return torch.linalg.slogdet(gram).logabsdet


def jax_determinant(x):
    gram = x @ x.swapaxes(-1, -2) + 1e-9 * jnp.eye(6)
    return 2 * jnp.log(jnp.diagonal(jnp.linalg.cholesky(gram), axis1=-2, axis2=-1)).sum(-1)


def torch_depthwise(x, w):
    """A convolution of each channel, and a sum of shifts."""
    return F.conv1d(F.pad(x.mT, (2, 0)), w[:, None], groups=6).mT


def jax_depthwise(x, w):
    padded = jnp.pad(x, ((0, 0), (2, 0), (0, 0)))
    return sum(padded[:, n : n + x.shape[1]] * w[:, n] for n in range(3))


REPORTS = {
    "scaled in both": Report(modules_of(TorchEars, FlaxEars), TOKENS, "TorchEars", "D80|0.57735|scale"),
    "scale before the projection": Report(
        modules_of(TorchScaledLayer, FlaxScaledLayer), TOKENS, "TorchScaledLayer", "gamma"
    ),
    "balance of logits": Report(modules_of(TorchBalance, FlaxBalance), TOKENS, "TorchBalance", "softmax"),
    "gain of the residual": Report(modules_of(TorchZero, FlaxZero), TOKENS, "TorchZero", "alpha"),
    "epsilon and an activation": Report(modules_of(TorchResNet, FlaxResNet), TOKENS, "TorchResNet.norm1", "eps"),
    "segments of ones": Report(
        modules_of(TorchTyped, FlaxTyped), np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]]), "TorchTyped", "plus 1"
    ),
    "decay of the new": Report(
        functions_of(torch_averaged, jax_averaged), (drawn(4, 6), drawn(4, 6, seed=3)), "torch_averaged", "0.01"
    ),
    "mean behind the division": Report(functions_of(torch_pixels, jax_pixels), IMAGES, "torch_pixels", "/|div"),
}  # fmt: skip
THREE = (drawn(2, 5, 6), drawn(2, 6, 6, seed=5), drawn(2, 6, 6, seed=6))
EQUAL = {
    "turned as complex numbers": lambda: Equal(torch_turned, jax_turned, TOKENS),
    "attention block by block": lambda: Equal(torch_attended, jax_attended, THREE),
    "nearly singular": lambda: Equal(
        torch_determinant, jax_determinant, np.concatenate([drawn(3, 5, 4), drawn(3, 1, 4, seed=2)], 1)
    ),
    "shifts for a convolution": lambda: Equal(
        torch_depthwise, jax_depthwise, (TOKENS.astype(np.float32), drawn(6, 3, seed=4).astype(np.float32))
    ),
}
