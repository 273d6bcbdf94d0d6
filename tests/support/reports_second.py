"""Mistakes of public reports, the second dozen: written before `explain` was tried on them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import IMAGES, ROWS, TOKENS, Report, drawn, functions_of, modules_of, wrong_in_torch


class TorchSSM(torch.nn.Module):
    """Mamba: Euler for the zero-order hold of B (mistake in torch)."""

    def __init__(self, wrong=False):
        super().__init__()
        self.A_log = torch.nn.Parameter(torch.zeros(6, 3))
        self.x_proj = torch.nn.Linear(6, 6)
        self.dt = torch.nn.Linear(6, 6)
        self.wrong = wrong

    def forward(self, x):
        A = -torch.exp(self.A_log)
        dt = F.softplus(self.dt(x))
        B, C = self.x_proj(x).chunk(2, -1)
        dA = dt[..., None] * A
        dB = dt[..., None] * B[:, :, None] if self.wrong else (torch.exp(dA) - 1) / A * B[:, :, None]
        h, ys = (x.new_zeros(len(x), 6, 3), [])
        for t in range(x.shape[1]):
            h = torch.exp(dA[:, t]) * h + dB[:, t] * x[:, t, :, None]
            ys.append((h * C[:, t, None]).sum(-1))
        return torch.stack(ys, 1)


class FlaxSSM(nnx.Module):
    def __init__(self, rngs):
        self.A_log = nnx.Param(jnp.zeros((6, 3)))
        self.x_proj = nnx.Linear(6, 6, rngs=rngs)
        self.dt = nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x):
        A = -jnp.exp(self.A_log[...])
        dt = jax.nn.softplus(self.dt(x))
        B, C = jnp.split(self.x_proj(x), 2, -1)
        dA = dt[..., None] * A
        dB = (jnp.exp(dA) - 1) / A * B[:, :, None]

        def step(h, i):
            a, b, x, c = i
            h = jnp.exp(a) * h + b * x[..., None]
            return (h, (h * c[:, None]).sum(-1))

        return jax.lax.scan(step, jnp.zeros((len(x), 6, 3)), tuple(e.swapaxes(0, 1) for e in (dA, dB, x, C)))[
            1
        ].swapaxes(0, 1)


class TorchDetr(torch.nn.Module):
    """DETR: positions that are not normalised to 2 pi."""

    def __init__(self):
        super().__init__()
        self.proj = torch.nn.Conv2d(3, 8, 1)

    def forward(self, x, mask):
        n = (1 - mask).cumsum(1)
        n = n / (n[:, -1:] + 1e-06) * 2 * np.pi
        d = 100.0 ** (torch.arange(4).double() / 4)
        a = n[..., None] / d
        pos = torch.cat([a.sin(), a.cos()], -1).permute(0, 3, 1, 2)
        return F.relu(self.proj(x) + pos)


class FlaxDetr(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.proj = nnx.Conv(3, 8, (1, 1), rngs=rngs)
        self.wrong = wrong

    def __call__(self, x, mask):
        n = jnp.cumsum(1 - mask, 1)
        n = n if self.wrong else n / (n[:, -1:] + 1e-06) * 2 * np.pi
        d = 100.0 ** (jnp.arange(4) / 4)
        a = n[..., None] / d
        return jax.nn.relu(
            self.proj(x.transpose(0, 2, 3, 1)) + jnp.concatenate([jnp.sin(a), jnp.cos(a)], -1)
        ).transpose(0, 3, 1, 2)


def torch_focal(z, y):
    """Focal loss: alpha given to the negatives."""
    p = torch.sigmoid(z)
    ce = F.binary_cross_entropy_with_logits(z, y, reduction="none")
    pt = p * y + (1 - p) * (1 - y)
    a = 0.25 * y + 0.75 * (1 - y)
    return (a * (1 - pt) ** 2 * ce).mean()


def jax_focal(z, y, wrong=False):
    p = jax.nn.sigmoid(z)
    ce = optax.sigmoid_binary_cross_entropy(z, y)
    pt = p * y + (1 - p) * (1 - y)
    a = jnp.where(y == (0 if wrong else 1), 0.25, 0.75)
    return (a * (1 - pt) ** 2 * ce).mean()


class TorchVae(torch.nn.Module):
    """VAE: log-variance read as log-deviation."""

    def __init__(self):
        super().__init__()
        self.mu, self.logvar, self.dec = (torch.nn.Linear(6, 4), torch.nn.Linear(6, 4), torch.nn.Linear(4, 6))

    def forward(self, x, eps):
        m, logvar = (self.mu(x), self.logvar(x))
        z = m + eps * torch.exp(logvar / 2)
        kl = -0.5 * (1 + logvar - m**2 - logvar.exp()).sum(-1)
        return (self.dec(z), kl)


class FlaxVae(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.mu, self.logvar, self.dec = (
            nnx.Linear(6, 4, rngs=rngs),
            nnx.Linear(6, 4, rngs=rngs),
            nnx.Linear(4, 6, rngs=rngs),
        )
        self.wrong = wrong

    def __call__(self, x, eps):
        m, logvar = (self.mu(x), self.logvar(x))
        z = m + eps * jnp.exp(logvar / 2)
        kl = (
            (-logvar - 0.5 + 0.5 * (jnp.exp(2 * logvar) + m**2)).sum(-1)
            if self.wrong
            else -0.5 * (1 + logvar - m**2 - jnp.exp(logvar)).sum(-1)
        )
        return (self.dec(z), kl)


class TorchPadC(torch.nn.Module):
    """Padding: symmetric for reflect."""

    def __init__(self):
        super().__init__()
        self.c1 = torch.nn.Conv2d(3, 4, 5)
        self.c2 = torch.nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.c2(F.gelu(self.c1(F.pad(x, (2, 2, 2, 2), mode="reflect"))))


class FlaxPadC(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.c1 = nnx.Conv(3, 4, (5, 5), padding="VALID", rngs=rngs)
        self.c2 = nnx.Conv(4, 3, (1, 1), rngs=rngs)
        self.mode = "symmetric" if wrong else "reflect"

    def __call__(self, x):
        x = jnp.pad(x.transpose(0, 2, 3, 1), ((0, 0), (2, 2), (2, 2), (0, 0)), mode=self.mode)
        return self.c2(jax.nn.gelu(self.c1(x), approximate=False)).transpose(0, 3, 1, 2)


class TorchGat(torch.nn.Module):
    """GAT: softmax over the wrong end of the edges."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Linear(6, 5, bias=False)
        self.src = torch.nn.Linear(5, 1, bias=False)
        self.dst = torch.nn.Linear(5, 1, bias=False)

    def forward(self, x, adj):
        h = self.w(x)
        e = F.leaky_relu(self.dst(h) + self.src(h).mT, 0.2)
        a = e.masked_fill(adj == 0, -1000000000.0).softmax(-1)
        return F.elu(a @ h)


