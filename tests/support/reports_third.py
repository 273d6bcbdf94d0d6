"""Mistakes of public reports, the third dozen: written before `explain` was tried on them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import ROWS, TOKENS, Report, drawn, functions_of, modules_of, wrong_in_torch


class TorchPre(torch.nn.Module):
    """Perceiver: latents attend before the residual is normed (post-norm for pre-norm)."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(6)
        self.up, self.down = (torch.nn.Linear(6, 8), torch.nn.Linear(8, 6))

    def forward(self, x):
        return x + self.down(F.gelu(self.up(self.norm(x))))


class FlaxPre(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.norm = nnx.LayerNorm(6, epsilon=1e-05, rngs=rngs)
        self.up, self.down = (nnx.Linear(6, 8, rngs=rngs), nnx.Linear(8, 6, rngs=rngs))
        self.wrong = wrong

    def __call__(self, x):
        h = self.norm(x)
        return (h if self.wrong else x) + self.down(jax.nn.gelu(self.up(h), approximate=False))


class TorchGlu(torch.nn.Module):
    """SwiGLU: the gate is applied to the other half (packed projection)."""

    def __init__(self):
        super().__init__()
        self.w12 = torch.nn.Linear(6, 16)
        self.w3 = torch.nn.Linear(8, 6)

    def forward(self, x):
        a, b = self.w12(x).chunk(2, -1)
        return self.w3(F.silu(a) * b)


class FlaxGlu(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.w12 = nnx.Linear(6, 16, rngs=rngs)
        self.w3 = nnx.Linear(8, 6, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        a, b = jnp.split(self.w12(x), 2, -1)
        return self.w3(jax.nn.silu(b) * a if self.wrong else jax.nn.silu(a) * b)


class TorchVq(torch.nn.Module):
    """SNAC/DAC: codebook's distances without the code's own norm."""

    def __init__(self):
        super().__init__()
        self.codes = torch.nn.Parameter(torch.zeros(7, 6))
        self.out = torch.nn.Linear(6, 3)

    def forward(self, x):
        d = (x**2).sum(-1, keepdim=True) - 2 * x @ self.codes.T + (self.codes**2).sum(-1)
        i = d.argmin(-1)
        return (self.out(self.codes[i]), d)


class FlaxVq(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.codes = nnx.Param(jnp.zeros((7, 6)))
        self.out = nnx.Linear(6, 3, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        c = self.codes[...]
        d = (x**2).sum(-1, keepdims=True) - 2 * x @ c.T + (0 if self.wrong else (c**2).sum(-1))
        return (self.out(c[d.argmin(-1)]), d)


def torch_sac(q1, q2, logp):
    """SAC: entropy's sign."""
    return (0.2 * logp - torch.minimum(q1, q2)).mean()


def jax_sac(q1, q2, logp, wrong=False):
    return ((-0.2 if wrong else 0.2) * logp - jnp.minimum(q1, q2)).mean()


def torch_td(r, q1, q2, done):
    """TD3: the maximum of the two critics."""
    return r + 0.99 * (1 - done) * torch.minimum(q1, q2)


def jax_td(r, q1, q2, done, wrong=False):
    return r + 0.99 * (1 - done) * (jnp.maximum if wrong else jnp.minimum)(q1, q2)


def torch_warp(x, flow):
    """Flow: channels of the displacement exchanged (x, y) and (y, x)."""
    b, _, h, w = x.shape
    yy, xx = torch.meshgrid(
        torch.linspace(-1, 1, h, dtype=x.dtype), torch.linspace(-1, 1, w, dtype=x.dtype), indexing="ij"
    )
    g = torch.stack([xx, yy], -1)[None] + flow.permute(0, 2, 3, 1)
    return g * 0.5


def jax_warp(x, flow, wrong=False):
    b, _, h, w = x.shape
    yy, xx = jnp.meshgrid(jnp.linspace(-1, 1, h), jnp.linspace(-1, 1, w), indexing="ij")
    f = flow.transpose(0, 2, 3, 1)
    f = f[..., ::-1] if wrong else f
    return (jnp.stack([xx, yy], -1)[None] + f) * 0.5


def torch_ml(z, y, m):
    """Label masks: the loss divided by all tokens, not those that count (HF Flax examples)."""
    losses = F.cross_entropy(z.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)
    return (losses * m).sum() / m.sum()


def jax_ml(z, y, m, wrong=False):
    losses = optax.softmax_cross_entropy_with_integer_labels(z, y)
    return (losses * m).sum() / (m.size if wrong else m.sum())


class TorchDw(torch.nn.Module):
    """ConvNeXt-like: layer scale and drop of the bias: depthwise kernel centred wrongly (even kernel, SAME)."""

    def __init__(self):
        super().__init__()
        self.dw = torch.nn.Conv1d(6, 6, 4, groups=6)
        self.pw = torch.nn.Linear(6, 6)

    def forward(self, x):
        y = F.pad(x.mT, (3, 0))
        return x + self.pw(F.silu(self.dw(y).mT))


class FlaxDw(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.dw = nnx.Conv(6, 6, (4,), feature_group_count=6, padding="SAME" if wrong else ((3, 0),), rngs=rngs)
        self.pw = nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x):
        return x + self.pw(jax.nn.silu(self.dw(x)))


class TorchLin(torch.nn.Module):
    """Linear attention: the normaliser forgets the current token (exclusive cumulative sum)."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (torch.nn.Linear(6, 4) for _ in range(3))

    def forward(self, x):
        q, k, v = (F.elu(self.q(x)) + 1, F.elu(self.k(x)) + 1, self.v(x))
        kv = torch.einsum("btd,bte->btde", k, v).cumsum(1)
        z = k.cumsum(1)
        return torch.einsum("btd,btde->bte", q, kv) / (torch.einsum("btd,btd->bt", q, z)[..., None] + 1e-06)


class FlaxLin(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.q, self.k, self.v = (nnx.Linear(6, 4, rngs=rngs) for _ in range(3))
        self.wrong = wrong

    def __call__(self, x):
        q, k, v = (jax.nn.elu(self.q(x)) + 1, jax.nn.elu(self.k(x)) + 1, self.v(x))
        kv = jnp.cumsum(jnp.einsum("btd,bte->btde", k, v), 1)
        z = jnp.cumsum(k, 1)
        z = z - k if self.wrong else z
        return jnp.einsum("btd,btde->bte", q, kv) / (jnp.einsum("btd,btd->bt", q, z)[..., None] + 1e-06)


class TorchPool(torch.nn.Module):
    """Set pooling: mean over padded places too (mistake in torch)."""

    def __init__(self, wrong=False):
        super().__init__()
        self.f = torch.nn.Linear(6, 5)
        self.g = torch.nn.Linear(5, 2)
        self.wrong = wrong

    def forward(self, x, m):
        h = torch.tanh(self.f(x)) * m[..., None]
        return self.g(h.mean(1) if self.wrong else h.sum(1) / m.sum(1, keepdim=True))


class FlaxPool(nnx.Module):
    def __init__(self, rngs):
        self.f, self.g = (nnx.Linear(6, 5, rngs=rngs), nnx.Linear(5, 2, rngs=rngs))

    def __call__(self, x, m):
        h = jnp.tanh(self.f(x)) * m[..., None]
        return self.g(h.sum(1) / m.sum(1, keepdims=True))


def torch_v(x0, e, a):
    """Diffusion: v-prediction's sign."""
    return a.sqrt()[:, None] * e - (1 - a).sqrt()[:, None] * x0


def jax_v(x0, e, a, wrong=False):
    v = jnp.sqrt(a)[:, None] * e - jnp.sqrt(1 - a)[:, None] * x0
    return -v if wrong else v


class TorchEsm(torch.nn.Module):
    """ESM: tokens are rescaled by the masked ratio, left out in JAX."""

    def __init__(self):
        super().__init__()
        self.emb = torch.nn.Embedding(9, 6)
        self.l = torch.nn.Linear(6, 6)

    def forward(self, i, m):
        x = self.emb(i) * m[..., None]
        ratio = ((i == 8) * m).sum(1) / m.sum(1)
        x = x * (1 - 0.15 * 0.8) / (1 - ratio)[:, None, None]
        return self.l(x)


class FlaxEsm(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.emb = nnx.Embed(9, 6, dtype=jnp.float64, param_dtype=jnp.float64, rngs=rngs)
        self.l = nnx.Linear(6, 6, rngs=rngs)
        self.wrong = wrong

    def __call__(self, i, m):
        x = self.emb(i) * m[..., None]
        r = ((i == 8) * m).sum(1) / m.sum(1)
        return self.l(x * (1 - 0.15 * 0.8) if self.wrong else x * (1 - 0.15 * 0.8) / (1 - r)[:, None, None])


Y, M = (np.random.default_rng(2).integers(0, 6, (2, 5)), np.array([[1.0, 1, 1, 1, 1], [1, 1, 0, 0, 0]]))


IDS = np.array([[8, 1, 2, 3, 4], [5, 8, 8, 2, 0]])


REPORTS = {
    "residual of the normed": Report(modules_of(TorchPre, FlaxPre), TOKENS, "TorchPre", "JAX norm(...)"),
    "gate on the other half": Report(
        modules_of(TorchGlu, FlaxGlu), TOKENS, "TorchGlu", "the parts of a split exchanged"
    ),
    "distances without norm": Report(modules_of(TorchVq, FlaxVq), ROWS, "TorchVq", "sum(codes ** 2, axis=1)"),
    "entropy's sign": Report(
        functions_of(torch_sac, jax_sac),
        {"q1": drawn(5), "q2": drawn(5, seed=2), "logp": drawn(5, seed=3)},
        "torch_sac",
        "logp * -0.2",
    ),
    "max of critics": Report(
        functions_of(torch_td, jax_td),
        {"r": drawn(5), "q1": drawn(5, seed=2), "q2": drawn(5, seed=3), "done": np.array([0.0, 1, 0, 0, 1])},
        "torch_td",
        "max(q1, q2)",
    ),
    "flow's channels": Report(
        functions_of(torch_warp, jax_warp),
        {"x": drawn(2, 1, 4, 5), "flow": drawn(2, 2, 4, 5, seed=2)},
        "torch_warp",
        "flip(flow)",
    ),
    "loss over all tokens": Report(
        functions_of(torch_ml, jax_ml), {"z": TOKENS, "y": Y, "m": M}, "torch_ml", "what is counted"
    ),
    "causal against SAME": Report(modules_of(TorchDw, FlaxDw), TOKENS, "TorchDw.dw", "padding=(1, 2)"),
    "exclusive normaliser": Report(modules_of(TorchLin, FlaxLin), TOKENS, "TorchLin", "(z - k)"),
    "mean over padding": Report(
        wrong_in_torch(TorchPool, FlaxPool), {"x": TOKENS, "m": M}, "TorchPool", "sum(h, axis=1) / sum(m, axis=1)"
    ),
    "v's sign": Report(
        functions_of(torch_v, jax_v),
        {"x0": drawn(3, 4), "e": drawn(3, 4, seed=2), "a": np.array([0.2, 0.5, 0.9])},
        "torch_v",
        "JAX -(",
    ),
    "ESM ratio": Report(
        modules_of(TorchEsm, FlaxEsm),
        {"i": IDS, "m": np.array([[1.0, 1, 1, 1, 1], [1, 1, 1, 1, 0]])},
        "TorchEsm",
        "x * 0.88 (",
    ),
}
