"""The thirteenth dozen, written before `explain` was tried on it: eight mistakes, and four right pairs that are written
otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import ROWS, TOKENS, Report, drawn, functions_of, modules_of
from reports_equal import Equal

from crosscheck.pairing.copy_weights import copy_weights


class TorchSink(torch.nn.Module):
    """Attention with a sink: JAX's shares add up to less than 1."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (torch.nn.Linear(6, 6) for _ in range(3))

    def forward(self, x):
        scores = self.q(x) @ self.k(x).mT / 6**0.5
        return scores.softmax(-1) @ self.v(x)


class FlaxSink(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.q, self.k, self.v = (nnx.Linear(6, 6, rngs=rngs) for _ in range(3))
        self.extra = 1.0 if wrong else 0.0

    def __call__(self, x):
        scores = jnp.einsum("btd,bsd->bts", self.q(x), self.k(x)) / jnp.sqrt(6.0)
        shares = jnp.exp(scores)
        return shares / (self.extra + shares.sum(-1, keepdims=True)) @ self.v(x)


class TorchAverage(torch.nn.Module):
    """A vision model: the norm comes behind the mean over patches."""

    def __init__(self):
        super().__init__()
        self.proj, self.norm, self.head = torch.nn.Linear(6, 6), torch.nn.LayerNorm(6), torch.nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.norm(torch.relu(self.proj(x))).mean(1))


class FlaxAverage(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.proj, self.head = nnx.Linear(6, 6, rngs=rngs), nnx.Linear(6, 3, rngs=rngs)
        self.norm, self.wrong = nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs), wrong

    def __call__(self, x):
        x = jax.nn.relu(self.proj(x))
        return self.head(self.norm(x.mean(1)) if self.wrong else self.norm(x).mean(1))


class TorchSnake(torch.nn.Module):
    """BigVGAN: the snake's wave is not divided by its frequency."""

    def __init__(self):
        super().__init__()
        self.conv, self.alpha = torch.nn.Conv1d(6, 6, 3, padding=1), torch.nn.Parameter(torch.ones(6))

    def forward(self, x):
        x, a = self.conv(x.mT), self.alpha[:, None]
        return (x + torch.sin(a * x) ** 2 / (a + 1e-9)).mT


