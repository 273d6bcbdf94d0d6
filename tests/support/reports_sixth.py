"""Mistakes of public reports, the sixth dozen: written before `explain` was tried on them."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import IMAGES, ROWS, TOKENS, Report, drawn, functions_of, modules_of, wrong_in_torch


class TorchNeoX(torch.nn.Module):
    """GPT-NeoX: all of a head is rotated, not its first half alone."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(6, 24), torch.nn.Linear(8, 6)

    def turned(self, x):
        turning, kept = x[..., :2], x[..., 2:]
        a = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * 10000.0 ** (-torch.arange(1, dtype=x.dtype) / 1)
        first, second = turning.chunk(2, -1)
        turned = torch.cat([first * a.cos() - second * a.sin(), second * a.cos() + first * a.sin()], -1)
        return torch.cat([turned, kept], -1)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 2, 3, 4).permute(3, 0, 2, 1, 4)
        a = (self.turned(q) @ self.turned(k).mT * 0.5).softmax(-1)
        return self.out((a @ v).transpose(1, 2).reshape(b, n, 8))


class FlaxNeoX(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.qkv, self.out = nnx.Linear(6, 24, rngs=rngs), nnx.Linear(8, 6, rngs=rngs)
        self.size = 4 if wrong else 2

    def turned(self, x):
        turning, kept = x[..., : self.size], x[..., self.size :]
        half = self.size // 2
        a = jnp.arange(x.shape[-2])[:, None] * 10000.0 ** (-jnp.arange(half) / half)
        first, second = jnp.split(turning, 2, -1)
        turned = [first * jnp.cos(a) - second * jnp.sin(a), second * jnp.cos(a) + first * jnp.sin(a)]
        return jnp.concatenate([*turned, kept], -1)

    def __call__(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 2, 3, 4).transpose(3, 0, 2, 1, 4)
        a = jax.nn.softmax(self.turned(q) @ self.turned(k).swapaxes(-1, -2) * 0.5, -1)
        return self.out((a @ v).transpose(0, 2, 1, 3).reshape(b, n, 8))


class TorchSqueeze(torch.nn.Module):
    """MobileNet 3: the hard sigmoid of Keras, of slope 0.2."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.down, self.up = torch.nn.Linear(8, 4), torch.nn.Linear(4, 8)

    def forward(self, x):
        x = F.hardswish(self.conv(x))
        s = F.relu6(self.up(F.relu(self.down(x.mean((2, 3))))) + 3) / 6
        return x * s[:, :, None, None]


class FlaxSqueeze(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.conv = nnx.Conv(3, 8, (3, 3), padding=1, rngs=rngs)
        self.down, self.up = nnx.Linear(8, 4, rngs=rngs), nnx.Linear(4, 8, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        x = jax.nn.hard_swish(self.conv(x.transpose(0, 2, 3, 1)))
        s = self.up(jax.nn.relu(self.down(x.mean((1, 2)))))
        s = jnp.clip(0.2 * s + 0.5, 0, 1) if self.wrong else jax.nn.hard_sigmoid(s)
        return (x * s[:, None, None]).transpose(0, 3, 1, 2)


class TorchFrozen(torch.nn.Module):
    """DETR: epsilon added behind the root of the frozen variance."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 1, bias=False)
        self.weight, self.bias = torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.zeros(4))
        self.mean, self.var = torch.nn.Parameter(torch.zeros(4)), torch.nn.Parameter(torch.ones(4))

    def forward(self, x):
        scale = self.weight * (self.var**2 + 1e-2).rsqrt()
        return F.relu(self.conv(x) * scale[:, None, None] + (self.bias - self.mean * scale)[:, None, None])


