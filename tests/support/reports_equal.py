"""Right ports that are hard to judge: ill-conditioned, in few digits, or written otherwise. Each has to agree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import IMAGES, ROWS, TOKENS, drawn

from crosscheck.pairing.copy_weights import copy_weights


class Equal(NamedTuple):
    """Both sides with equal weights, their inputs, and options of `compare`."""

    torch: Any
    jax: Any
    inputs: Any
    options: dict[str, Any] = {}


def torch_solved(x):
    """A system of linear equations with a Hilbert matrix, of condition 1e10."""
    n = torch.arange(8, dtype=x.dtype)
    return torch.linalg.solve(1 / (n[:, None] + n + 1), x.T).T


def jax_solved(x):
    n = jnp.arange(8.0)
    return (jnp.linalg.inv(1 / (n[:, None] + n + 1)) @ x.T).T


def torch_deviation(x):
    """The deviation of numbers about 3000, by one pass and by two."""
    return x.std(-1, correction=0)


def jax_deviation(x):
    return jnp.sqrt((x**2).mean(-1) - x.mean(-1) ** 2)


class TorchHeads(torch.nn.Module):
    """Attention: heads in another place, the scale on the queries, a mask of -1e30; weights are returned as well."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(6, 24), torch.nn.Linear(8, 6)
        self.to(dtype)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, 2, 4).permute(2, 0, 3, 1, 4)
        a = q @ k.mT / 2
        a = a.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), float("-inf")).softmax(-1)
        return self.out((a @ v).transpose(1, 2).reshape(b, t, 8)), a


class FlaxHeads(nnx.Module):
    def __init__(self, rngs, dtype=jnp.float64):
        of = {"dtype": dtype, "param_dtype": dtype, "rngs": rngs}
        self.qkv, self.out = nnx.Linear(6, 24, **of), nnx.Linear(8, 6, **of)

    def __call__(self, x):
        b, t, _ = x.shape
        q, k, v = jnp.split(self.qkv(x), 3, -1)
        q, k, v = (each.reshape(b, t, 2, 4) for each in (q * 0.5, k, v))
        a = jnp.einsum("bqhd,bkhd->bhqk", q, k)
        a = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((t, t), bool)), a, jnp.finfo(a.dtype).min), -1)
        return self.out(jnp.einsum("bhqk,bkhd->bqhd", a, v).reshape(b, t, 8)), a


class TorchPatch(torch.nn.Module):
    """Patches by a convolution, and by a product of what is cut out; images with channels first and last."""

    def __init__(self):
        super().__init__()
        self.proj = torch.nn.Conv2d(3, 5, 4, stride=4)
        self.norm = torch.nn.GroupNorm(1, 5)

    def forward(self, x):
        return self.norm(self.proj(x))


