"""Mistakes of public reports, the eleventh dozen: written before `explain` was tried on them."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import IMAGES, ROWS, TOKENS, Report, drawn, functions_of, modules_of, wrong_in_torch


class TorchOwn(torch.nn.Module):
    """BYOL: the target's branch is trained as well."""

    def __init__(self):
        super().__init__()
        self.online, self.predictor, self.target = (torch.nn.Linear(6, 6) for _ in range(3))

    def forward(self, one, two):
        p = self.predictor(F.relu(self.online(one)))
        with torch.no_grad():
            z = self.target(two)
        p, z = p / p.norm(dim=-1, keepdim=True), z / z.norm(dim=-1, keepdim=True)
        return (2 - 2 * (p * z).sum(-1)).mean()


class FlaxOwn(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.online, self.predictor, self.target = (nnx.Linear(6, 6, rngs=rngs) for _ in range(3))
        self.wrong = wrong

    def __call__(self, one, two):
        p = self.predictor(jax.nn.relu(self.online(one)))
        z = self.target(two)
        z = z if self.wrong else jax.lax.stop_gradient(z)
        p = p / jnp.linalg.norm(p, axis=-1, keepdims=True)
        z = z / jnp.linalg.norm(z, axis=-1, keepdims=True)
        return jnp.mean(2 - 2 * jnp.sum(p * z, -1))


class TorchDense(torch.nn.Module):
    """DenseNet: features are concatenated before, not behind, and the last is not averaged but added up."""

    def __init__(self):
        super().__init__()
        self.conv, self.mix, self.head = (
            torch.nn.Conv2d(3, 4, 3, padding=1),
            torch.nn.Conv2d(7, 5, 1),
            torch.nn.Linear(5, 2),
        )

    def forward(self, x):
        x = torch.cat([x, F.relu(self.conv(x))], 1)
        return self.head(F.relu(self.mix(x)).mean((2, 3)))


class FlaxDense(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.conv, self.mix = nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.Conv(7, 5, (1, 1), rngs=rngs)
        self.head = nnx.Linear(5, 2, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        x = x.transpose(0, 2, 3, 1)
        new = jax.nn.relu(self.conv(x))
        x = jnp.concatenate([new, x] if self.wrong else [x, new], -1)
        x = jax.nn.relu(self.mix(x))
        return self.head(x.sum((1, 2)) if self.wrong else x.mean((1, 2)))


def torch_centred(student, teacher, centre):
    """DINO: the centre is taken off behind the temperature."""
    teacher = F.softmax((teacher - centre) / 0.4, -1)
    return -(teacher * F.log_softmax(student / 0.7, -1)).sum(-1).mean()


def jax_centred(student, teacher, centre, wrong=False):
    teacher = jax.nn.softmax(teacher / 0.4 - centre if wrong else (teacher - centre) / 0.4)
    return -jnp.mean(jnp.sum(teacher * jax.nn.log_softmax(student / 0.7), -1))


def torch_boxes(a, b):
    """GIoU: divided by the union, not by the hull."""
    a, b = (torch.cat([x[:, :2], x[:, :2] + x[:, 2:].abs() + 0.5], -1) for x in (a, b))
    area = [(x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b)]
    low, high = torch.max(a[:, :2], b[:, :2]), torch.min(a[:, 2:], b[:, 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    union = area[0] + area[1] - inter
    hull = (torch.max(a[:, 2:], b[:, 2:]) - torch.min(a[:, :2], b[:, :2])).prod(-1)
    return 1 - (inter / union - (hull - union) / hull)


def jax_boxes(a, b, wrong=False):
    a, b = (jnp.concatenate([x[:, :2], x[:, :2] + jnp.abs(x[:, 2:]) + 0.5], -1) for x in (a, b))
    area = [(x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b)]
    low, high = jnp.maximum(a[:, :2], b[:, :2]), jnp.minimum(a[:, 2:], b[:, 2:])
    inter = jnp.prod(jnp.maximum(high - low, 0), -1)
    union = area[0] + area[1] - inter
    hull = jnp.prod(jnp.maximum(a[:, 2:], b[:, 2:]) - jnp.minimum(a[:, :2], b[:, :2]), -1)
    return 1 - inter / union + (hull - union) / (union if wrong else hull)


class TorchPlane(torch.nn.Module):
    """DETR: the sines of x come before those of y."""

    def __init__(self):
        super().__init__()
        self.proj, self.out = torch.nn.Conv2d(3, 8, 1), torch.nn.Linear(8, 4)

    def forward(self, x):
        h = self.proj(x)
        ones = torch.ones(h.shape[2:], dtype=h.dtype)
        y, z = ones.cumsum(0), ones.cumsum(1)
        t = 10000.0 ** (2 * torch.arange(2, dtype=h.dtype) / 4)
        pos = [torch.stack([(e[..., None] / t).sin(), (e[..., None] / t).cos()], -1).flatten(2) for e in (y, z)]
        return self.out(h.permute(0, 2, 3, 1) + torch.cat(pos, -1))


class FlaxPlane(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.proj, self.out = nnx.Conv(3, 8, (1, 1), rngs=rngs), nnx.Linear(8, 4, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        h = self.proj(x.transpose(0, 2, 3, 1))
        y, z = jnp.meshgrid(jnp.arange(1.0, 1 + h.shape[1]), jnp.arange(1.0, 1 + h.shape[2]), indexing="ij")
        t = 10000.0 ** (jnp.arange(2) / 2)

        def waves(e):
            e = e[..., None] / t
            return jnp.stack([jnp.sin(e), jnp.cos(e)], -1).reshape(*e.shape[:2], 4)

        pos = [waves(z), waves(y)] if self.wrong else [waves(y), waves(z)]
        return self.out(h + jnp.concatenate(pos, -1))


class TorchTrimmed(torch.nn.Module):
    """TCN: the wrong end of the padded sequence is cut off."""

    def __init__(self):
        super().__init__()
        self.conv, self.down = torch.nn.Conv1d(6, 6, 3, padding=4, dilation=2), torch.nn.Conv1d(6, 6, 1)

    def forward(self, x):
        x = x.transpose(1, 2)
        return F.relu(F.relu(self.conv(x)[:, :, :-4]) + self.down(x)).transpose(1, 2)


class FlaxTrimmed(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.conv = nnx.Conv(6, 6, (3,), padding=((4, 4),), kernel_dilation=2, rngs=rngs)
        self.down = nnx.Conv(6, 6, (1,), rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        y = self.conv(x)
        y = y[:, 4:] if self.wrong else y[:, :-4]
        return jax.nn.relu(jax.nn.relu(y) + self.down(x))


class TorchReversed(torch.nn.Module):
    """RevIN: what is predicted is multiplied by the weight, not divided, on the way back (mistake in torch)."""

    def __init__(self, wrong=False):
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.ones(6)), torch.nn.Parameter(torch.zeros(6))
        self.proj = torch.nn.Linear(6, 6)
        self.wrong = wrong

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        std = torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 1e-5)
        y = self.proj((x - mean) / std * self.weight + self.bias) - self.bias
        y = y * self.weight if self.wrong else y / self.weight
        return y * std + mean


class FlaxReversed(nnx.Module):
    def __init__(self, rngs):
        self.weight, self.bias = nnx.Param(jnp.ones(6)), nnx.Param(jnp.zeros(6))
        self.proj = nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x):
        mean, std = x.mean(1, keepdims=True), jnp.sqrt(x.var(1, keepdims=True) + 1e-5)
        y = self.proj((x - mean) / std * self.weight[...] + self.bias[...])
        return (y - self.bias[...]) / self.weight[...] * std + mean


def torch_values(value, old, returns):
    """PPO: the smaller of the clipped and the free loss."""
    clipped = old + (value - old).clamp(-0.2, 0.2)
    return 0.5 * torch.max((value - returns) ** 2, (clipped - returns) ** 2).mean()


def jax_values(value, old, returns, wrong=False):
    clipped = old + jnp.clip(value - old, -0.2, 0.2)
    choose = jnp.minimum if wrong else jnp.maximum
    return 0.5 * choose(jnp.square(value - returns), jnp.square(clipped - returns)).mean()


class TorchMel(torch.nn.Module):
    """Whisper: the natural logarithm for that of base 10."""

    def __init__(self):
        super().__init__()
        self.filters, self.out = torch.nn.Parameter(torch.ones(4, 9)), torch.nn.Linear(4, 3)

    def forward(self, x):
        frames = x.unfold(-1, 16, 8) * torch.hann_window(16, dtype=x.dtype)
        mel = torch.fft.rfft(frames).abs() ** 2 @ self.filters.abs().T
        log = torch.clamp(mel, min=1e-10).log10()
        log = torch.maximum(log, log.amax((-2, -1), keepdim=True) - 8.0)
        return self.out((log + 4.0) / 4.0)


class FlaxMel(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.filters, self.out = nnx.Param(jnp.ones((4, 9))), nnx.Linear(4, 3, rngs=rngs)
        self.log = jnp.log if wrong else jnp.log10

    def __call__(self, x):
        starts = np.arange(0, x.shape[-1] - 15, 8)
        window = 0.5 - 0.5 * jnp.cos(2 * jnp.pi * jnp.arange(16) / 16)
        frames = x[:, starts[:, None] + np.arange(16)] * window
        mel = jnp.abs(jnp.fft.rfft(frames)) ** 2 @ jnp.abs(self.filters[...]).T
        log = self.log(jnp.maximum(mel, 1e-10))
        log = jnp.maximum(log, log.max((-2, -1), keepdims=True) - 8.0)
        return self.out((log + 4.0) / 4.0)


class TorchChoice(torch.nn.Module):
    """Expert choice: tokens share the weights of an expert, not experts those of a token."""

    def __init__(self):
        super().__init__()
        self.gate, self.experts = torch.nn.Linear(6, 3, bias=False), torch.nn.Parameter(torch.randn(3, 6, 6))

    def forward(self, x):
        x = x.flatten(0, 1)
        scores = self.gate(x).softmax(-1)
        weights, chosen = scores.T.topk(4, -1)
        mine = F.one_hot(chosen, len(x)).to(x)
        out = torch.einsum("eki,eij->ekj", mine @ x, self.experts)
        return torch.einsum("ekn,ek,ekj->nj", mine, weights, out)


class FlaxChoice(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.gate = nnx.Linear(6, 3, use_bias=False, rngs=rngs)
        self.experts = nnx.Param(jnp.zeros((3, 6, 6)))
        self.axis = 0 if wrong else -1

    def __call__(self, x):
        x = x.reshape(-1, 6)
        scores = jax.nn.softmax(self.gate(x), self.axis)
        weights, chosen = jax.lax.top_k(scores.T, 4)
        out = jnp.einsum("eki,eij->ekj", x[chosen], self.experts[...])
        return jnp.zeros_like(x).at[chosen].add(weights[..., None] * out)


class TorchLatent(torch.nn.Module):
    """VAE: the divergence is averaged over its numbers, not added up; it weighs 0.1."""

    def __init__(self):
        super().__init__()
        self.enc, self.dec = torch.nn.Linear(6, 6), torch.nn.Linear(3, 6)

    def forward(self, x, eps):
        mu, logvar = self.enc(x).chunk(2, -1)
        back = self.dec(mu + eps * torch.exp(0.5 * logvar))
        kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), 1)
        return F.mse_loss(back, x, reduction="sum") / len(x) + 0.1 * kl.mean()


class FlaxLatent(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.enc, self.dec = nnx.Linear(6, 6, rngs=rngs), nnx.Linear(3, 6, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x, eps):
        mu, logvar = jnp.split(self.enc(x), 2, -1)
        back = self.dec(mu + eps * jnp.exp(logvar / 2))
        kl = -0.5 * (1 + logvar - mu**2 - jnp.exp(logvar))
        kl = kl.mean() if self.wrong else kl.sum(1).mean()
        return jnp.sum((back - x) ** 2) / len(x) + 0.1 * kl


class TorchLast(torch.nn.Module):
    """Reward models: the score of the last place, not of the last token that counts."""

    def __init__(self):
        super().__init__()
        self.norm, self.score = torch.nn.LayerNorm(6), torch.nn.Linear(6, 1, bias=False)

    def forward(self, x, mask):
        scores = self.score(self.norm(x))[..., 0]
        return scores.gather(1, mask.sum(1, keepdim=True) - 1)[:, 0]


class FlaxLast(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.norm = nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs)
        self.score = nnx.Linear(6, 1, use_bias=False, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x, mask):
        scores = self.score(self.norm(x))[..., 0]
        if self.wrong:
            return scores[:, -1]
        return jnp.take_along_axis(scores, mask.sum(1, keepdims=True) - 1, 1)[:, 0]


KEPT = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
THREE = (ROWS, drawn(4, 6, seed=5), drawn(4, 6, seed=6))
REPORTS = {
    "target trained": Report(modules_of(TorchOwn, FlaxOwn), (ROWS, drawn(4, 6, seed=3)), "TorchOwn.target", "gradient"),
    "features before, and a sum": Report(modules_of(TorchDense, FlaxDense), IMAGES, "TorchDense", "concatenation"),
    "centre behind": Report(
        functions_of(torch_centred, jax_centred), (ROWS, drawn(4, 6, seed=5), drawn(6, seed=6)),
        "torch_centred", "centre",
    ),
    "divided by the union": Report(
        functions_of(torch_boxes, jax_boxes), (drawn(5, 4), drawn(5, 4, seed=2)), "torch_boxes", "union"
    ),
    "x before y": Report(modules_of(TorchPlane, FlaxPlane), IMAGES, "TorchPlane", "axes 0 and 1 exchanged"),
    "wrong end": Report(modules_of(TorchTrimmed, FlaxTrimmed), drawn(2, 7, 6), "TorchTrimmed", "4:"),
    "multiplied on the way back": Report(
        wrong_in_torch(TorchReversed, FlaxReversed), TOKENS, "TorchReversed", "/ weight|div"
    ),
    "smaller loss": Report(functions_of(torch_values, jax_values), THREE, "torch_values", "min"),
    "natural logarithm": Report(modules_of(TorchMel, FlaxMel), drawn(2, 48), "TorchMel", "log"),
    "weights of an expert": Report(modules_of(TorchChoice, FlaxChoice), TOKENS, "TorchChoice", "softmax"),
    "divergence averaged": Report(
        modules_of(TorchLatent, FlaxLatent), (ROWS, drawn(4, 3, seed=9)), "TorchLatent", "mean|sum"
    ),
    "last place": Report(
        modules_of(TorchLast, FlaxLast), (TOKENS, KEPT), "TorchLast", "gather|-1"
    ),
}  # fmt: skip
