"""Mistakes of public reports, the first dozen: written before `explain` was tried on them."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import IMAGES, TOKENS, Report, drawn, functions_of, modules_of, wrong_in_torch


class TorchNerf(torch.nn.Module):
    """NeRF: transmittance includes its own sample (nerf-pytorch ports: cumprod that is not exclusive)."""

    def __init__(self):
        super().__init__()
        self.field = torch.nn.Linear(3, 4)

    def forward(self, points, deltas):
        out = self.field(points)
        rgb, sigma = (torch.sigmoid(out[..., :3]), F.relu(out[..., 3]))
        alpha = 1 - torch.exp(-sigma * deltas)
        trans = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + 1e-10], -1), -1)[:, :-1]
        w = alpha * trans
        return ((w[..., None] * rgb).sum(1), w.sum(1))


class FlaxNerf(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.field = nnx.Linear(3, 4, rngs=rngs)
        self.wrong = wrong

    def __call__(self, points, deltas):
        out = self.field(points)
        rgb, sigma = (jax.nn.sigmoid(out[..., :3]), jax.nn.relu(out[..., 3]))
        alpha = 1 - jnp.exp(-sigma * deltas)
        keep = 1 - alpha + 1e-10
        trans = (
            jnp.cumprod(keep, -1)
            if self.wrong
            else jnp.concatenate([jnp.ones_like(keep[:, :1]), jnp.cumprod(keep, -1)[:, :-1]], -1)
        )
        w = alpha * trans
        return ((w[..., None] * rgb).sum(1), w.sum(1))


def torch_gae(r, v, done, last):
    """GAE: the done flag of the wrong step (CleanRL-like ports)."""
    g, lam, adv, out = (0.99, 0.95, torch.zeros_like(last), [])
    for t in reversed(range(len(r))):
        nv = last if t == len(r) - 1 else v[t + 1]
        keep = 1 - done[t]
        delta = r[t] + g * nv * keep - v[t]
        adv = delta + g * lam * keep * adv
        out.insert(0, adv)
    return torch.stack(out)


def jax_gae(r, v, done, last, wrong=False):
    g, lam, nv = (0.99, 0.95, jnp.concatenate([v[1:], last[None]]))
    k = 1 - done
    kb = jnp.concatenate([k[1:], jnp.ones_like(k[:1])]) if wrong else k

    def step(a, x):
        r, nv, v, k = x
        a = r + g * nv * k - v + g * lam * k * a
        return (a, a)

    return jax.lax.scan(step, jnp.zeros_like(last), (r, nv, v, kb), reverse=True)[1]


class TorchHy(torch.nn.Module):
    """Hyena: the FFT convolution wraps around (no zero padding)."""

    def __init__(self):
        super().__init__()
        self.inp = torch.nn.Linear(6, 6)
        self.filter = torch.nn.Parameter(torch.zeros(6, 8))
        self.out = torch.nn.Linear(6, 6)

    def forward(self, x):
        u = self.inp(x).mT
        n = u.shape[-1]
        y = torch.fft.irfft(torch.fft.rfft(u, n=2 * n) * torch.fft.rfft(self.filter, n=2 * n), n=2 * n)[..., :n]
        return self.out((y * F.silu(u)).mT)


class FlaxHy(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.inp = nnx.Linear(6, 6, rngs=rngs)
        self.filter = nnx.Param(jnp.zeros((6, 8)))
        self.out = nnx.Linear(6, 6, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        u = self.inp(x).swapaxes(1, 2)
        n = u.shape[-1]
        m = n if self.wrong else 2 * n
        y = jnp.fft.irfft(jnp.fft.rfft(u, n=m) * jnp.fft.rfft(self.filter[...], n=m), n=m)[..., :n]
        return self.out((y * jax.nn.silu(u)).swapaxes(1, 2))


class TorchGCN(torch.nn.Module):
    """GCN: rows normalised, not symmetric."""

    def __init__(self):
        super().__init__()
        self.l1 = torch.nn.Linear(6, 5)
        self.l2 = torch.nn.Linear(5, 3)

    def forward(self, x, adj):
        a = adj + torch.eye(len(adj))
        d = a.sum(-1) ** (-0.5)
        a = d[:, None] * a * d[None]
        return a @ self.l2(F.relu(a @ self.l1(x)))


class FlaxGCN(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.l1, self.l2 = (nnx.Linear(6, 5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs))
        self.wrong = wrong

    def __call__(self, x, adj):
        a = adj + jnp.eye(len(adj))
        a = a / a.sum(-1, keepdims=True) if self.wrong else a / jnp.sqrt(a.sum(-1)[:, None] * a.sum(-1)[None])
        return a @ self.l2(jax.nn.relu(a @ self.l1(x)))


class TorchTri(torch.nn.Module):
    """AlphaFold: the triangle's incoming edges for the outgoing."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(6)
        self.a, self.b, self.g, self.o = (torch.nn.Linear(6, 6) for _ in range(4))
        self.norm_out = torch.nn.LayerNorm(6)

    def forward(self, z):
        z = self.norm(z)
        return torch.sigmoid(self.g(z)) * self.o(self.norm_out(torch.einsum("bikc,bjkc->bijc", self.a(z), self.b(z))))


