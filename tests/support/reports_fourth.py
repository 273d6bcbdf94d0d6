"""Mistakes of public reports, the fourth dozen: written before `explain` was tried on them."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import ROWS, TOKENS, Report, drawn, functions_of, modules_of, wrong_in_torch


class TorchRouter(torch.nn.Module):
    """Mixture of experts: softmax over the chosen, not over all (litgpt#2013, Megatron-LM#955)."""

    def __init__(self):
        super().__init__()
        self.router = torch.nn.Linear(6, 4)
        self.experts = torch.nn.Parameter(torch.zeros(4, 6, 5))

    def forward(self, x):
        weights, chosen = self.router(x).softmax(-1).topk(2)
        y = torch.einsum("td,edf->tef", x, self.experts)
        return (weights[..., None] * y.gather(1, chosen[..., None].expand(-1, -1, 5))).sum(1)


class FlaxRouter(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.router = nnx.Linear(6, 4, rngs=rngs)
        self.experts = nnx.Param(jnp.zeros((4, 6, 5)))
        self.wrong = wrong

    def __call__(self, x):
        z = self.router(x)
        if self.wrong:
            weights, chosen = jax.lax.top_k(z, 2)
            weights = jax.nn.softmax(weights, -1)
        else:
            weights, chosen = jax.lax.top_k(jax.nn.softmax(z, -1), 2)
        y = jnp.einsum("td,edf->tef", x, self.experts[...])
        return (weights[..., None] * jnp.take_along_axis(y, chosen[..., None], 1)).sum(1)


class TorchSpeech(torch.nn.Module):
    """wav2vec 2: each channel normed over time, not each time over channels (CrispASR#246)."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv1d(1, 6, 5, stride=2, bias=False)
        self.norm = torch.nn.GroupNorm(6, 6)
        self.out = torch.nn.Linear(6, 4)

    def forward(self, x):
        return self.out(F.gelu(self.norm(self.conv(x[:, None]))).mT)


class FlaxSpeech(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.conv = nnx.Conv(1, 6, (5,), strides=2, padding="VALID", use_bias=False, rngs=rngs)
        self.norm = nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs)
        self.out = nnx.Linear(6, 4, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        y = self.conv(x[..., None])
        if self.wrong:
            y = self.norm(y)
        else:
            y = (y - y.mean(1, keepdims=True)) / jnp.sqrt(y.var(1, keepdims=True) + 1e-5)
            y = y * self.norm.scale[...] + self.norm.bias[...]
        return self.out(jax.nn.gelu(y, approximate=False))


def torch_entropy(z, a):
    """PPO: the entropy of the actions that were taken, not of the policy (rlx#3)."""
    logp = z.log_softmax(-1)
    taken = logp.gather(-1, a[:, None])[:, 0]
    return taken, -(logp.exp() * logp).sum(-1)


def jax_entropy(z, a, wrong=False):
    logp = jax.nn.log_softmax(z, -1)
    taken = jnp.take_along_axis(logp, a[:, None], -1)[:, 0]
    return taken, -jnp.exp(taken) * taken if wrong else -(jnp.exp(logp) * logp).sum(-1)


def _angles(np_, length, size):
    return np_.arange(length)[:, None] / 10000.0 ** (np_.arange(0, size, 2, dtype=np_.float64) / size)


class TorchQwen(torch.nn.Module):
    """Qwen 3: the norm of queries and keys after the rotation, not before (torchtune#2809)."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (torch.nn.Linear(6, 8, bias=False) for _ in range(3))
        self.q_norm, self.k_norm = (torch.nn.RMSNorm(4, eps=1e-6) for _ in range(2))

    def rotate(self, x):
        a = _angles(torch, x.shape[1], 4).to(x.dtype)
        c, s = (torch.cat([each, each], -1)[:, None] for each in (a.cos(), a.sin()))
        first, second = x.chunk(2, -1)
        return x * c + torch.cat([-second, first], -1) * s

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = (each(x).view(b, t, 2, 4) for each in (self.q, self.k, self.v))
        q, k = self.rotate(self.q_norm(q)), self.rotate(self.k_norm(k))
        w = (torch.einsum("bqhd,bkhd->bhqk", q, k) / 2).softmax(-1)
        return torch.einsum("bhqk,bkhd->bqhd", w, v).flatten(2)


class FlaxQwen(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.q, self.k, self.v = (nnx.Linear(6, 8, use_bias=False, rngs=rngs) for _ in range(3))
        self.q_norm, self.k_norm = (nnx.RMSNorm(4, epsilon=1e-6, rngs=rngs) for _ in range(2))
        self.wrong = wrong

    def rotate(self, x):
        a = _angles(jnp, x.shape[1], 4)
        c, s = (jnp.concatenate([each, each], -1)[:, None] for each in (jnp.cos(a), jnp.sin(a)))
        first, second = jnp.split(x, 2, -1)
        return x * c + jnp.concatenate([-second, first], -1) * s

    def __call__(self, x):
        b, t, _ = x.shape
        q, k, v = (each(x).reshape(b, t, 2, 4) for each in (self.q, self.k, self.v))
        if self.wrong:
            q, k = self.q_norm(self.rotate(q)), self.k_norm(self.rotate(k))
        else:
            q, k = self.rotate(self.q_norm(q)), self.rotate(self.k_norm(k))
        w = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / 2, -1)
        return jnp.einsum("bhqk,bkhd->bqhd", w, v).reshape(b, t, 8)


class TorchOlmo(torch.nn.Module):
    """OLMo: queries normed over all heads, not head by head (maxtext#3112)."""

    def __init__(self):
        super().__init__()
        self.q = torch.nn.Linear(6, 8)
        self.scale = torch.nn.Parameter(torch.ones(8))

    def forward(self, x):
        q = self.q(x)
        q = q * (q.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt() * self.scale
        return q.unflatten(-1, (2, 4)).transpose(1, 2)


class FlaxOlmo(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.q = nnx.Linear(6, 8, rngs=rngs)
        self.scale = nnx.Param(jnp.ones(8))
        self.wrong = wrong

    def __call__(self, x):
        q = self.q(x)
        if self.wrong:
            q = q.reshape(*q.shape[:-1], 2, 4)
        q = q * jax.lax.rsqrt((q**2).mean(-1, keepdims=True) + 1e-6)
        q = q.reshape(*q.shape[:2], 8) * self.scale[...]
        return q.reshape(*q.shape[:2], 2, 4).transpose(0, 2, 1, 3)


def torch_llama3(x):
    """Llama 3: the wrong factor of the long waves (TransformerLens#910)."""
    inverse = 1 / 500000.0 ** (torch.arange(0, 16, 2, dtype=x.dtype) / 16)
    waves = 2 * torch.pi / inverse
    smooth = ((8192 / waves - 1) / (4 - 1)).clamp(0, 1)
    inverse = (1 - smooth) * inverse / 32 + smooth * inverse
    return x[..., None] * inverse


def jax_llama3(x, wrong=False):
    inverse = 1 / 500000.0 ** (jnp.arange(0, 16, 2) / 16)
    waves = 2 * jnp.pi / inverse
    smooth = jnp.clip((8192 / waves - 1) / (4 - 1), 0, 1)
    inverse = (1 - smooth) * inverse / (8 if wrong else 32) + smooth * inverse
    return x[..., None] * inverse


ALPHAS = np.cumprod(1 - np.linspace(0.01, 0.3, 10))


def torch_offset(x, e, t):
    """Diffusers: steps begin at 1, not at 0 (stable-diffusion-jax#4, diffusers#564)."""
    a = torch.tensor(ALPHAS)[t][:, None]
    return a.sqrt() * x + (1 - a).sqrt() * e


def jax_offset(x, e, t, wrong=False):
    a = jnp.asarray(ALPHAS)[t + 1 if wrong else t][:, None]
    return jnp.sqrt(a) * x + jnp.sqrt(1 - a) * e


class TorchUp(torch.nn.Module):
    """The kernel of a transposed convolution not flipped (equinox#574, #779)."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3, 5, 3))

    def forward(self, x):
        return F.conv_transpose1d(x, self.weight, stride=2)


class FlaxUp(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.weight = nnx.Param(jnp.zeros((3, 5, 3)))
        self.wrong = wrong

    def __call__(self, x):
        w = self.weight[...] if self.wrong else self.weight[..., ::-1]
        return jax.lax.conv_general_dilated(x, w.transpose(1, 0, 2), (1,), ((2, 2),), lhs_dilation=(2,))


def torch_density(x, mean, logs):
    """Policies: the mean of the log-density over actions, not the sum (flow_grpo#143)."""
    z = (x - mean) * (-logs).exp()
    return (-0.5 * z**2 - logs - 0.5 * np.log(2 * np.pi)).sum(-1)


def jax_density(x, mean, logs, wrong=False):
    z = (x - mean) * jnp.exp(-logs)
    each = -0.5 * z**2 - logs - 0.5 * np.log(2 * np.pi)
    return each.mean(-1) if wrong else each.sum(-1)


def _index(side):
    at = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij")).reshape(2, -1)
    apart = at[:, :, None] - at[:, None] + side - 1
    return apart[0] * (2 * side - 1) + apart[1]


class TorchWindow(torch.nn.Module):
    """Swin: the index of relative positions transposed (PaddleViT's note on its sizes)."""

    def __init__(self):
        super().__init__()
        self.qkv = torch.nn.Linear(6, 18)
        self.table = torch.nn.Parameter(torch.zeros(9, 2))
        self.proj = torch.nn.Linear(6, 6)
        self.register_buffer("index", torch.tensor(_index(2)), persistent=False)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, 2, 3).permute(2, 0, 3, 1, 4)
        a = q @ k.mT * 3**-0.5 + self.table[self.index.flatten()].reshape(n, n, 2).permute(2, 0, 1)
        return self.proj((a.softmax(-1) @ v).transpose(1, 2).reshape(b, n, 6))


class FlaxWindow(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.qkv = nnx.Linear(6, 18, rngs=rngs)
        self.table = nnx.Param(jnp.zeros((9, 2)))
        self.proj = nnx.Linear(6, 6, rngs=rngs)
        self.index = _index(2).T if wrong else _index(2)

    def __call__(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, 2, 3).transpose(2, 0, 3, 1, 4)
        a = q @ k.swapaxes(-1, -2) * 3**-0.5 + self.table[...][self.index].transpose(2, 0, 1)
        return self.proj((jax.nn.softmax(a, -1) @ v).transpose(0, 2, 1, 3).reshape(b, n, 6))


class TorchDelta(torch.nn.Module):
    """Mamba: the bias of the step is added by the layer and again before softplus (modular#5748; mistake in torch)."""

    def __init__(self, wrong=False):
        super().__init__()
        self.dt = torch.nn.Linear(6, 4)
        self.a = torch.nn.Parameter(torch.zeros(4))
        self.wrong = wrong

    def forward(self, x):
        dt = self.dt(x)
        dt = F.softplus(dt + self.dt.bias if self.wrong else dt)
        return (dt * -self.a.exp()).cumsum(1).exp()


class FlaxDelta(nnx.Module):
    def __init__(self, rngs):
        self.dt = nnx.Linear(6, 4, rngs=rngs)
        self.a = nnx.Param(jnp.zeros(4))

    def __call__(self, x):
        dt = jax.nn.softplus(self.dt(x))
        return jnp.exp(jnp.cumsum(dt * -jnp.exp(self.a[...]), 1))


class TorchClip(torch.nn.Module):
    """Contrastive ports: the temperature itself, not its exponential."""

    def __init__(self):
        super().__init__()
        self.image, self.text = torch.nn.Linear(6, 4), torch.nn.Linear(6, 4)
        self.logit_scale = torch.nn.Parameter(torch.tensor(1.3))

    def forward(self, x):
        a, b = self.image(x), self.text(x**2)
        a, b = a / a.norm(dim=-1, keepdim=True), b / b.norm(dim=-1, keepdim=True)
        return self.logit_scale.exp() * a @ b.T


class FlaxClip(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.image, self.text = nnx.Linear(6, 4, rngs=rngs), nnx.Linear(6, 4, rngs=rngs)
        self.logit_scale = nnx.Param(jnp.array(1.3))
        self.wrong = wrong

    def __call__(self, x):
        a, b = self.image(x), self.text(x**2)
        a, b = (each / jnp.linalg.norm(each, axis=-1, keepdims=True) for each in (a, b))
        scale = self.logit_scale[...] if self.wrong else jnp.exp(self.logit_scale[...])
        return scale * a @ b.T


ACTIONS = np.array([0, 2, 1, 2])

REPORTS = {
    "softmax of the chosen": Report(modules_of(TorchRouter, FlaxRouter), ROWS, "TorchRouter", "softmax(top_k(router"),
    "channels normed": Report(
        modules_of(TorchSpeech, FlaxSpeech), drawn(2, 21), "TorchSpeech.norm", "over axes (1,)|mean(conv"
    ),
    "entropy of the taken": Report(
        functions_of(torch_entropy, jax_entropy), {"z": drawn(4, 3), "a": ACTIONS}, "torch_entropy", "exp(taken)"
    ),
    "norm after rotation": Report(modules_of(TorchQwen, FlaxQwen), TOKENS, "TorchQwen", "JAX q * c"),
    "normed head by head": Report(modules_of(TorchOlmo, FlaxOlmo), TOKENS, "TorchOlmo", "mean(q ** 2, axis=3)"),
    "factor of long waves": Report(functions_of(torch_llama3, jax_llama3), drawn(5), "torch_llama3", "with 8, not 32"),
    "steps from one": Report(
        functions_of(torch_offset, jax_offset),
        {"x": drawn(3, 4), "e": drawn(3, 4, seed=2), "t": np.array([0, 3, 8])},
        "torch_offset",
        "t + 1",
    ),
    "kernel not flipped": Report(modules_of(TorchUp, FlaxUp), drawn(2, 3, 7), "TorchUp", "flipped along its axes"),
    "mean of densities": Report(
        functions_of(torch_density, jax_density),
        {"x": drawn(4, 3), "mean": drawn(4, 3, seed=2), "logs": drawn(4, 3, seed=3)},
        "torch_density",
        "mean in place of sum",
    ),
    "index transposed": Report(
        modules_of(TorchWindow, FlaxWindow), drawn(3, 4, 6), "TorchWindow", "axes 1 and 2 exchanged"
    ),
    "bias twice": Report(wrong_in_torch(TorchDelta, FlaxDelta), TOKENS, "TorchDelta", "torch computes dt + dt.bias"),
    "temperature's exponential": Report(modules_of(TorchClip, FlaxClip), ROWS, "TorchClip", "torch computes exp("),
}