class FlaxFrozen(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.conv = nnx.Conv(3, 4, (1, 1), use_bias=False, rngs=rngs)
        self.weight, self.bias = nnx.Param(jnp.ones(4)), nnx.Param(jnp.zeros(4))
        self.mean, self.var = nnx.Param(jnp.zeros(4)), nnx.Param(jnp.ones(4))
        self.wrong = wrong

    def __call__(self, x):
        y, v = self.conv(x.transpose(0, 2, 3, 1)), self.var[...] ** 2
        root = 1 / (jnp.sqrt(v) + 1e-2) if self.wrong else jax.lax.rsqrt(v + 1e-2)
        scale = self.weight[...] * root
        return jax.nn.relu(y * scale + self.bias[...] - self.mean[...] * scale).transpose(0, 3, 1, 2)


class TorchSuper(torch.nn.Module):
    """Super-resolution: pixels are shuffled as (r, r, channels), not (channels, r, r)."""

    def __init__(self):
        super().__init__()
        self.body, self.up = torch.nn.Conv2d(3, 6, 3, padding=1), torch.nn.Conv2d(6, 12, 3, padding=1)

    def forward(self, x):
        return F.pixel_shuffle(self.up(F.leaky_relu(self.body(x), 0.1)), 2)


class FlaxSuper(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.body = nnx.Conv(3, 6, (3, 3), padding=1, rngs=rngs)
        self.up = nnx.Conv(6, 12, (3, 3), padding=1, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        y = self.up(jax.nn.leaky_relu(self.body(x.transpose(0, 2, 3, 1)), 0.1))
        b, h, w, _ = y.shape
        if self.wrong:
            y = y.reshape(b, h, w, 2, 2, 3).transpose(0, 5, 1, 3, 2, 4)
        else:
            y = y.reshape(b, h, w, 3, 2, 2).transpose(0, 3, 1, 4, 2, 5)
        return y.reshape(b, 3, 2 * h, 2 * w)


WEIGHTS = [0.5, 1.0, 3.0]


def torch_weighed(x, labels):
    """Weights of classes: the mean over all, not over the weights."""
    return F.cross_entropy(x, labels, weight=torch.tensor(WEIGHTS, dtype=x.dtype))


def jax_weighed(x, labels, wrong=False):
    w = jnp.array(WEIGHTS)
    each = -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1)[:, 0] * w[labels]
    return each.mean() if wrong else each.sum() / w[labels].sum()


def torch_positive(x, y):
    """Binary cross entropy: the positives' weight on both terms."""
    return F.binary_cross_entropy_with_logits(x, y, pos_weight=torch.tensor(3.0, dtype=x.dtype))


def jax_positive(x, y, wrong=False):
    positive, negative = y * jax.nn.log_sigmoid(x), (1 - y) * jax.nn.log_sigmoid(-x)
    return -(3.0 * (positive + negative) if wrong else 3.0 * positive + negative).mean()


class TorchCodes(torch.nn.Module):
    """VQ-VAE: no gradient passes straight through (the codes themselves)."""

    def __init__(self):
        super().__init__()
        self.enc, self.dec = torch.nn.Linear(6, 4), torch.nn.Linear(4, 6)
        self.codes = torch.nn.Parameter(torch.randn(5, 4))

    def forward(self, x):
        z = self.enc(x)
        q = self.codes[torch.cdist(z, self.codes[None]).argmin(-1)]
        return self.dec(z + (q - z).detach())


class FlaxCodes(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.enc, self.dec = nnx.Linear(6, 4, rngs=rngs), nnx.Linear(4, 6, rngs=rngs)
        self.codes = nnx.Param(jnp.zeros((5, 4)))
        self.wrong = wrong

    def __call__(self, x):
        z, codes = self.enc(x), self.codes[...]
        q = codes[((z[..., None, :] - codes) ** 2).sum(-1).argmin(-1)]
        q = q if self.wrong else z + jax.lax.stop_gradient(q - z)
        return self.dec(q)


class TorchStandard(torch.nn.Module):
    """BiT: the weights' variance is divided by n - 1 (mistake in torch)."""

    def __init__(self, wrong=False):
        super().__init__()
        self.weight, self.head = torch.nn.Parameter(torch.randn(4, 3, 3, 3)), torch.nn.Conv2d(4, 2, 1)
        self.wrong = wrong

    def forward(self, x):
        w = self.weight
        v = w.var((1, 2, 3), keepdim=True, unbiased=self.wrong)
        w = (w - w.mean((1, 2, 3), keepdim=True)) / torch.sqrt(v + 1e-10)
        return self.head(F.relu(F.conv2d(x, w, padding=1)))


class FlaxStandard(nnx.Module):
    def __init__(self, rngs):
        self.weight, self.head = nnx.Param(jnp.zeros((4, 3, 3, 3))), nnx.Conv(4, 2, (1, 1), rngs=rngs)

    def __call__(self, x):
        w = self.weight[...]
        w = (w - w.mean((1, 2, 3), keepdims=True)) / jnp.sqrt(w.var((1, 2, 3), keepdims=True) + 1e-10)
        y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NHWC"))
        return self.head(jax.nn.relu(y)).transpose(0, 3, 1, 2)


class TorchRecommender(torch.nn.Module):
    """DLRM: pairs of a feature with itself are counted among the interactions."""

    def __init__(self):
        super().__init__()
        self.bottom, self.top = torch.nn.Linear(6, 4), torch.nn.Linear(14, 1)

    def forward(self, x):
        z = F.relu(self.bottom(x))
        i, j = np.tril_indices(5, -1)
        dots = (z @ z.mT)[:, i, j]
        return self.top(torch.cat([z[:, 0], dots], -1))


class FlaxRecommender(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.bottom, self.top = nnx.Linear(6, 4, rngs=rngs), nnx.Linear(14, 1, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        z = jax.nn.relu(self.bottom(x))
        i, j = np.tril_indices(4, 0) if self.wrong else np.tril_indices(5, -1)
        dots = (z @ z.swapaxes(-1, -2))[:, i, j]
        return self.top(jnp.concatenate([z[:, 0], dots], -1))


class TorchWave(torch.nn.Module):
    """WaveNet: padded by the kernel alone, not times its dilation."""

    def __init__(self):
        super().__init__()
        self.inp, self.conv = torch.nn.Conv1d(6, 4, 1), torch.nn.Conv1d(4, 8, 2, dilation=2)
        self.res = torch.nn.Conv1d(4, 4, 1)

    def forward(self, x):
        x = self.inp(x.mT)
        a, b = self.conv(F.pad(x, (2, 0))).chunk(2, 1)
        return x + self.res(a.tanh() * b.sigmoid())


class FlaxWave(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.inp = nnx.Conv(6, 4, 1, rngs=rngs)
        pads = (1, 1) if wrong else (2, 0)
        self.conv = nnx.Conv(4, 8, 2, kernel_dilation=2, padding=[pads], rngs=rngs)
        self.res = nnx.Conv(4, 4, 1, rngs=rngs)

    def __call__(self, x):
        x = self.inp(x)
        a, b = jnp.split(self.conv(x), 2, -1)
        return (x + self.res(jnp.tanh(a) * jax.nn.sigmoid(b))).swapaxes(1, 2)


class TorchPooled(torch.nn.Module):
    """timm: the class token is averaged with the patches."""

    def __init__(self):
        super().__init__()
        self.patch = torch.nn.Conv2d(3, 6, 4, 4)
        self.cls, self.pos = torch.nn.Parameter(torch.zeros(1, 1, 6)), torch.nn.Parameter(torch.zeros(1, 5, 6))
        self.mix, self.norm, self.head = torch.nn.Linear(6, 6), torch.nn.LayerNorm(6, eps=1e-6), torch.nn.Linear(6, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).mT
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        x = x + F.gelu(self.mix(x))
        return self.head(self.norm(x[:, 1:].mean(1)))


class FlaxPooled(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.patch = nnx.Conv(3, 6, (4, 4), 4, padding="VALID", rngs=rngs)
        self.cls, self.pos = nnx.Param(jnp.zeros((1, 1, 6))), nnx.Param(jnp.zeros((1, 5, 6)))
        self.mix, self.head = nnx.Linear(6, 6, rngs=rngs), nnx.Linear(6, 3, rngs=rngs)
        self.norm = nnx.LayerNorm(6, epsilon=1e-6, use_fast_variance=False, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        x = self.patch(x.transpose(0, 2, 3, 1)).reshape(len(x), 4, 6)
        x = jnp.concatenate([jnp.broadcast_to(self.cls[...], (len(x), 1, 6)), x], 1) + self.pos[...]
        x = x + jax.nn.gelu(self.mix(x), approximate=False)
        return self.head(self.norm((x if self.wrong else x[:, 1:]).mean(1)))


class TorchSchnet(torch.nn.Module):
    """SchNet: atoms beyond the cutoff are not left out."""

    def __init__(self):
        super().__init__()
        self.filter, self.inp, self.out = torch.nn.Linear(4, 5), torch.nn.Linear(6, 5), torch.nn.Linear(5, 1)

    def forward(self, x, r):
        d = torch.sqrt(((r[:, None] - r[None]) ** 2).sum(-1) + 1e-12)
        smeared = torch.exp(-2.0 * (d[..., None] - torch.linspace(0, 3, 4, dtype=d.dtype)) ** 2)
        cut = 0.5 * (torch.cos(d * torch.pi / 2.0) + 1) * torch.sign(2.0 - d).clamp(min=0)
        w = self.filter(smeared) * cut[..., None]
        return self.out(F.softplus((w * self.inp(x)[None]).sum(1)))


class FlaxSchnet(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.filter, self.inp, self.out = (nnx.Linear(a, b, rngs=rngs) for a, b in ((4, 5), (6, 5), (5, 1)))
        self.wrong = wrong

    def __call__(self, x, r):
        d = jnp.sqrt(((r[:, None] - r[None]) ** 2).sum(-1) + 1e-12)
        smeared = jnp.exp(-2.0 * (d[..., None] - jnp.linspace(0, 3, 4)) ** 2)
        cut = 0.5 * (jnp.cos(d * jnp.pi / 2.0) + 1) * (1 if self.wrong else jnp.heaviside(2.0 - d, 0.0))
        w = self.filter(smeared) * cut[..., None]
        return self.out(jax.nn.softplus((w * self.inp(x)[None]).sum(1)))


LABELS = np.array([0, 2, 1, 2])
REPORTS = {
    "all of a head": Report(modules_of(TorchNeoX, FlaxNeoX), TOKENS, "TorchNeoX", "begins with torch's arange"),
    "slope of Keras": Report(modules_of(TorchSqueeze, FlaxSqueeze), IMAGES, "TorchSqueeze", "0.2 * up"),
    "epsilon behind the root": Report(modules_of(TorchFrozen, FlaxFrozen), IMAGES, "TorchFrozen", "JAX 1 / (sqrt("),
    "shuffled by channels": Report(modules_of(TorchSuper, FlaxSuper), IMAGES, "TorchSuper", "channels of a block"),
    "mean of the weighed": Report(
        functions_of(torch_weighed, jax_weighed), (ROWS[:, :3], LABELS), "torch_weighed", "mean|sum|weight"
    ),
    "weight on both terms": Report(
        functions_of(torch_positive, jax_positive), (ROWS, np.eye(4, 6)), "torch_positive", "JAX -mean(3 * ("
    ),
    "codes themselves": Report(modules_of(TorchCodes, FlaxCodes), TOKENS, "TorchCodes", "gradient"),
    "unbiased weights": Report(wrong_in_torch(TorchStandard, FlaxStandard), IMAGES, "TorchStandard", "n, not n - 1"),
    "pairs with themselves": Report(
        modules_of(TorchRecommender, FlaxRecommender), TOKENS, "TorchRecommender", "JAX gather(z"
    ),
    "padding without dilation": Report(modules_of(TorchWave, FlaxWave), drawn(2, 5, 6), "TorchWave.conv", "padding=1"),
    "class token averaged": Report(modules_of(TorchPooled, FlaxPooled), IMAGES, "TorchPooled", "x[:, 1:]"),
    "beyond the cutoff": Report(
        modules_of(TorchSchnet, FlaxSchnet), (drawn(5, 6), 1.5 * drawn(5, 3, seed=3)), "TorchSchnet", "no mask of zeros"
    ),
}  # fmt: skip