class FlaxTri(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.norm = nnx.LayerNorm(6, epsilon=1e-05, rngs=rngs)
        self.a, self.b, self.g, self.o = (nnx.Linear(6, 6, rngs=rngs) for _ in range(4))
        self.norm_out = nnx.LayerNorm(6, epsilon=1e-05, rngs=rngs)
        self.wrong = wrong

    def __call__(self, z):
        z = self.norm(z)
        return jax.nn.sigmoid(self.g(z)) * self.o(
            self.norm_out(jnp.einsum("bkic,bkjc->bijc" if self.wrong else "bikc,bjkc->bijc", self.a(z), self.b(z)))
        )


class TorchCell(torch.nn.Module):
    """LSTM cell by hand: one added to the forget gate (Haiku, TensorFlow)."""

    def __init__(self):
        super().__init__()
        self.gates = torch.nn.Linear(10, 16)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, x):
        h = c = x.new_zeros(len(x), 4)
        for t in range(x.shape[1]):
            i, f, g, o = self.gates(torch.cat([x[:, t], h], -1)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.head(h)


class FlaxCell(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.gates = nnx.Linear(10, 16, rngs=rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)
        self.one = 1.0 if wrong else 0.0

    def __call__(self, x):
        h = c = jnp.zeros((len(x), 4))
        for t in range(x.shape[1]):
            i, f, g, o = jnp.split(self.gates(jnp.concatenate([x[:, t], h], -1)), 4, -1)
            c = jax.nn.sigmoid(f + self.one) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return self.head(h)


class TorchSpec(torch.nn.Module):
    """Spectrogram: a symmetric Hann window (scipy, numpy) for torch's periodic."""

    def __init__(self):
        super().__init__()
        self.mel = torch.nn.Linear(9, 5, bias=False)

    def forward(self, x):
        z = (
            torch.stft(x, 16, 8, window=torch.hann_window(16, dtype=x.dtype), center=False, return_complex=True).abs()
            ** 2
        )
        return torch.log10(self.mel(z.mT).abs().clamp(min=1e-10))


class FlaxSpec(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.mel = nnx.Linear(9, 5, use_bias=False, rngs=rngs)
        self.n = 15 if wrong else 16

    def __call__(self, x):
        w = 0.5 - 0.5 * jnp.cos(2 * jnp.pi * jnp.arange(16) / self.n)
        f = jnp.stack([x[:, i : i + 16] for i in range(0, x.shape[1] - 15, 8)], 1) * w
        z = jnp.abs(jnp.fft.rfft(f)) ** 2
        return jnp.log10(jnp.maximum(jnp.abs(self.mel(z)), 1e-10))


class TorchAli(torch.nn.Module):
    """ALiBi: slopes begin with 1 (exponents from 0, not 1)."""

    def __init__(self):
        super().__init__()
        self.qkv = torch.nn.Linear(8, 24)
        self.o = torch.nn.Linear(8, 8)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, 4, 2).permute(2, 0, 3, 1, 4)
        m = 2.0 ** (-8 / 4 * torch.arange(1, 5))
        p = torch.arange(t)
        z = q @ k.mT / 2**0.5 + m[:, None, None] * (p[None] - p[:, None])
        z = z.masked_fill(torch.ones(t, t).triu(1).bool(), -torch.inf)
        return self.o((z.softmax(-1) @ v).transpose(1, 2).reshape(b, t, 8))


class FlaxAli(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.qkv = nnx.Linear(8, 24, rngs=rngs)
        self.o = nnx.Linear(8, 8, rngs=rngs)
        self.first = 0 if wrong else 1

    def __call__(self, x):
        b, t, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, 4, 2).transpose(2, 0, 3, 1, 4)
        m = 2.0 ** (-8 / 4 * jnp.arange(self.first, self.first + 4))
        p = jnp.arange(t)
        z = q @ k.swapaxes(-1, -2) / 2**0.5 + m[:, None, None] * (p[None] - p[:, None])
        z = jnp.where(jnp.tril(jnp.ones((t, t), bool)), z, -jnp.inf)
        return self.o((jax.nn.softmax(z) @ v).transpose(0, 2, 1, 3).reshape(b, t, 8))


def torch_rot(q, p):
    """Quaternions: scalar last for scalar first."""
    q = q / q.norm(dim=-1, keepdim=True)
    w, u = (q[:, :1], q[:, 1:])
    t = 2 * torch.linalg.cross(u, p)
    return p + w * t + torch.linalg.cross(u, t)


def jax_rot(q, p, wrong=False):
    q = q / jnp.linalg.norm(q, axis=-1, keepdims=True)
    w, u = (q[:, 3:], q[:, :3]) if wrong else (q[:, :1], q[:, 1:])
    t = 2 * jnp.cross(u, p)
    return p + w * t + jnp.cross(u, t)


def torch_top(z, share, hidden):
    """Nucleus sampling: the token that crosses the threshold is dropped."""
    s, i = z.sort(-1, descending=True)
    c = s.softmax(-1).cumsum(-1)
    drop = c - s.softmax(-1) > share
    return (0 * z + hidden).scatter(-1, i, torch.where(drop, hidden, s)).log_softmax(-1)


def jax_top(z, share, hidden, wrong=False):
    i = jnp.argsort(-z, -1)
    s = jnp.take_along_axis(z, i, -1)
    p = jax.nn.softmax(s)
    c = jnp.cumsum(p, -1)
    drop = c > share if wrong else c - p > share
    s = jnp.where(drop, hidden, s)
    return jax.nn.log_softmax(jnp.take_along_axis(s, jnp.argsort(i, -1), -1))


class TorchSwin(torch.nn.Module):
    """Swin: the shift back goes the same way (mistake on torch's side)."""

    def __init__(self, wrong=False):
        super().__init__()
        self.norm = torch.nn.LayerNorm(3)
        self.mix = torch.nn.Linear(12, 12)
        self.sign = -1 if wrong else 1

    def forward(self, x):
        y = self.norm(x.permute(0, 2, 3, 1))
        b, h, w, c = y.shape
        y = torch.roll(y, (-1, -1), (1, 2))
        y = y.view(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 12)
        y = self.mix(y).view(b, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return x + torch.roll(y, (self.sign, self.sign), (1, 2)).permute(0, 3, 1, 2)


class FlaxSwin(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(3, epsilon=1e-05, rngs=rngs)
        self.mix = nnx.Linear(12, 12, rngs=rngs)

    def __call__(self, x):
        y = self.norm(x.transpose(0, 2, 3, 1))
        b, h, w, c = y.shape
        y = jnp.roll(y, (-1, -1), (1, 2))
        y = y.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 12)
        y = self.mix(y).reshape(b, h // 2, w // 2, 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return x + jnp.roll(y, (1, 1), (1, 2)).transpose(0, 3, 1, 2)


class TorchCap(torch.nn.Module):
    """Gemma 2: the soft cap of attention's scores forgotten in JAX."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (torch.nn.Linear(6, 6) for _ in range(4))

    def forward(self, x):
        z = self.q(x) @ self.k(x).mT * 6 ** (-0.5)
        z = torch.tanh(z / 5.0) * 5.0
        return self.o(z.softmax(-1) @ self.v(x))


class FlaxCap(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.q, self.k, self.v, self.o = (nnx.Linear(6, 6, rngs=rngs) for _ in range(4))
        self.wrong = wrong

    def __call__(self, x):
        z = self.q(x) @ self.k(x).swapaxes(-1, -2) * 6 ** (-0.5)
        z = z if self.wrong else jnp.tanh(z / 5.0) * 5.0
        return self.o(jax.nn.softmax(z) @ self.v(x))


ADJ = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0.0]])


REPORTS = {
    "NeRF inclusive": Report(
        modules_of(TorchNerf, FlaxNerf),
        {"points": drawn(3, 6, 3), "deltas": np.abs(drawn(3, 6, seed=2))},
        "TorchNerf",
        "cumprod(1 - alpha + 1e-10)",
    ),
    "GAE done": Report(
        functions_of(torch_gae, jax_gae),
        {
            "r": drawn(6, 3),
            "v": drawn(6, 3, seed=2),
            "done": (drawn(6, 3, seed=3) > 0) * 1.0,
            "last": drawn(3, seed=4),
        },
        "torch_gae",
        "reads the step +1",
    ),
    "Hyena circular": Report(modules_of(TorchHy, FlaxHy), drawn(2, 8, 6), "TorchHy", "n=16"),
    "GCN row norm": Report(
        modules_of(TorchGCN, FlaxGCN), {"x": drawn(4, 6), "adj": ADJ}, "TorchGCN", "a / sum(a, axis=1)"
    ),
    "triangle incoming": Report(modules_of(TorchTri, FlaxTri), drawn(2, 4, 4, 6), "TorchTri", "bikc,bjkc->bijc"),
    "forget gate +1": Report(modules_of(TorchCell, FlaxCell), TOKENS, "TorchCell", "sigmoid ("),
    "Hann symmetric": Report(modules_of(TorchSpec, FlaxSpec), drawn(2, 40), "TorchSpec", "hann_window(16)"),
    "ALiBi exponents": Report(modules_of(TorchAli, FlaxAli), drawn(2, 5, 8), "TorchAli", "arange(1, 5)"),
    "quaternion order": Report(
        functions_of(torch_rot, jax_rot),
        {"q": drawn(5, 4), "p": drawn(5, 3, seed=2)},
        "torch_rot",
        "rolled by +1 along axis 1",
    ),
    "top-p inclusive": Report(
        functions_of(torch_top, jax_top),
        {"z": drawn(4, 8), "share": np.array(0.7), "hidden": np.array(-1e9)},
        "torch_top",
        "c - softmax(s, axis=1)|sub (",
    ),
    "Swin roll sign": Report(wrong_in_torch(TorchSwin, FlaxSwin), IMAGES, "TorchSwin", "with (1, 1), not (-1, -1)"),
    "soft cap": Report(modules_of(TorchCap, FlaxCap), TOKENS, "TorchCap", "D89"),
}
