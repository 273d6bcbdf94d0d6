"""Mistakes of public reports, the seventh dozen: written before `explain` was tried on them."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import ROWS, TOKENS, Report, drawn, functions_of, modules_of, wrong_in_torch


class TorchStates(torch.nn.Module):
    """S4D: one of each pair of conjugate states is dropped, and its share not doubled."""

    def __init__(self):
        super().__init__()
        self.rate, self.turn = torch.nn.Parameter(torch.zeros(6, 3)), torch.nn.Parameter(torch.ones(6, 3))
        self.c, self.d = torch.nn.Parameter(torch.ones(6, 3, 2)), torch.nn.Parameter(torch.ones(6))
        self.out = torch.nn.Linear(6, 6)

    def forward(self, x):
        a = torch.complex(-self.rate.exp(), self.turn)
        c = torch.view_as_complex(self.c.contiguous()) * (torch.exp(a * 0.1) - 1) / a
        k = 2 * torch.einsum("hn,hnl->hl", c, torch.exp(a[..., None] * 0.1 * torch.arange(x.shape[1]))).real
        n = 2 * x.shape[1]
        y = torch.fft.irfft(torch.fft.rfft(x.mT, n=n) * torch.fft.rfft(k, n=n), n=n)[..., : x.shape[1]]
        return self.out(F.gelu(y + x.mT * self.d[:, None]).mT)


class FlaxStates(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.rate, self.turn = nnx.Param(jnp.zeros((6, 3))), nnx.Param(jnp.ones((6, 3)))
        self.c, self.d = nnx.Param(jnp.ones((6, 3, 2))), nnx.Param(jnp.ones(6))
        self.out = nnx.Linear(6, 6, rngs=rngs)
        self.factor = 1 if wrong else 2

    def __call__(self, x):
        a = -jnp.exp(self.rate[...]) + 1j * self.turn[...]
        c = (self.c[..., 0] + 1j * self.c[..., 1]) * (jnp.exp(a * 0.1) - 1) / a
        k = self.factor * jnp.einsum("hn,hnl->hl", c, jnp.exp(a[..., None] * 0.1 * jnp.arange(x.shape[1]))).real
        n, u = 2 * x.shape[1], x.swapaxes(1, 2)
        y = jnp.fft.irfft(jnp.fft.rfft(u, n=n) * jnp.fft.rfft(k, n=n), n=n)[..., : x.shape[1]]
        return self.out(jax.nn.gelu(y + u * self.d[..., None], approximate=False).swapaxes(1, 2))


class TorchRoot(torch.nn.Module):
    """RMSNorm written out: epsilon added to the root, not under it."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(6))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-3) * self.weight