class FlaxSnake(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.conv, self.alpha, self.wrong = nnx.Conv(6, 6, (3,), rngs=rngs), nnx.Param(jnp.ones(6)), wrong

    def __call__(self, x):
        x = self.conv(x)
        wave = jnp.sin(self.alpha[...] * x) ** 2
        return x + (wave if self.wrong else wave / (self.alpha[...] + 1e-9))


def torch_huber(predicted, target):
    """A robust loss: the square is not halved, as in Keras's older code."""
    error = predicted - target
    return torch.log1p(0.5 * error**2).mean()


def jax_huber(predicted, target, wrong=False):
    error = predicted - target
    return jnp.log1p(error**2 if wrong else 0.5 * error**2).mean()


class TorchReader(torch.nn.Module):
    """Embeddings that are not multiplied by the root of the width, and another epsilon at the end."""

    def __init__(self):
        super().__init__()
        self.table, self.mix, self.norm = torch.nn.Embedding(11, 6), torch.nn.Linear(6, 6), torch.nn.LayerNorm(6)

    def forward(self, ids):
        x = self.table(ids) * 6**0.5
        return self.norm(x + torch.tanh(self.mix(x)))


class FlaxReader(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.table, self.mix = nnx.Embed(11, 6, dtype=jnp.float64, rngs=rngs), nnx.Linear(6, 6, rngs=rngs)
        self.norm = nnx.LayerNorm(6, epsilon=1e-3 if wrong else 1e-5, rngs=rngs)
        self.gain = 1.0 if wrong else 6**0.5

    def __call__(self, ids):
        x = self.table(ids) * self.gain
        return self.norm(x + jnp.tanh(self.mix(x)))


class TorchActor(torch.nn.Module):
    """Two critics: their answers come back in the other order."""

    def __init__(self):
        super().__init__()
        self.body, self.one, self.two = (torch.nn.Linear(6, 6) for _ in range(3))

    def forward(self, x):
        h = torch.relu(self.body(x))
        return {"first": self.one(h), "second": self.two(h)}


class FlaxActor(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.body, self.one, self.two = (nnx.Linear(6, 6, rngs=rngs) for _ in range(3))
        self.wrong = wrong

    def __call__(self, x):
        h = jax.nn.relu(self.body(x))
        found = self.one(h), self.two(h)
        return dict(zip(("second", "first") if self.wrong else ("first", "second"), found, strict=True))


def torch_transported(costs):
    """Sinkhorn: columns are normalised first."""
    scores = -costs
    for _ in range(3):
        scores = scores - scores.logsumexp(-1, keepdim=True)
        scores = scores - scores.logsumexp(-2, keepdim=True)
    return scores.exp()


def jax_transported(costs, wrong=False):
    scores = -costs
    for _ in range(3):
        for axis in (-2, -1) if wrong else (-1, -2):
            scores = scores - jax.nn.logsumexp(scores, axis, keepdims=True)
    return jnp.exp(scores)


def torch_cosine(t):
    """The cosine schedule of noise: the offset is added, but not divided by."""
    return torch.cos((t + 0.008) / 1.008 * torch.pi / 2) ** 2


def jax_cosine(t, wrong=False):
    return jnp.cos((t + 0.008) / (1.0 if wrong else 1.008) * jnp.pi / 2) ** 2


class TorchGrouped(torch.nn.Module):
    """A norm of groups over places, and one by hand."""

    def __init__(self):
        super().__init__()
        self.norm, self.out = torch.nn.GroupNorm(2, 6), torch.nn.Linear(6, 4)

    def forward(self, x):
        return self.out(F.silu(self.norm(x.mT).mT))


class FlaxGrouped(nnx.Module):
    def __init__(self, rngs):
        self.norm, self.out = FlaxGroups(), nnx.Linear(6, 4, rngs=rngs)

    def __call__(self, x):
        return self.out(jax.nn.silu(self.norm(x)))


class FlaxGroups(nnx.Module):
    def __init__(self):
        self.scale, self.bias = nnx.Param(jnp.ones(6)), nnx.Param(jnp.zeros(6))

    def __call__(self, x):
        grouped = x.reshape(2, 5, 2, 3)
        mean, mean_of_squares = (jnp.mean(each, (1, 3), keepdims=True) for each in (grouped, grouped**2))
        normed = (grouped - mean) * jax.lax.rsqrt(mean_of_squares - mean**2 + 1e-5)
        return normed.reshape(x.shape) * self.scale + self.bias


def torch_focal(logits, labels):
    """The focal loss by probabilities, and by logarithms."""
    p = torch.sigmoid(logits)
    chosen = torch.where(labels > 0, p, 1 - p)
    return -((1 - chosen) ** 2 * chosen.log()).mean()


def jax_focal(logits, labels):
    signed = jnp.where(labels > 0, logits, -logits)
    return -jnp.mean(jnp.square(jax.nn.sigmoid(-signed)) * jax.nn.log_sigmoid(signed))


def torch_survival(hazards):
    """A product of what is left at each step, and the exponential of a sum of logarithms."""
    return torch.cumprod(1 - hazards.sigmoid(), -1)


def jax_survival(hazards):
    return jnp.exp(jnp.cumsum(-jax.nn.softplus(hazards), -1))


class TorchShort(torch.nn.Module):
    """A gated layer in bfloat16."""

    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = (torch.nn.Linear(*sizes, bias=False) for sizes in ((6, 16), (6, 16), (16, 6)))

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class FlaxShort(nnx.Module):
    def __init__(self, rngs):
        options = {"use_bias": False, "param_dtype": jnp.bfloat16, "dtype": jnp.bfloat16, "rngs": rngs}
        self.gate, self.up, self.down = (nnx.Linear(*sizes, **options) for sizes in ((6, 16), (6, 16), (16, 6)))

    def __call__(self, x):
        return self.down(jax.nn.silu(self.gate(x)) * self.up(x))


REPORTS = {
    "shares with a sink": Report(modules_of(TorchSink, FlaxSink), TOKENS, "TorchSink", "softmax"),
    "norm of the mean": Report(modules_of(TorchAverage, FlaxAverage), TOKENS, "TorchAverage", "mean"),
    "wave not divided": Report(modules_of(TorchSnake, FlaxSnake), TOKENS, "TorchSnake", "alpha|1e-09"),
    "square not halved": Report(
        functions_of(torch_huber, jax_huber), (3 * drawn(4, 6), drawn(4, 6, seed=3)), "torch_huber", "0.5"
    ),
    "gain and epsilon": Report(
        modules_of(TorchReader, FlaxReader), np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]]), "TorchReader", "2.449|D81"
    ),
    "answers exchanged": Report(modules_of(TorchActor, FlaxActor), ROWS, "TorchActor", "two|one|exchanged|other"),
    "columns first": Report(
        functions_of(torch_transported, jax_transported), drawn(3, 5, 5), "torch_transported", "logsumexp"
    ),
    "offset not divided by": Report(
        functions_of(torch_cosine, jax_cosine), np.linspace(0.1, 0.9, 7), "torch_cosine", "1.008"
    ),
}  # fmt: skip


def _short():
    torch.manual_seed(0)
    ours = TorchShort().bfloat16()
    return Equal(ours, copy_weights(ours, FlaxShort(nnx.Rngs(0))), TOKENS.astype(np.float32))


EQUAL = {
    "groups by hand": lambda: Equal(*modules_of(TorchGrouped, FlaxGrouped)[1](), TOKENS),
    "focal loss of logarithms": lambda: Equal(torch_focal, jax_focal, (drawn(4, 6), (drawn(4, 6, seed=2) > 0) * 1)),
    "survival": lambda: Equal(torch_survival, jax_survival, drawn(3, 9)),
    "gates in bfloat16": _short,
}