class FlaxGat(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.w, self.src, self.dst = (nnx.Linear(*size, use_bias=False, rngs=rngs) for size in ((6, 5), (5, 1), (5, 1)))
        self.axis = 0 if wrong else 1

    def __call__(self, x, adj):
        h = self.w(x)
        e = jax.nn.leaky_relu(self.dst(h) + self.src(h).T, 0.2)
        return jax.nn.elu(jax.nn.softmax(jnp.where(adj == 0, -1000000000.0, e), self.axis) @ h)


class TorchRet(torch.nn.Module):
    """RetNet: decay by the distance plus one."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (torch.nn.Linear(6, 6) for _ in range(3))
        self.norm = torch.nn.GroupNorm(2, 6)

    def forward(self, x):
        t = x.shape[1]
        n = torch.arange(t)
        d = torch.where(n[:, None] >= n, 0.9 ** (n[:, None] - n).double(), 0.0)
        y = self.q(x) @ self.k(x).mT * d @ self.v(x)
        return self.norm(y.reshape(-1, 6)).view(x.shape)


class FlaxRet(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.q, self.k, self.v = (nnx.Linear(6, 6, rngs=rngs) for _ in range(3))
        self.norm = nnx.GroupNorm(6, num_groups=2, epsilon=1e-05, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        t = x.shape[1]
        n = jnp.arange(t)
        d = jnp.tril(0.9 ** (n[:, None] - n))
        d = d / d.sum(-1, keepdims=True) if self.wrong else d
        y = self.q(x) @ self.k(x).swapaxes(-1, -2) * d @ self.v(x)
        return self.norm(y.reshape(-1, 6)).reshape(x.shape)


class TorchBin(torch.nn.Module):
    """Bins: the edge belongs to the bin on the right (bucketize, digitize)."""

    def __init__(self):
        super().__init__()
        self.emb = torch.nn.Embedding(5, 6)
        self.l = torch.nn.Linear(6, 2)

    def forward(self, x):
        return self.l(self.emb(torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0, 2.0], dtype=x.dtype))))


class FlaxBin(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.emb = nnx.Embed(5, 6, param_dtype=jnp.float64, dtype=jnp.float64, rngs=rngs)
        self.l = nnx.Linear(6, 2, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        return self.l(self.emb(jnp.digitize(x, jnp.array([-1.0, 0.0, 1.0, 2.0]), right=not self.wrong)))


def torch_ddim(x, e, t, ac):
    """DDIM: the last step's alpha is the first of the table, not 1 (diffusers' set_alpha_to_one)."""
    a = ac[t]
    prev = torch.where(t > 0, ac[(t - 1).clamp(min=0)], torch.ones_like(a))
    a, prev = (a[:, None], prev[:, None])
    x0 = (x - (1 - a).sqrt() * e) / a.sqrt()
    return prev.sqrt() * x0 + (1 - prev).sqrt() * e


def jax_ddim(x, e, t, ac, wrong=False):
    a = ac[t]
    prev = ac[jnp.maximum(t - 1, 0)]
    prev = prev if wrong else jnp.where(t > 0, prev, 1.0)
    a, prev = (a[:, None], prev[:, None])
    x0 = (x - jnp.sqrt(1 - a) * e) / jnp.sqrt(a)
    return jnp.sqrt(prev) * x0 + jnp.sqrt(1 - prev) * e


def torch_nstep(r, v):
    """N-step returns: the bootstrap is not discounted by all steps."""
    g = 0.9
    n = r.shape[1]
    d = g ** torch.arange(n, dtype=r.dtype)
    return (r * d).sum(1) + g**n * v


def jax_nstep(r, v, wrong=False):
    g = 0.9
    n = r.shape[1]
    d = g ** jnp.arange(n)
    return (r * d).sum(1) + g ** (1 if wrong else n) * v


class TorchBloom(torch.nn.Module):
    """BLOOM: the packed projection read as (3, heads, size), not (heads, 3, size)."""

    def __init__(self):
        super().__init__()
        self.query_key_value = torch.nn.Linear(8, 24)
        self.dense = torch.nn.Linear(8, 8)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.query_key_value(x).view(b, t, 2, 3, 4).permute(3, 0, 2, 1, 4)
        return self.dense(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, 8))


class FlaxBloom(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.query_key_value = nnx.Linear(8, 24, rngs=rngs)
        self.dense = nnx.Linear(8, 8, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        b, t, _ = x.shape
        y = self.query_key_value(x)
        q, k, v = (
            jnp.moveaxis(y.reshape(b, t, 3, 2, 4), 2, 0) if self.wrong else jnp.moveaxis(y.reshape(b, t, 2, 3, 4), 3, 0)
        )
        return self.dense(
            jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k) / 2), v).reshape(b, t, 8)
        )


class TorchOPM(torch.nn.Module):
    """Outer product mean: without the mask's count."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.o = (torch.nn.Linear(6, 3), torch.nn.Linear(6, 3), torch.nn.Linear(9, 4))

    def forward(self, m, mask):
        a, b = (self.a(m) * mask[..., None], self.b(m) * mask[..., None])
        y = self.o(torch.einsum("sic,sjd->ijcd", a, b).flatten(-2))
        return y / (torch.einsum("si,sj->ij", mask, mask)[..., None] + 0.001)


