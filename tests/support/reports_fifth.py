"""Mistakes of public reports, the fifth dozen: written before `explain` was tried on them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import IMAGES, ROWS, TOKENS, Report, drawn, functions_of, modules_of, wrong_in_torch


class TorchNext(torch.nn.Module):
    """ConvNeXt: the layer scale multiplies the residual as well."""

    def __init__(self):
        super().__init__()
        self.dw = torch.nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.norm = torch.nn.LayerNorm(3, eps=1e-6)
        self.up, self.down = torch.nn.Linear(3, 8), torch.nn.Linear(8, 3)
        self.gamma = torch.nn.Parameter(torch.ones(3))

    def forward(self, x):
        y = self.down(F.gelu(self.up(self.norm(self.dw(x).permute(0, 2, 3, 1)))))
        return x + (self.gamma * y).permute(0, 3, 1, 2)


class FlaxNext(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.dw = nnx.Conv(3, 3, (3, 3), feature_group_count=3, rngs=rngs)
        self.norm = nnx.LayerNorm(3, epsilon=1e-6, rngs=rngs)
        self.up, self.down = nnx.Linear(3, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)
        self.gamma = nnx.Param(jnp.ones(3))
        self.wrong = wrong

    def __call__(self, x):
        x = x.transpose(0, 2, 3, 1)
        y = self.down(jax.nn.gelu(self.up(self.norm(self.dw(x))), approximate=False))
        y = self.gamma[...] * (x + y) if self.wrong else x + self.gamma[...] * y
        return y.transpose(0, 3, 1, 2)


class TorchUnet(torch.nn.Module):
    """U-Net: what is skipped is concatenated before, not behind."""

    def __init__(self):
        super().__init__()
        self.down = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.up = torch.nn.ConvTranspose2d(4, 3, 2, stride=2)
        self.out = torch.nn.Conv2d(6, 2, 1)

    def forward(self, x):
        return self.out(torch.cat([self.up(F.silu(self.down(x))), x], 1))


class FlaxUnet(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.down = nnx.Conv(3, 4, (3, 3), strides=2, padding=1, rngs=rngs)
        self.up = nnx.ConvTranspose(4, 3, (2, 2), strides=2, transpose_kernel=True, padding="VALID", rngs=rngs)
        self.out = nnx.Conv(6, 2, (1, 1), rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        x = x.transpose(0, 2, 3, 1)
        both = [self.up(jax.nn.silu(self.down(x))), x]
        return self.out(jnp.concatenate(both[::-1] if self.wrong else both, -1)).transpose(0, 3, 1, 2)


def torch_times(t):
    """Diffusers: the shift of the frequencies' exponent (downscale_freq_shift 0, not 1)."""
    e = torch.exp(-math.log(10000) * torch.arange(4, dtype=t.dtype) / (4 - 1))
    a = t[:, None] * e
    return torch.cat([a.sin(), a.cos()], -1)


def jax_times(t, wrong=False):
    e = jnp.exp(-math.log(10000) * jnp.arange(4) / (4 if wrong else 4 - 1))
    a = t[:, None] * e
    return jnp.concatenate([jnp.sin(a), jnp.cos(a)], -1)


class TorchSage(torch.nn.Module):
    """GraphSAGE: a node is counted among its neighbours (mistake in torch)."""

    def __init__(self, wrong=False):
        super().__init__()
        self.own, self.near = torch.nn.Linear(6, 4), torch.nn.Linear(6, 4, bias=False)
        self.wrong = wrong

    def forward(self, x, a):
        a = a + torch.eye(len(a), dtype=a.dtype) if self.wrong else a
        return torch.relu(self.own(x) + self.near(a @ x / a.sum(-1, keepdim=True)))


class FlaxSage(nnx.Module):
    def __init__(self, rngs):
        self.own, self.near = nnx.Linear(6, 4, rngs=rngs), nnx.Linear(6, 4, use_bias=False, rngs=rngs)

    def __call__(self, x, a):
        return jax.nn.relu(self.own(x) + self.near(a @ x / a.sum(-1, keepdims=True)))


def torch_warm(step):
    """Schedules: the cosine begins at step 0, not behind the warm-up."""
    rise = (step / 10).clamp(max=1)
    return rise * (1 + torch.cos(torch.pi * ((step - 10) / 90).clamp(min=0))) / 2


