"""Mistakes of public reports of further kinds, rebuilt small: routers, pixels, caps, losses, gradients, norms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax import nnx

from crosscheck.compare import compare
from crosscheck.explain import explain
from crosscheck.pairing.copy_weights import copy_weights


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


BEND = 0.5  # of Huber's loss
ROWS, TOKENS, IMAGES = drawn(4, 6), drawn(2, 5, 6, seed=1), drawn(2, 3, 8, 8, seed=2)
LABELS = {"x": ROWS, "labels": np.array([1, -100, 0, 3])}
MASKED = {"x": TOKENS, "mask": np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])}


def modules(ours, theirs):
    torch.manual_seed(0)
    ours = ours().double()
    return ours, copy_weights(ours, theirs(nnx.Rngs(0)))


class TorchRouter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.up = torch.nn.Linear(6, 5, bias=False), torch.nn.Parameter(torch.randn(5, 6, 6))

    def forward(self, x):
        weights, chosen = self.gate(x).softmax(-1).topk(2)
        experts = torch.einsum("bd,edf->bef", x, self.up)
        return (experts.gather(1, chosen[..., None].expand(-1, -1, 6)) * weights[..., None]).sum(1)


class FlaxRouter(nnx.Module):
    def __init__(self, rngs, is_of_chosen=False):
        self.gate, self.up = nnx.Linear(6, 5, use_bias=False, rngs=rngs), nnx.Param(jnp.zeros((5, 6, 6)))
        self.is_of_chosen = is_of_chosen

    def __call__(self, x):
        scores = self.gate(x)
        weights, chosen = jax.lax.top_k(scores if self.is_of_chosen else jax.nn.softmax(scores), 2)
        weights = jax.nn.softmax(weights) if self.is_of_chosen else weights
        experts = jnp.einsum("bd,edf->bef", x, self.up[...])
        return (jnp.take_along_axis(experts, chosen[..., None], 1) * weights[..., None]).sum(1)


def unshuffled(x, is_by_block=False):
    b, c, h, w = x.shape
    x = x.reshape(b, c, h // 2, 2, w // 2, 2)
    x = x.transpose(0, 3, 5, 1, 2, 4) if is_by_block else x.transpose(0, 1, 3, 5, 2, 4)
    return jnp.tanh(x.reshape(b, 4 * c, h // 2, w // 2))


def torch_capped(x):
    scores = torch.tanh(x @ x.mT / 5.0) * 5.0
    return scores.softmax(-1) @ x


def capped(x, cap=5.0):
    scores = x @ jnp.swapaxes(x, -1, -2)
    return jax.nn.softmax(jnp.tanh(scores / cap) * cap if cap else scores) @ x


class TorchQuantizer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.codes = torch.nn.Linear(6, 4), torch.nn.Parameter(torch.randn(7, 4))

    def forward(self, x):
        z = self.enc(x)
        q = self.codes[(z.detach()[:, None] - self.codes.detach()).square().sum(-1).argmin(-1)]
        commitment, codebook = (q.detach() - z).square().mean(), (q - z.detach()).square().mean()
        return 0.25 * commitment + codebook + (z + (q - z).detach()).tanh().sum()


class FlaxQuantizer(nnx.Module):
    def __init__(self, rngs, beta=(0.25, 1.0), stop=jax.lax.stop_gradient):
        self.enc, self.codes = nnx.Linear(6, 4, rngs=rngs), nnx.Param(jnp.zeros((7, 4)))
        self.beta, self.stop = beta, stop

    def __call__(self, x):
        z, still = self.enc(x), jax.lax.stop_gradient
        q = self.codes[...][jnp.argmin(jnp.square(z[:, None] - self.codes[...]).sum(-1), -1)]
        commitment, codebook = jnp.square(self.stop(q) - z).mean(), jnp.square(q - self.stop(z)).mean()
        return self.beta[0] * commitment + self.beta[1] * codebook + jnp.tanh(z + still(q - z)).sum()


class TorchLabelled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(6, 5)

    def forward(self, x, labels):
        return F.cross_entropy(self.head(x), labels)


class FlaxLabelled(nnx.Module):
    def __init__(self, rngs, counts_all=False):
        self.head, self.counts_all = nnx.Linear(6, 5, rngs=rngs), counts_all

    def __call__(self, x, labels):
        kept = labels != -100
        picked = jnp.take_along_axis(jax.nn.log_softmax(self.head(x)), jnp.where(kept, labels, 0)[:, None], 1)[:, 0]
        return -(picked * kept).sum() / (len(labels) if self.counts_all else kept.sum())


def huber(x, is_smooth=False):
    size = jnp.abs(x)
    bent = jnp.minimum(size, BEND)
    loss = bent * (size - bent / 2)
    return (loss / BEND if is_smooth else loss).mean()


class TorchWeightNorm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(6, 4))

    def forward(self, x):
        return self.fc(x)


class FlaxWeightNorm(nnx.Module):
    """Weight norm written out, with Flax's epsilon under the root."""

    def __init__(self, rngs, eps=0.0):
        self.v, self.g, self.bias = nnx.Param(jnp.zeros((4, 6))), nnx.Param(jnp.zeros((4, 1))), nnx.Param(jnp.zeros(4))
        self.eps = eps

    def __call__(self, x):
        v = self.v[...]
        return x @ (self.g[...] * v * jax.lax.rsqrt(jnp.square(v).sum(1, keepdims=True) + self.eps)).T + self.bias[...]