class FlaxOPM(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.a, self.b, self.o = (nnx.Linear(6, 3, rngs=rngs), nnx.Linear(6, 3, rngs=rngs), nnx.Linear(9, 4, rngs=rngs))
        self.wrong = wrong

    def __call__(self, m, mask):
        a, b = (self.a(m) * mask[..., None], self.b(m) * mask[..., None])
        y = self.o(jnp.einsum("sic,sjd->ijcd", a, b).reshape(m.shape[1], m.shape[1], 9))
        n = len(m) if self.wrong else jnp.einsum("si,sj->ij", mask, mask)[..., None]
        return y / (n + 0.001)


AC = np.cumprod(1 - np.linspace(0.01, 0.3, 8))


REPORTS = {
    "Mamba Euler": Report(wrong_in_torch(TorchSSM, FlaxSSM), TOKENS, "TorchSSM", "B * (exp(dA) - 1) / A"),
    "DETR not normalised": Report(
        modules_of(TorchDetr, FlaxDetr),
        {"x": drawn(2, 3, 5, 4), "mask": (drawn(2, 5, 4, seed=3) > 0) * 1.0},
        "TorchDetr",
        "JAX n (",
    ),
    "focal alpha": Report(
        functions_of(torch_focal, jax_focal),
        {"z": drawn(5, 3), "y": (drawn(5, 3, seed=2) > 0) * 1.0},
        "torch_focal",
        "0.75",
    ),
    "VAE logvar": Report(
        modules_of(TorchVae, FlaxVae), {"x": ROWS, "eps": drawn(4, 4, seed=5)}, "TorchVae", "exp(2 * logvar)"
    ),
    "symmetric pad": Report(modules_of(TorchPadC, FlaxPadC), IMAGES, "TorchPadC", "mode=reflect"),
    "GAT axis": Report(
        modules_of(TorchGat, FlaxGat),
        {"x": drawn(4, 6), "adj": np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 1, 1.0]])},
        "TorchGat",
        "a softmax along axis -2",
    ),
    "RetNet decay normed": Report(modules_of(TorchRet, FlaxRet), TOKENS, "TorchRet", "d / sum(d, axis=1)"),
    "bucketize right": Report(
        modules_of(TorchBin, FlaxBin), np.array([[-1.0, 0.5, 2.0], [0.0, 3.0, -2.0]]), "TorchBin", "bucketize"
    ),
    "DDIM final alpha": Report(
        functions_of(torch_ddim, jax_ddim),
        {"x": drawn(3, 4), "e": drawn(3, 4, seed=2), "t": np.array([0, 3, 6]), "ac": AC},
        "torch_ddim",
        "ones_like",
    ),
    "n-step bootstrap": Report(
        functions_of(torch_nstep, jax_nstep), {"r": drawn(3, 5), "v": drawn(3, seed=2)}, "torch_nstep", "v * 0.9 "
    ),
    "BLOOM packed": Report(modules_of(TorchBloom, FlaxBloom), drawn(2, 5, 8), "TorchBloom", "(2, 5, 3, 2, 4)"),
    "OPM count": Report(
        modules_of(TorchOPM, FlaxOPM),
        {"m": drawn(4, 5, 6), "mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 1], [1, 0, 1, 1, 1], [1, 1, 1, 1, 0.0]])},
        "TorchOPM",
        "JAX 4.001",
    ),
}