class FlaxPatch(nnx.Module):
    def __init__(self, rngs):
        self.proj, self.norm = (
            nnx.Conv(3, 5, (4, 4), strides=4, rngs=rngs),
            nnx.GroupNorm(5, num_groups=1, epsilon=1e-5, rngs=rngs),
        )

    def __call__(self, x):
        b, h, w, c = x.shape
        cut = x.reshape(b, h // 4, 4, w // 4, 4, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 4, w // 4, -1)
        return self.norm(cut @ self.proj.kernel[...].reshape(-1, 5) + self.proj.bias[...])


class TorchRnn(torch.nn.Module):
    """A loop over steps that returns its states, and a scan."""

    def __init__(self):
        super().__init__()
        self.i, self.h = torch.nn.Linear(6, 5), torch.nn.Linear(5, 5)

    def forward(self, x):
        h, out = x.new_zeros(len(x), 5), []
        for step in self.i(x).unbind(1):
            h = torch.tanh(step + self.h(h))
            out.append(h)
        return torch.stack(out, 1), (h,)


class FlaxRnn(nnx.Module):
    def __init__(self, rngs):
        self.i, self.h = nnx.Linear(6, 5, rngs=rngs), nnx.Linear(5, 5, rngs=rngs)

    def __call__(self, x):
        w, b = self.h.kernel[...], self.h.bias[...]

        def step(h, now):
            h = jnp.tanh(now + h @ w + b)
            return h, h

        last, out = jax.lax.scan(step, jnp.zeros((len(x), 5)), self.i(x).swapaxes(0, 1))
        return out.swapaxes(0, 1), (last,)


def torch_filtered(x, k):
    """A causal convolution, directly and by a Fourier transform of padded signals."""
    return F.conv1d(F.pad(x, (k.shape[-1] - 1, 0)), k.flip(-1)[:, None], groups=len(k))


def jax_filtered(x, k):
    n = x.shape[-1] + k.shape[-1]
    return jnp.fft.irfft(jnp.fft.rfft(x, n) * jnp.fft.rfft(k, n), n)[..., : x.shape[-1]]


def torch_scanned(a, b):
    """A linear recurrence, step by step and by an associative scan, in float32."""
    h, out = torch.zeros_like(b[:, 0]), []
    for t in range(b.shape[1]):
        h = a[:, t] * h + b[:, t]
        out.append(h)
    return torch.stack(out, 1)


def jax_scanned(a, b):
    def both(left, right):
        return left[0] * right[0], right[0] * left[1] + right[1]

    return jax.lax.associative_scan(both, (a, b), axis=1)[1]


class TorchDropped(torch.nn.Module):
    """Dropout that each framework draws by itself, off in both."""

    def __init__(self):
        super().__init__()
        self.f, self.g = torch.nn.Linear(6, 8), torch.nn.Linear(8, 3)
        self.drop = torch.nn.Dropout(0.4)

    def forward(self, x):
        return {"logits": self.g(self.drop(torch.relu(self.f(x))))}


class FlaxDropped(nnx.Module):
    def __init__(self, rngs):
        self.f, self.g, self.drop = (
            nnx.Linear(6, 8, rngs=rngs),
            nnx.Linear(8, 3, rngs=rngs),
            nnx.Dropout(0.4, rngs=rngs),
        )

    def __call__(self, x):
        return self.g(self.drop(jax.nn.relu(self.f(x))))


def _modules(ours, theirs, inputs, **options):
    torch.manual_seed(0)
    ours = ours()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_((torch.randn(parameter.shape) + parameter) / 2)
    return lambda: Equal(ours, copy_weights(ours, theirs(nnx.Rngs(0))), inputs, options)


def _doubled(ours):
    return lambda: ours().double()


def _bfloat16_heads(rngs):
    return FlaxHeads(rngs, jnp.bfloat16)


FLOAT32 = {"a": drawn(3, 40, 4).astype(np.float32) / 2, "b": drawn(3, 40, 4, seed=2).astype(np.float32)}
IMAGE = {"torch_arguments": {"x": torch.tensor(IMAGES)}, "jax_arguments": {"x": IMAGES.transpose(0, 2, 3, 1).copy()}}

EQUAL = {
    "ill-conditioned system": lambda: Equal(torch_solved, jax_solved, drawn(3, 8)),
    "variance by one pass": lambda: Equal(torch_deviation, jax_deviation, drawn(4, 50) + 3000),
    "attention written otherwise": _modules(TorchHeads, FlaxHeads, TOKENS),
    "attention in bfloat16": _modules(lambda: TorchHeads(torch.bfloat16), _bfloat16_heads, TOKENS.astype(np.float32)),
    "patches, channels last": _modules(_doubled(TorchPatch), FlaxPatch, {}, **IMAGE),
    "scan and states": _modules(_doubled(TorchRnn), FlaxRnn, TOKENS),
    "Fourier convolution": lambda: Equal(torch_filtered, jax_filtered, {"x": drawn(2, 3, 20), "k": drawn(3, 7)}),
    "associative scan in float32": lambda: Equal(torch_scanned, jax_scanned, FLOAT32),
    "dropout in train mode": _modules(_doubled(TorchDropped), FlaxDropped, ROWS, train=True),
}
