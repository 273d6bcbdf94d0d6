"""Mistakes of public reports, the tenth dozen: written before `explain` was tried on them."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import IMAGES, ROWS, TOKENS, Report, drawn, functions_of, modules_of, wrong_in_torch


class TorchCached(torch.nn.Module):
    """Decoding with a cache: the new token's position counts from the cache's last, not behind it."""

    def __init__(self):
        super().__init__()
        self.wq, self.wk, self.wv, self.wo = (torch.nn.Linear(6, 6, bias=False) for _ in range(4))
        self.wpe = torch.nn.Embedding(8, 6)

    def forward(self, x, past_k, past_v):
        past = past_k.shape[1]
        x = x + self.wpe(torch.arange(past, past + x.shape[1]))
        k, v = torch.cat([past_k, self.wk(x)], 1), torch.cat([past_v, self.wv(x)], 1)
        scores = self.wq(x) @ k.transpose(1, 2) * 6**-0.5
        allowed = torch.arange(k.shape[1])[None] <= torch.arange(past, k.shape[1])[:, None]
        scores = scores.masked_fill(~allowed, float("-inf"))
        return self.wo(scores.softmax(-1) @ v), k, v


class FlaxCached(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.wq, self.wk, self.wv, self.wo = (nnx.Linear(6, 6, use_bias=False, rngs=rngs) for _ in range(4))
        self.wpe = nnx.Embed(8, 6, dtype=jnp.float64, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x, past_k, past_v):
        past = past_k.shape[1]
        x = x + self.wpe(jnp.arange(x.shape[1]) + (past - 1 if self.wrong else past))
        k, v = jnp.concatenate([past_k, self.wk(x)], 1), jnp.concatenate([past_v, self.wv(x)], 1)
        scores = jnp.einsum("bqd,bkd->bqk", self.wq(x), k) / jnp.sqrt(6.0)
        allowed = jnp.arange(k.shape[1])[None] <= jnp.arange(past, k.shape[1])[:, None]
        return self.wo(jax.nn.softmax(jnp.where(allowed, scores, -jnp.inf), -1) @ v), k, v


class TorchDistilled(torch.nn.Module):
    """DeiT: the two heads' answers are added, not averaged (mistake in torch)."""

    def __init__(self, wrong=False):
        super().__init__()
        self.norm = torch.nn.LayerNorm(6, eps=1e-6)
        self.head, self.head_dist = torch.nn.Linear(6, 4), torch.nn.Linear(6, 4)
        self.wrong = wrong

    def forward(self, x):
        x = self.norm(x)
        a, b = self.head(x[:, 0]), self.head_dist(x[:, 1])
        return a + b if self.wrong else (a + b) / 2