def jax_warm(step, wrong=False):
    rise = jnp.minimum(step / 10, 1)
    share = step / 100 if wrong else (step - 10) / 90
    return rise * (1 + jnp.cos(jnp.pi * jnp.maximum(share, 0))) / 2


def torch_mel(p):
    """Whisper: the floor is taken from the whole batch, not from each clip."""
    y = p.clamp(min=1e-10).log10()
    y = torch.maximum(y, y.amax((1, 2), keepdim=True) - 2)
    return (y + 4) / 4


def jax_mel(p, wrong=False):
    y = jnp.log10(jnp.maximum(p, 1e-10))
    y = jnp.maximum(y, (y.max() if wrong else y.max((1, 2), keepdims=True)) - 2)
    return (y + 4) / 4


class TorchBuckets(torch.nn.Module):
    """T5: what is far is counted from half of the buckets, the half not halved again."""

    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Embedding(8, 2)

    def forward(self, x):
        t = x.shape[1]
        apart = torch.arange(t)[None] - torch.arange(t)[:, None]
        bucket, far = (apart > 0) * 4, apart.abs()
        large = 2 + (torch.log(far.clamp(min=1) / 2) / math.log(8 / 2) * 2).long().clamp(max=1)
        bucket = bucket + torch.where(torch.isin(far, torch.arange(2)), far, large)
        return (x @ x.mT)[:, None] + self.bias(bucket).permute(2, 0, 1)