class TorchGated(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.gate, self.up, self.down = TorchRoot(), *(torch.nn.Linear(6, 6, bias=False) for _ in range(3))

    def forward(self, x):
        h = self.norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class FlaxRoot(nnx.Module):
    def __init__(self, wrong):
        self.weight, self.wrong = nnx.Param(jnp.ones(6)), wrong

    def __call__(self, x):
        square = jnp.mean(x**2, -1, keepdims=True)
        root = jnp.sqrt(square) + 1e-3 if self.wrong else jnp.sqrt(square + 1e-3)
        return x / root * self.weight[...]


class FlaxGated(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.norm = FlaxRoot(wrong)
        self.gate, self.up, self.down = (nnx.Linear(6, 6, use_bias=False, rngs=rngs) for _ in range(3))

    def __call__(self, x):
        h = self.norm(x)
        return x + self.down(jax.nn.silu(self.gate(h)) * self.up(h))


class TorchCosine(torch.nn.Module):
    """Swin 2: the logarithm of the scale is not held below that of 100."""

    def __init__(self):
        super().__init__()
        self.qkv, self.proj = torch.nn.Linear(6, 18), torch.nn.Linear(6, 6)
        self.scale = torch.nn.Parameter(torch.ones(2, 1, 1))

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, 2, 3).permute(2, 0, 3, 1, 4)
        a = (q / q.norm(dim=-1, keepdim=True)) @ (k / k.norm(dim=-1, keepdim=True)).mT
        a = a * torch.clamp(self.scale + 5, max=np.log(100.0)).exp()
        return self.proj((a.softmax(-1) @ v).transpose(1, 2).reshape(b, n, 6))


def _normed(x):
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


class FlaxCosine(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.qkv, self.proj = nnx.Linear(6, 18, rngs=rngs), nnx.Linear(6, 6, rngs=rngs)
        self.scale = nnx.Param(jnp.ones((2, 1, 1)))
        self.wrong = wrong

    def __call__(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, 2, 3).transpose(2, 0, 3, 1, 4)
        scale = self.scale[...] + 5
        a = _normed(q) @ _normed(k).swapaxes(-1, -2)
        a = a * jnp.exp(scale if self.wrong else jnp.minimum(scale, np.log(100.0)))
        return self.proj((jax.nn.softmax(a, -1) @ v).transpose(0, 2, 1, 3).reshape(b, n, 6))


class TorchCoupling(torch.nn.Module):
    """RealNVP: the determinant of the inverse."""

    def __init__(self):
        super().__init__()
        self.scale, self.shift = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)

    def forward(self, x):
        kept, moved = x.chunk(2, -1)
        s, t = torch.tanh(self.scale(kept)), self.shift(kept)
        z = torch.cat([kept, moved * s.exp() + t], -1)
        return (-0.5 * z**2).sum(-1) + s.sum(-1)


class FlaxCoupling(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.scale, self.shift = nnx.Linear(3, 3, rngs=rngs), nnx.Linear(3, 3, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        kept, moved = jnp.split(x, 2, -1)
        s, t = jnp.tanh(self.scale(kept)), self.shift(kept)
        z = jnp.concatenate([kept, moved * jnp.exp(s) + t], -1)
        return (-0.5 * z**2).sum(-1) + (-s if self.wrong else s).sum(-1)


class TorchPairs(torch.nn.Module):
    """Factorisation machines: the half of the pairs' sum is forgotten (mistake in torch)."""

    def __init__(self, wrong=False):
        super().__init__()
        self.linear, self.factors = torch.nn.Linear(6, 1), torch.nn.Parameter(torch.randn(6, 4))
        self.factor = 1.0 if wrong else 0.5

    def forward(self, x):
        both = (x @ self.factors) ** 2 - (x**2) @ (self.factors**2)
        return self.linear(x)[:, 0] + self.factor * both.sum(-1)


class FlaxPairs(nnx.Module):
    def __init__(self, rngs):
        self.linear, self.factors = nnx.Linear(6, 1, rngs=rngs), nnx.Param(jnp.zeros((6, 4)))

    def __call__(self, x):
        v = self.factors[...]
        return self.linear(x)[:, 0] + 0.5 * (jnp.square(x @ v) - jnp.square(x) @ jnp.square(v)).sum(-1)


class TorchMemory(torch.nn.Module):
    """Transformer-XL: the memory is normed with the tokens on one side only."""

    def __init__(self):
        super().__init__()
        self.norm, self.q = torch.nn.LayerNorm(6), torch.nn.Linear(6, 6, bias=False)
        self.kv, self.out = torch.nn.Linear(6, 12, bias=False), torch.nn.Linear(6, 6, bias=False)

    def forward(self, x, memory):
        both = self.norm(torch.cat([memory, x], 1))
        q, (k, v) = self.q(both[:, memory.shape[1] :]), self.kv(both).chunk(2, -1)
        seen = torch.ones(x.shape[1], both.shape[1], dtype=torch.bool).tril(memory.shape[1])
        a = (q @ k.mT / 6**0.5).masked_fill(~seen, -1e30).softmax(-1)
        return x + self.out(a @ v)


class FlaxMemory(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.norm = nnx.LayerNorm(6, epsilon=1e-5, use_fast_variance=False, rngs=rngs)
        self.q, self.out = (nnx.Linear(6, 6, use_bias=False, rngs=rngs) for _ in range(2))
        self.kv = nnx.Linear(6, 12, use_bias=False, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x, memory):
        past = memory.shape[1]
        both = jnp.concatenate([memory, x], 1)
        both = jnp.concatenate([memory, self.norm(x)], 1) if self.wrong else self.norm(both)
        q, (k, v) = self.q(both[:, past:]), jnp.split(self.kv(both), 2, -1)
        seen = jnp.tril(jnp.ones((x.shape[1], both.shape[1]), bool), past)
        a = jax.nn.softmax(jnp.where(seen, q @ k.swapaxes(-1, -2) / 6**0.5, -1e30), -1)
        return x + self.out(a @ v)


class TorchHighway(torch.nn.Module):
    """Highway networks: what is carried and what is transformed exchanged."""

    def __init__(self):
        super().__init__()
        self.gates = torch.nn.ModuleList(torch.nn.Linear(6, 6) for _ in range(2))
        self.layers = torch.nn.ModuleList(torch.nn.Linear(6, 6) for _ in range(2))

    def forward(self, x):
        for gate, layer in zip(self.gates, self.layers, strict=True):
            g = torch.sigmoid(gate(x))
            x = g * torch.relu(layer(x)) + (1 - g) * x
        return x


class FlaxHighway(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.gates = nnx.List([nnx.Linear(6, 6, rngs=rngs) for _ in range(2)])
        self.layers = nnx.List([nnx.Linear(6, 6, rngs=rngs) for _ in range(2)])
        self.wrong = wrong

    def __call__(self, x):
        for gate, layer in zip(self.gates, self.layers, strict=True):
            g, h = jax.nn.sigmoid(gate(x)), jax.nn.relu(layer(x))
            x = g * x + (1 - g) * h if self.wrong else g * h + (1 - g) * x
        return x


class TorchChain(torch.nn.Module):
    """Conditional random fields: the transitions transposed."""

    def __init__(self):
        super().__init__()
        self.emit, self.move = torch.nn.Linear(6, 3), torch.nn.Parameter(torch.zeros(3, 3))

    def forward(self, x):
        scores = self.emit(x)
        alpha = scores[:, 0]
        for t in range(1, x.shape[1]):
            alpha = torch.logsumexp(alpha[:, :, None] + self.move[None], 1) + scores[:, t]
        return torch.logsumexp(alpha, -1)


class FlaxChain(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.emit, self.move = nnx.Linear(6, 3, rngs=rngs), nnx.Param(jnp.zeros((3, 3)))
        self.wrong = wrong

    def __call__(self, x):
        scores = self.emit(x)
        move = self.move[...].T if self.wrong else self.move[...]

        def step(alpha, each):
            return jax.nn.logsumexp(alpha[:, :, None] + move[None], 1) + each, None

        alpha, _ = jax.lax.scan(step, scores[:, 0], scores[:, 1:].swapaxes(0, 1))
        return jax.nn.logsumexp(alpha, -1)


def torch_snr(x, t):
    """Min-SNR: the ratio of deviations, not of variances."""
    alpha = torch.cos(t * torch.pi / 2) ** 2
    snr = alpha / (1 - alpha)
    return (torch.minimum(snr, torch.full_like(snr, 5.0)) / snr * x.square().mean(-1)).mean()


def jax_snr(x, t, wrong=False):
    alpha = jnp.cos(t * jnp.pi / 2) ** 2
    snr = alpha / (1 - alpha)
    snr = jnp.sqrt(snr) if wrong else snr
    return (jnp.minimum(snr, 5.0) / snr * jnp.square(x).mean(-1)).mean()


class TorchIsomorphic(torch.nn.Module):
    """GIN: a node is not counted beside its neighbours, only epsilon times."""

    def __init__(self):
        super().__init__()
        self.eps = torch.nn.Parameter(torch.zeros(1))
        self.up, self.down = torch.nn.Linear(6, 8), torch.nn.Linear(8, 6)
        self.head = torch.nn.Linear(6, 2)

    def forward(self, x, edges):
        near = torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])
        return self.head(self.down(F.relu(self.up((1 + self.eps) * x + near))).sum(0))


class FlaxIsomorphic(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.eps = nnx.Param(jnp.zeros(1))
        self.up, self.down = nnx.Linear(6, 8, rngs=rngs), nnx.Linear(8, 6, rngs=rngs)
        self.head = nnx.Linear(6, 2, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x, edges):
        near = jax.ops.segment_sum(x[edges[0]], edges[1], len(x))
        own = self.eps[...] * x if self.wrong else (1 + self.eps[...]) * x
        return self.head(self.down(jax.nn.relu(self.up(own + near))).sum(0))


class TorchKernel(torch.nn.Module):
    """Linear transformers: ReLU for ELU in the feature map, one added in both."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (torch.nn.Linear(6, 6) for _ in range(3))

    def forward(self, x):
        q, k, v = F.elu(self.q(x)) + 1, F.elu(self.k(x)) + 1, self.v(x)
        return (q @ (k.mT @ v)) / (q @ k.sum(1)[..., None])


class FlaxKernel(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.q, self.k, self.v = (nnx.Linear(6, 6, rngs=rngs) for _ in range(3))
        self.map = jax.nn.relu if wrong else jax.nn.elu

    def __call__(self, x):
        q, k, v = self.map(self.q(x)) + 1, self.map(self.k(x)) + 1, self.v(x)
        return (q @ (k.swapaxes(-1, -2) @ v)) / (q @ k.sum(1)[..., None])


def torch_box(p, y):
    """Detection: Huber's loss for the smooth one, which is divided by beta."""
    return F.smooth_l1_loss(p, y, beta=0.5)


def jax_box(p, y, wrong=False):
    d = jnp.abs(p - y)
    near = jnp.minimum(d, 0.5)
    huber = 0.5 * near**2 + 0.5 * (d - near)
    return (huber if wrong else huber / 0.5).mean()


EDGES = np.array([[0, 1, 2, 3, 3, 1], [1, 0, 3, 2, 0, 2]])
TIMES = np.array([0.2, 0.4, 0.6, 0.8])
REPORTS = {
    "one of each pair": Report(
        modules_of(TorchStates, FlaxStates), TOKENS, "TorchStates", "a constant factor left out"
    ),
    "epsilon on the root": Report(modules_of(TorchGated, FlaxGated), TOKENS, "TorchGated.norm", "/ (sqrt("),
    "scale not held": Report(modules_of(TorchCosine, FlaxCosine), TOKENS, "TorchCosine", "clamp"),
    "determinant of the inverse": Report(modules_of(TorchCoupling, FlaxCoupling), ROWS, "TorchCoupling", "JAX -s"),
    "whole of the pairs": Report(
        wrong_in_torch(TorchPairs, FlaxPairs), ROWS, "TorchPairs", "JAX sum(both, axis=1) * 0.5"
    ),
    "memory not normed": Report(
        modules_of(TorchMemory, FlaxMemory), (TOKENS, drawn(2, 3, 6, seed=7)), "TorchMemory", "JAX cat("
    ),
    "gates exchanged": Report(modules_of(TorchHighway, FlaxHighway), TOKENS, "TorchHighway", "JAX (1 - g) * relu"),
    "transitions transposed": Report(modules_of(TorchChain, FlaxChain), TOKENS, "TorchChain", "transposed"),
    "ratio of deviations": Report(functions_of(torch_snr, jax_snr), (ROWS, TIMES), "torch_snr", "square root"),
    "node not counted": Report(
        modules_of(TorchIsomorphic, FlaxIsomorphic), (ROWS, EDGES), "TorchIsomorphic", "a weight itself, not 1 + weight"
    ),
    "ReLU for ELU": Report(modules_of(TorchKernel, FlaxKernel), TOKENS, "TorchKernel", "ReLU in place"),
    "not divided by beta": Report(
        functions_of(torch_box, jax_box), (ROWS, drawn(4, 6, seed=4)), "torch_box", "Huber's loss"
    ),
}