class FlaxDistilled(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(6, epsilon=1e-6, rngs=rngs)
        self.head, self.head_dist = nnx.Linear(6, 4, rngs=rngs), nnx.Linear(6, 4, rngs=rngs)

    def __call__(self, x):
        x = self.norm(x)
        return 0.5 * (self.head(x[:, 0]) + self.head_dist(x[:, 1]))


class TorchAsked(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (torch.nn.Linear(6, 8, bias=False) for _ in range(3))
        self.o = torch.nn.Linear(8, 6, bias=False)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = (f(x).view(b, t, 2, 4).transpose(1, 2) for f in (self.q, self.k, self.v))
        q = q * 3**-0.5
        a = torch.softmax(50.0 * torch.tanh(q @ k.mT / 50.0), -1)
        return self.o((a @ v).transpose(1, 2).flatten(2))


class TorchGemma(torch.nn.Module):
    """Gemma 2: queries are scaled by the head's size, not by query_pre_attn_scalar."""

    def __init__(self):
        super().__init__()
        self.embed, self.attn = torch.nn.Embedding(9, 6), TorchAsked()

    def forward(self, ids):
        x = self.embed(ids) * 6**0.5
        x = x + self.attn(x)
        return 30.0 * torch.tanh(x @ self.embed.weight.T / 30.0)


class FlaxAsked(nnx.Module):
    def __init__(self, rngs, wrong):
        self.q, self.k, self.v = (nnx.Linear(6, 8, use_bias=False, rngs=rngs) for _ in range(3))
        self.o = nnx.Linear(8, 6, use_bias=False, rngs=rngs)
        self.scale = (4 if wrong else 3) ** -0.5

    def __call__(self, x):
        q, k, v = (f(x).reshape(*x.shape[:2], 2, 4) for f in (self.q, self.k, self.v))
        s = jnp.einsum("bqhd,bkhd->bhqk", q * self.scale, k)
        a = jax.nn.softmax(jnp.tanh(s / 50.0) * 50.0)
        return self.o(jnp.einsum("bhqk,bkhd->bqhd", a, v).reshape(*x.shape[:2], 8))


class FlaxGemma(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.embed, self.attn = nnx.Embed(9, 6, dtype=jnp.float64, rngs=rngs), FlaxAsked(rngs, wrong)

    def __call__(self, ids):
        x = self.embed(ids) * jnp.sqrt(6.0)
        x = x + self.attn(x)
        return jnp.tanh(self.embed.attend(x) / 30.0) * 30.0


class TorchStyled(torch.nn.Module):
    """StyleGAN 2: weights are demodulated over outputs, not inputs."""

    def __init__(self):
        super().__init__()
        self.style, self.weight = torch.nn.Linear(6, 3), torch.nn.Parameter(torch.randn(3, 3, 3, 3))

    def forward(self, x, w):
        s = self.style(w) + 1
        weight = self.weight[None] * s[:, None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum([2, 3, 4], keepdim=True) + 1e-8)
        b, c, h, v = x.shape
        return F.conv2d(x.reshape(1, b * c, h, v), weight.flatten(0, 1), padding=1, groups=b).reshape(b, 3, h, v)


class FlaxStyled(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.style, self.weight = nnx.Linear(6, 3, rngs=rngs), nnx.Param(jnp.zeros((3, 3, 3, 3)))
        self.axes = (0, 2, 3) if wrong else (1, 2, 3)

    def __call__(self, x, w):
        def one(image, style):
            weight = self.weight[...] * style[None, :, None, None]
            weight = weight / jnp.sqrt(jnp.sum(weight**2, self.axes, keepdims=True) + 1e-8)
            return jax.lax.conv_general_dilated(image[None], weight, (1, 1), "SAME")[0]

        return jax.vmap(one)(x, self.style(w) + 1)


class TorchReduced(torch.nn.Module):
    """PVT: queries are normed with the reduced keys, too."""

    def __init__(self):
        super().__init__()
        self.q, self.kv, self.proj = torch.nn.Linear(6, 6), torch.nn.Linear(6, 12), torch.nn.Linear(6, 6)
        self.sr, self.norm = torch.nn.Conv1d(6, 6, 2, stride=2), torch.nn.LayerNorm(6)

    def forward(self, x):
        small = self.norm(self.sr(x.transpose(1, 2)).transpose(1, 2))
        q, (k, v) = self.q(x), self.kv(small).chunk(2, -1)
        return self.proj((q @ k.mT * 6**-0.5).softmax(-1) @ v)


class FlaxReduced(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.q, self.kv, self.proj = (nnx.Linear(6, n, rngs=rngs) for n in (6, 12, 6))
        self.sr = nnx.Conv(6, 6, (2,), strides=2, padding="VALID", rngs=rngs)
        self.norm = nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        small = self.norm(self.sr(x))
        q = self.q(self.norm(x) if self.wrong else x)
        k, v = jnp.split(self.kv(small), 2, -1)
        return self.proj(jax.nn.softmax(q @ k.swapaxes(1, 2) / 6**0.5) @ v)


class TorchShared(torch.nn.Module):
    """ALBERT: the shared layer is run once less."""

    def __init__(self):
        super().__init__()
        self.embed, self.project = torch.nn.Embedding(9, 4), torch.nn.Linear(4, 6)
        self.ffn, self.ffn_output, self.norm = (
            torch.nn.Linear(6, 9),
            torch.nn.Linear(9, 6),
            torch.nn.LayerNorm(6, 1e-12),
        )

    def forward(self, ids):
        x = self.project(self.embed(ids))
        for _ in range(3):
            x = self.norm(x + self.ffn_output(F.gelu(self.ffn(x), approximate="tanh")))
        return x


class FlaxShared(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.embed, self.project = nnx.Embed(9, 4, dtype=jnp.float64, rngs=rngs), nnx.Linear(4, 6, rngs=rngs)
        self.ffn, self.ffn_output = nnx.Linear(6, 9, rngs=rngs), nnx.Linear(9, 6, rngs=rngs)
        self.norm = nnx.LayerNorm(6, epsilon=1e-12, rngs=rngs)
        self.rounds = 2 if wrong else 3

    def __call__(self, ids):
        x = self.project(self.embed(ids))
        for _ in range(self.rounds):
            x = self.norm(x + self.ffn_output(jax.nn.gelu(self.ffn(x))))
        return x


class TorchRays(torch.nn.Module):
    """NeRF: sines and cosines of one coordinate after another, not of one frequency after another."""

    def __init__(self):
        super().__init__()
        self.first, self.rgb = torch.nn.Linear(15, 8), torch.nn.Linear(8, 3)

    def forward(self, x):
        encoded = [x]
        for i in range(2):
            encoded += [torch.sin(2.0**i * x), torch.cos(2.0**i * x)]
        return torch.sigmoid(self.rgb(F.relu(self.first(torch.cat(encoded, -1)))))


class FlaxRays(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.first, self.rgb = nnx.Linear(15, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        scaled = 2.0 ** jnp.arange(2)[:, None] * x[..., None, :]
        waves = jnp.stack([jnp.sin(scaled), jnp.cos(scaled)], -2)
        waves = jnp.moveaxis(waves, -1, 1) if self.wrong else waves
        encoded = jnp.concatenate([x, waves.reshape(len(x), -1)], -1)
        return jax.nn.sigmoid(self.rgb(jax.nn.relu(self.first(encoded))))


class TorchMacaron(torch.nn.Module):
    """Conformer: the second feed-forward is added in full, not by half."""

    def __init__(self):
        super().__init__()
        self.ff1, self.ff2 = torch.nn.ModuleList([torch.nn.Linear(6, 9), torch.nn.Linear(9, 6)]), torch.nn.Linear(6, 6)
        self.conv, self.norm = torch.nn.Conv1d(6, 6, 3, padding=1, groups=6), torch.nn.LayerNorm(6)

    def forward(self, x):
        x = x + 0.5 * self.ff1[1](F.silu(self.ff1[0](x)))
        x = x + self.conv(x.transpose(1, 2)).transpose(1, 2)
        x = x + 0.5 * F.silu(self.ff2(x))
        return self.norm(x)


class FlaxMacaron(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.ff1 = nnx.List([nnx.Linear(6, 9, rngs=rngs), nnx.Linear(9, 6, rngs=rngs)])
        self.ff2 = nnx.Linear(6, 6, rngs=rngs)
        self.conv = nnx.Conv(6, 6, (3,), feature_group_count=6, rngs=rngs)
        self.norm = nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs)
        self.half = 1.0 if wrong else 0.5

    def __call__(self, x):
        x = x + 0.5 * self.ff1[1](jax.nn.swish(self.ff1[0](x)))
        x = x + self.conv(x)
        return self.norm(x + self.half * jax.nn.swish(self.ff2(x)))


class TorchAligned(torch.nn.Module):
    """Bahdanau: the context is made from the state behind the step, not before it."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.score = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6), torch.nn.Linear(6, 1)
        self.cell, self.out = torch.nn.Linear(18, 6), torch.nn.Linear(12, 3)

    def context(self, h, x):
        a = self.score(torch.tanh(self.query(h)[:, None] + self.key(x)))[..., 0].softmax(-1)
        return (a[..., None] * x).sum(1)

    def forward(self, x, y):
        h, outs = torch.zeros_like(y[:, 0]), []
        for t in range(y.shape[1]):
            c = self.context(h, x)
            h = torch.tanh(self.cell(torch.cat([y[:, t], c, h], -1)))
            outs.append(self.out(torch.cat([h, c], -1)))
        return torch.stack(outs, 1)


class FlaxAligned(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.query, self.key, self.score = (nnx.Linear(6, n, rngs=rngs) for n in (6, 6, 1))
        self.cell, self.out = nnx.Linear(18, 6, rngs=rngs), nnx.Linear(12, 3, rngs=rngs)
        self.wrong = wrong

    def context(self, h, x):
        a = jax.nn.softmax(self.score(jnp.tanh(self.query(h)[:, None] + self.key(x)))[..., 0])
        return jnp.einsum("bt,btd->bd", a, x)

    def __call__(self, x, y):
        h, outs = jnp.zeros_like(y[:, 0]), []
        for t in range(y.shape[1]):
            c = self.context(h, x)
            h = jnp.tanh(self.cell(jnp.concatenate([y[:, t], c, h], -1)))
            c = self.context(h, x) if self.wrong else c
            outs.append(self.out(jnp.concatenate([h, c], -1)))
        return jnp.stack(outs, 1)


class TorchHeard(torch.nn.Module):
    """wav2vec 2: the positional convolution's norm is taken for each output, not for each place."""

    def __init__(self):
        super().__init__()
        self.weight_g, self.weight_v = torch.nn.Parameter(torch.ones(1, 1, 3)), torch.nn.Parameter(torch.randn(6, 6, 3))
        self.norm = torch.nn.LayerNorm(6)

    def forward(self, x):
        weight = self.weight_g * self.weight_v / self.weight_v.norm(dim=(0, 1), keepdim=True)
        return self.norm(x + F.gelu(F.conv1d(x.mT, weight, padding=1)).mT)


class FlaxHeard(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.weight_g, self.weight_v = nnx.Param(jnp.ones((1, 1, 3))), nnx.Param(jnp.ones((6, 6, 3)))
        self.norm = nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs)
        self.axes = (1, 2) if wrong else (0, 1)

    def __call__(self, x):
        v = self.weight_v[...]
        weight = v * self.weight_g[...] / jnp.sqrt(jnp.sum(v * v, self.axes, keepdims=True))
        y = jax.lax.conv_general_dilated(x.swapaxes(1, 2), weight, (1,), [(1, 1)])
        return self.norm(x + nnx.gelu(y.swapaxes(1, 2), approximate=False))


class TorchSquashed(torch.nn.Module):
    """SAC: the density of a squashed action, written so that digits are lost; the square's factor forgotten."""

    def __init__(self):
        super().__init__()
        self.mean, self.log_std = torch.nn.Linear(6, 2), torch.nn.Linear(6, 2)

    def forward(self, x, eps):
        mean, log_std = self.mean(x), self.log_std(x).clamp(-5, 2)
        u = 2 * (mean + log_std.exp() * eps)
        density = (-0.5 * eps**2 - log_std - 0.5 * np.log(2 * np.pi)).sum(-1)
        y = torch.tanh(u)
        return y, density - torch.log(1 - y.pow(2)).sum(-1)


class FlaxSquashed(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.mean, self.log_std = nnx.Linear(6, 2, rngs=rngs), nnx.Linear(6, 2, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x, eps):
        mean, log_std = self.mean(x), jnp.clip(self.log_std(x), -5, 2)
        u = 2 * (mean + jnp.exp(log_std) * eps)
        y = jnp.tanh(u)
        density = jnp.sum(-0.5 * (eps**2 + 2 * log_std + jnp.log(2 * jnp.pi)), -1)
        return y, density - jnp.log(1 - (y if self.wrong else y**2)).sum(-1)


def torch_schedule(step):
    """Restarts: the cosine falls to its floor's share of nothing, not to the floor."""
    t = (step % 20) / 20
    return 1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + torch.cos(torch.pi * t))


def jax_schedule(step, wrong=False):
    t = jnp.mod(step, 20) / 20
    peak = 1e-3 if wrong else 1e-3 - 1e-5
    return 1e-5 + peak * (1 + jnp.cos(jnp.pi * t)) / 2


REPORTS = {
    "position of the cache": Report(
        modules_of(TorchCached, FlaxCached), (drawn(2, 2, 6), drawn(2, 3, 6, seed=4), drawn(2, 3, 6, seed=5)),
        "TorchCached", "arange|position",
    ),
    "heads' answers added": Report(wrong_in_torch(TorchDistilled, FlaxDistilled), TOKENS, "TorchDistilled", "0.5|2"),
    "scalar of the head": Report(
        modules_of(TorchGemma, FlaxGemma), {"ids": np.array([[1, 5, 3], [7, 2, 8]])}, "TorchGemma.attn", "0.5"
    ),
    "demodulated over outputs": Report(
        modules_of(TorchStyled, FlaxStyled), (IMAGES, drawn(2, 6)), "TorchStyled", "dim=|axis="
    ),
    "queries normed, too": Report(modules_of(TorchReduced, FlaxReduced), drawn(2, 6, 6), "TorchReduced", "norm"),
    "one round less": Report(
        modules_of(TorchShared, FlaxShared), {"ids": np.array([[1, 5, 3], [7, 2, 8]])}, "TorchShared", "round"
    ),
    "order of waves": Report(modules_of(TorchRays, FlaxRays), drawn(4, 3), "TorchRays", "order|concat"),
    "second half in full": Report(modules_of(TorchMacaron, FlaxMacaron), TOKENS, "TorchMacaron", "0.5"),
    "state behind the step": Report(
        modules_of(TorchAligned, FlaxAligned), (TOKENS, drawn(2, 3, 6, seed=6)), "TorchAligned", "begins with"
    ),
    "norm of each output": Report(modules_of(TorchHeard, FlaxHeard), TOKENS, "TorchHeard", "dim=|axis="),
    "square forgotten": Report(
        modules_of(TorchSquashed, FlaxSquashed), (ROWS, drawn(4, 2, seed=2)), "TorchSquashed", "torch computes y ** 2"
    ),
    "floor of restarts": Report(
        functions_of(torch_schedule, jax_schedule), np.arange(0.0, 50, 3), "torch_schedule", "0.001|0.0005"
    ),
}  # fmt: skip