NORMED = {"^v$": "fc.parametrizations.weight.original1", "^g$": "fc.parametrizations.weight.original0",
          "^bias$": "fc.bias"}  # fmt: skip


def weight_normed(eps):
    torch.manual_seed(0)
    ours = TorchWeightNorm().double()
    return ours, copy_weights(ours, FlaxWeightNorm(nnx.Rngs(0), eps), NORMED)


class TorchStatistics(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(6)

    def forward(self, x):
        return self.norm(x)


class FlaxStatistics(nnx.Module):
    def __init__(self, rngs, use_running_average=False, is_population=False):
        self.norm = nnx.BatchNorm(6, momentum=0.9, epsilon=1e-5, rngs=rngs)
        self.is_population = is_population

    def __call__(self, x):
        y = self.norm(x, use_running_average=False)
        if self.is_population:
            found = (x - x.mean(0)) * jax.lax.rsqrt(x.var(0, ddof=1) + self.norm.epsilon)
            y = found * self.norm.scale[...] + self.norm.bias[...]
        return y


def torch_alibi(x):
    slopes = torch.tensor([2**-2.0, 2**-4.0, 2**-6.0, 2**-8.0, 2**-1.0, 2**-3.0], dtype=torch.float64)
    positions = torch.arange(5)
    bias = -slopes[:, None, None] * (positions[:, None] - positions).abs()
    return ((x @ x.mT)[:, None] + bias).softmax(-1) @ x[:, None]


def alibi(x, is_geometric=True):
    powers = jnp.arange(1, 7) * 8 / 6 if is_geometric else jnp.array([2.0, 4.0, 6.0, 8.0, 1.0, 3.0])
    bias = -(2.0**-powers)[:, None, None] * jnp.abs(jnp.arange(5)[:, None] - jnp.arange(5))
    return jax.nn.softmax((x @ jnp.swapaxes(x, -1, -2))[:, None] + bias) @ x[:, None]


class TorchBuckets(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Embedding(8, 1)

    def forward(self, x):
        distance = torch.arange(5) - torch.arange(5)[:, None]
        buckets = (distance > 0).long() * 4 + distance.abs().clamp(max=3)
        return (x @ x.mT + self.bias(buckets)[..., 0]).softmax(-1) @ x


class FlaxBuckets(nnx.Module):
    """Takes the distance from key to query for that from query to key."""

    def __init__(self, rngs, sign=-1):
        self.bias, self.sign = nnx.Embed(8, 1, dtype=jnp.float64, rngs=rngs), sign

    def __call__(self, x):
        distance = self.sign * (jnp.arange(5) - jnp.arange(5)[:, None])
        buckets = (distance > 0) * 4 + jnp.minimum(jnp.abs(distance), 3)
        return jax.nn.softmax(x @ jnp.swapaxes(x, -1, -2) + self.bias(buckets)[..., 0]) @ x


def torch_pooled(x, mask):
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def pooled(x, mask, is_masked=False):
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True) if is_masked else x.mean(1)


Part = functools.partial
# report: (the wrong pair, the right one, inputs, options, row of the catalogue, module)
WORKED_ON = {
    "mlxcel#391, a softmax of the chosen experts alone": (
        lambda: modules(TorchRouter, Part(FlaxRouter, is_of_chosen=True)), lambda: modules(TorchRouter, FlaxRouter),
        ROWS, {}, "D96", "TorchRouter"),
    "onnxscript#2891, the order of a block's channels": (
        lambda: (lambda x: torch.tanh(F.pixel_unshuffle(x, 2)), Part(unshuffled, is_by_block=True)),
        lambda: (lambda x: torch.tanh(F.pixel_unshuffle(x, 2)), unshuffled), IMAGES, {}, "D85", "function"),
    "vllm-metal#665, scores without their cap": (
        lambda: (torch_capped, Part(capped, cap=None)), lambda: (torch_capped, capped),
        TOKENS, {}, "D89", "torch_capped"),
    "a quantizer whose gradients are not stopped": (
        lambda: modules(TorchQuantizer, Part(FlaxQuantizer, stop=lambda x: x)),
        lambda: modules(TorchQuantizer, FlaxQuantizer), ROWS, {}, "D93", "TorchQuantizer"),
    "litgpt#1076, ignored labels that count": (
        lambda: modules(TorchLabelled, Part(FlaxLabelled, counts_all=True)),
        lambda: modules(TorchLabelled, FlaxLabelled), LABELS, {}, "D30", "TorchLabelled"),
    "pytorch#48595, Huber's loss for the smooth L1": (
        lambda: (lambda x: F.smooth_l1_loss(x, torch.zeros_like(x), beta=BEND), huber),
        lambda: (lambda x: F.smooth_l1_loss(x, torch.zeros_like(x), beta=BEND), Part(huber, is_smooth=True)),
        ROWS, {}, "D84", "function"),
}  # fmt: skip
HELD_BACK = {
    "flax#4138, weight norm with an epsilon": (
        lambda: weight_normed(1e-6), lambda: weight_normed(0.0), ROWS, {"rules": NORMED}, "D95", "TorchWeightNorm"),
    "mlx#3817, a batch's unbiased variance": (
        lambda: modules(TorchStatistics, Part(FlaxStatistics, is_population=True)),
        lambda: modules(TorchStatistics, FlaxStatistics), ROWS, {"train": True}, "D28", "TorchStatistics"),
    "x-transformers#10, the sign of a distance": (
        lambda: modules(TorchBuckets, FlaxBuckets), lambda: modules(TorchBuckets, Part(FlaxBuckets, sign=1)),
        TOKENS, {}, "D85", "TorchBuckets"),
    "lantern_extras#91, a mean over padding": (
        lambda: (torch_pooled, pooled), lambda: (torch_pooled, Part(pooled, is_masked=True)),
        MASKED, {}, "D79", "torch_pooled"),
    "mlx#3071, slopes of six heads": (
        lambda: (torch_alibi, alibi), lambda: (torch_alibi, Part(alibi, is_geometric=False)),
        TOKENS, {}, "D99", "torch_alibi"),
}  # fmt: skip
UNNAMED = {  # no flip makes these
    "taming-transformers#46, the factor of the other term": (
        lambda: modules(TorchQuantizer, Part(FlaxQuantizer, beta=(1.0, 0.25))),
        lambda: modules(TorchQuantizer, FlaxQuantizer), ROWS, {}, "", "TorchQuantizer"),
}  # fmt: skip
REPORTS = {**WORKED_ON, **HELD_BACK}


@pytest.mark.parametrize("report", REPORTS)
def test_the_mistake_of_a_report_is_named_and_the_right_port_agrees(report):
    wrong, right, inputs, options, row, module = REPORTS[report]
    with jax.enable_x64(True):
        assert compare(*right(), inputs, **options).agrees
        found = explain(*wrong(), inputs, **options)
    assert found.report.first_divergence.module == module, str(found)
    assert found.divergence is not None, str(found)
    assert found.divergence.id == row, str(found)


@pytest.mark.parametrize("report", UNNAMED)
def test_a_mistake_without_a_flip_is_located_and_the_right_port_agrees(report):
    wrong, right, inputs, options, _, module = UNNAMED[report]
    with jax.enable_x64(True):
        assert compare(*right(), inputs, **options).agrees
        found = compare(*wrong(), inputs, **options)
    assert found.first_divergence.module == module, str(found)