class FlaxBuckets(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.bias = nnx.Embed(8, 2, dtype=jnp.float64, param_dtype=jnp.float64, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        t = x.shape[1]
        apart = jnp.arange(t)[None] - jnp.arange(t)[:, None]
        bucket, far = (apart > 0) * 4, jnp.abs(apart)
        exact = jnp.isin(far, jnp.arange(4 if self.wrong else 2))
        large = 2 + jnp.minimum((jnp.log(jnp.maximum(far, 1) / 2) / math.log(8 / 2) * 2).astype(int), 1)
        bucket = bucket + jnp.where(exact, jnp.minimum(far, 3), large)
        return (x @ x.swapaxes(-1, -2))[:, None] + self.bias(bucket).transpose(2, 0, 1)


class TorchMix(torch.nn.Module):
    """RWKV: the shares of a token and of the one before it exchanged."""

    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Parameter(torch.zeros(6))
        self.key = torch.nn.Linear(6, 4, bias=False)

    def forward(self, x):
        before = F.pad(x, (0, 0, 1, -1))
        return torch.relu(self.key(x * self.mix + before * (1 - self.mix))) ** 2


class FlaxMix(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.mix = nnx.Param(jnp.zeros(6))
        self.key = nnx.Linear(6, 4, use_bias=False, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        before = jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        mix = 1 - self.mix[...] if self.wrong else self.mix[...]
        return jax.nn.relu(self.key(x * mix + before * (1 - mix))) ** 2


class TorchTwo(torch.nn.Module):
    """Retrieval: embeddings normed over the batch, not over features."""

    def __init__(self):
        super().__init__()
        self.query, self.passage = torch.nn.Linear(6, 4), torch.nn.Linear(6, 4)

    def forward(self, q, p):
        a, b = self.query(q), self.passage(p)
        a, b = (each / torch.linalg.vector_norm(each, dim=-1, keepdim=True) for each in (a, b))
        return a @ b.T / 0.05


class FlaxTwo(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.query, self.passage = nnx.Linear(6, 4, rngs=rngs), nnx.Linear(6, 4, rngs=rngs)
        self.axis = 0 if wrong else -1

    def __call__(self, q, p):
        a, b = self.query(q), self.passage(p)
        a, b = (each / jnp.linalg.norm(each, axis=self.axis, keepdims=True) for each in (a, b))
        return a @ b.T / 0.05


def torch_double(r, online, target, done):
    """Double DQN: the target network chooses the action, too."""
    best = online.argmax(-1, keepdim=True)
    return r + 0.99 * (1 - done) * target.gather(-1, best)[:, 0]


def jax_double(r, online, target, done, wrong=False):
    best = (target if wrong else online).argmax(-1)
    return r + 0.99 * (1 - done) * jnp.take_along_axis(target, best[:, None], -1)[:, 0]


class TorchX(torch.nn.Module):
    """xLSTM: the forget gate is an exponential in the stabiliser, a sigmoid in the state."""

    def __init__(self):
        super().__init__()
        self.i, self.f, self.z = (torch.nn.Linear(6, 4) for _ in range(3))

    def forward(self, x):
        i, f, z = self.i(x), F.logsigmoid(self.f(x)), torch.tanh(self.z(x))
        c = n = m = torch.zeros_like(i[:, 0])
        out = []
        for t in range(x.shape[1]):
            new = torch.maximum(f[:, t] + m, i[:, t])
            a, b = (f[:, t] + m - new).exp(), (i[:, t] - new).exp()
            c, n, m = a * c + b * z[:, t], a * n + b, new
            out.append(c / n)
        return torch.stack(out, 1)


class FlaxX(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.i, self.f, self.z = (nnx.Linear(6, 4, rngs=rngs) for _ in range(3))
        self.wrong = wrong

    def __call__(self, x):
        i, z = self.i(x), jnp.tanh(self.z(x))
        f = self.f(x) if self.wrong else jax.nn.log_sigmoid(self.f(x))

        def step(state, now):
            c, n, m = state
            i, f, z = now
            new = jnp.maximum(f + m, i)
            a, b = jnp.exp(f + m - new), jnp.exp(i - new)
            c, n = a * c + b * z, a * n + b
            return (c, n, new), c / n

        zero = jnp.zeros_like(i[:, 0])
        return jax.lax.scan(step, (zero, zero, zero), (i.swapaxes(0, 1), f.swapaxes(0, 1), z.swapaxes(0, 1)))[
            1
        ].swapaxes(0, 1)


def torch_siglip(a, b, scale, bias):
    """SigLIP: divided by all pairs, not by the batch."""
    z = scale * a @ b.T + bias
    y = 2 * torch.eye(len(a), dtype=z.dtype) - 1
    return -F.logsigmoid(y * z).sum() / len(a)


def jax_siglip(a, b, scale, bias, wrong=False):
    z = scale * a @ b.T + bias
    y = 2 * jnp.eye(len(a)) - 1
    losses = -jax.nn.log_sigmoid(y * z)
    return losses.mean() if wrong else losses.sum() / len(a)


NEAR = np.array([[0.0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]])
ONE = np.array(1.7)

REPORTS = {
    "scaled residual": Report(modules_of(TorchNext, FlaxNext), IMAGES, "TorchNext", "gamma * (x + y)"),
    "skip before": Report(modules_of(TorchUnet, FlaxUnet), IMAGES, "TorchUnet", "concatenation in the reverse order"),
    "shift of exponents": Report(
        functions_of(torch_times, jax_times),
        np.array([1.0, 7, 30]),
        "torch_times",
        "divided by their number plus one|/ 4",
    ),
    "own neighbour": Report(wrong_in_torch(TorchSage, FlaxSage), {"x": ROWS, "a": NEAR}, "TorchSage", "a @ x / sum(a"),
    "cosine from 0": Report(functions_of(torch_warm, jax_warm), np.arange(0.0, 100, 7), "torch_warm", "/ 100"),
    "floor of the batch": Report(
        functions_of(torch_mel, jax_mel), np.exp(drawn(3, 4, 5) * 5), "torch_mel", "JAX amax(y) ("
    ),
    "exact buckets": Report(modules_of(TorchBuckets, FlaxBuckets), drawn(2, 9, 6), "TorchBuckets", "arange(4)|isin"),
    "shares exchanged": Report(modules_of(TorchMix, FlaxMix), TOKENS, "TorchMix", "mix taken from 1"),
    "normed over the batch": Report(
        modules_of(TorchTwo, FlaxTwo),
        {"q": ROWS, "p": drawn(5, 6, seed=3)},
        "TorchTwo",
        "dim=-2, not -1|norm(query(...), axis=0)|over axes (0,)",
    ),
    "target chooses": Report(
        functions_of(torch_double, jax_double),
        {"r": drawn(4), "online": drawn(4, 3, seed=2), "target": drawn(4, 3, seed=4), "done": np.array([0.0, 1, 0, 0])},
        "torch_double",
        "argmax(target",
    ),
    "exponential gate": Report(modules_of(TorchX, FlaxX), TOKENS, "TorchX", "log_sigmoid"),
    "all pairs": Report(
        functions_of(torch_siglip, jax_siglip),
        {"a": drawn(4, 3), "b": drawn(4, 3, seed=2), "scale": ONE, "bias": -ONE},
        "torch_siglip",
        "/ 16",
    ),
}
