"""A user's own torch modules and their Flax NNX ports: equal ones agree, a planted mistake is located."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from own_pairs import Case, each, normal
from processor import skip_unless_compiled

import crosscheck


class TorchImages(torch.nn.Module):
    """Channels first, layers in a Sequential, in-place ReLU."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Conv2d(3, 5, 3, padding=1),
            torch.nn.BatchNorm2d(5),
            torch.nn.ReLU(inplace=True),
            torch.nn.Conv2d(5, 6, (2, 3), stride=(2, 1)),
            torch.nn.GroupNorm(2, 6),
        )
        self.drop, self.head = torch.nn.Dropout(0.4), torch.nn.Linear(6, 2)

    def forward(self, images):
        return self.head(self.drop(self.net(images).mean((2, 3))))


class FlaxImages(nnx.Module):
    """Channels last inside."""

    def __init__(self, rngs, eps=1e-5, groups=2, slope=0.0, head_bias=True, statistics=True):
        def activation(x):
            return jnp.where(x > 0, x, slope * x)

        self.net = nnx.Sequential(
            nnx.Conv(3, 5, (3, 3), padding=1, rngs=rngs),
            nnx.BatchNorm(5, epsilon=eps, momentum=0.9, rngs=rngs),
            activation,
            nnx.Conv(5, 6, (2, 3), strides=(2, 1), padding="VALID", rngs=rngs),
            nnx.GroupNorm(6, num_groups=groups, epsilon=1e-5, rngs=rngs),
        )
        self.drop, self.head = nnx.Dropout(0.4, rngs=rngs), nnx.Linear(6, 2, rngs=rngs)
        self.head_bias, self.statistics = head_bias, statistics

    def __call__(self, images):
        x = jnp.moveaxis(images, 1, -1)
        if not self.statistics:
            self.net.layers[1].use_running_average = False
        x = self.drop(self.net(x).mean((1, 2)))
        return self.head(x) if self.head_bias else x @ self.head.kernel[...]


class TorchSequences(torch.nn.Module):
    """Token and position embeddings, a Conv1d over time, blocks in a ModuleList, one of them used twice."""

    def __init__(self):
        super().__init__()
        self.tokens = torch.nn.Embedding(11, 6, padding_idx=0)
        self.conv = torch.nn.Conv1d(6, 6, 3, padding=1, groups=2)
        self.blocks = torch.nn.ModuleList([TorchBlock(), TorchBlock()])
        self.norm = torch.nn.RMSNorm(6, eps=1e-6)

    def forward(self, ids, mask):
        x = self.tokens(ids) * mask.unsqueeze(-1)
        x = x + self.conv(x.transpose(1, 2)).transpose(1, 2)
        for block in (self.blocks[0], self.blocks[1], self.blocks[0]):
            x = block(x, mask)
        return self.norm(x) @ self.tokens.weight.T


class TorchBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.q, self.v = torch.nn.LayerNorm(6), torch.nn.Linear(6, 6), torch.nn.Linear(6, 6, bias=False)

    def forward(self, x, mask):
        h = self.norm(x)
        scores = (self.q(h) @ h.mT).masked_fill(~mask[:, None, :], -torch.inf)
        return x + torch.nn.functional.gelu(torch.softmax(scores, -1) @ self.v(h))


class FlaxSequences(nnx.Module):
    def __init__(self, rngs, pad=0, tied=True, **options):
        self.tokens = Tokens(pad, rngs)
        self.conv = nnx.Conv(6, 6, (3,), padding=1, feature_group_count=2, rngs=rngs)
        self.blocks = nnx.List([FlaxBlock(rngs), FlaxBlock(rngs, **options)])
        self.norm = nnx.RMSNorm(6, epsilon=1e-6, rngs=rngs)
        self.tied = tied

    def __call__(self, ids, mask):
        x = self.tokens(ids) * mask[..., None]
        x = x + self.conv(x)
        for block in (self.blocks[0], self.blocks[1], self.blocks[0]):
            x = block(x, mask)
        table = self.tokens.embedding[...]
        return self.norm(x) @ (table if self.tied else jax.lax.stop_gradient(table)).T


class Tokens(nnx.Embed):
    """Gives the padding row no gradient, as torch's padding_idx does."""

    def __init__(self, pad, rngs):
        super().__init__(11, 6, param_dtype=jnp.float64, rngs=rngs)
        self.pad = pad

    def __call__(self, ids):
        x = super().__call__(ids)
        return x if self.pad is None else jnp.where((ids == self.pad)[..., None], jax.lax.stop_gradient(x), x)


class FlaxBlock(nnx.Module):
    def __init__(self, rngs, eps=1e-5, axis=-1, keep=True, approximate=False, stop=lambda x: x, transposed=False):
        self.norm = nnx.LayerNorm(6, epsilon=eps, rngs=rngs)
        self.q, self.v = nnx.Linear(6, 6, rngs=rngs), Projection(transposed, rngs)
        self.axis, self.keep, self.approximate, self.stop = axis, keep, approximate, stop

    def __call__(self, x, mask):
        h = self.norm(x)
        scores = jnp.where(mask[:, None, :] == self.keep, self.q(h) @ h.mT, -jnp.inf)
        attended = jax.nn.softmax(scores, self.axis) @ self.v(self.stop(h))
        return x + jax.nn.gelu(attended, approximate=self.approximate)


class Projection(nnx.Linear):
    def __init__(self, transposed, rngs):
        super().__init__(6, 6, use_bias=False, rngs=rngs)
        self.transposed = transposed

    def __call__(self, x):
        kernel = self.kernel[...]
        return x @ (kernel.T if self.transposed else kernel)


MASK = np.arange(7) < np.array([[7], [4]])
IDS = np.random.default_rng(0).integers(0, 11, (2, 7)) * MASK
ROOT = "TorchSequences"
CASES = {
    "images": Case(
        TorchImages,
        FlaxImages,
        normal(2, 3, 9, 7),
        {
            "a different epsilon": ({"eps": 1e-3}, ("TorchImages.net.1", "forward")),
            "batch statistics in eval mode": ({"statistics": False}, ("TorchImages.net.1", "forward")),
            "a different number of groups": ({"groups": 3}, ("TorchImages.net.4", "forward")),
            "a leaky activation": ({"slope": 0.01}, ("TorchImages.net", "forward")),
            "a missing bias": ({"head_bias": False}, ("TorchImages", "forward")),
        },
        {r"^net\.layers\.": "net."},
    ),
    "sequences": Case(
        TorchSequences,
        FlaxSequences,
        {"ids": IDS, "mask": MASK},
        {
            "a different epsilon": ({"eps": 1e-6}, (f"{ROOT}.blocks.1.norm", "forward")),
            "softmax over the queries": ({"axis": -2}, (f"{ROOT}.blocks.1", "forward")),
            "an inverted mask": ({"keep": False}, (f"{ROOT}.blocks.1", "forward")),
            "the other GELU": ({"approximate": True}, (f"{ROOT}.blocks.1", "forward")),
            "a transposed kernel": ({"transposed": True}, (f"{ROOT}.blocks.1.v", "forward")),
            "a stopped gradient": ({"stop": jax.lax.stop_gradient}, (f"{ROOT}.blocks.1", "input gradient")),
            "a gradient of the padding row": ({"pad": None}, (f"{ROOT}.tokens", "parameter gradient")),
            "an untied head": ({"tied": False}, (f"{ROOT}.tokens", "parameter gradient")),
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), [("images", "eval"), ("images", "train"), ("sequences", "train")])
def test_an_equal_pair_agrees_in_both_modes_and_through_optimiser_steps(name, mode):
    case = CASES[name]
    how = {"train": True, "updates": 2} if mode == "train" else {}
    report = crosscheck.compare(*case.pair(), case.inputs, rules=case.rules, **how)
    assert report.agrees, str(report)
    assert not report.inner_differences


@pytest.mark.parametrize(("name", "mistake"), each(CASES))
def test_a_mistake_is_found_at_its_module_and_in_its_phase(name, mistake):
    case = CASES[name]
    keywords, place = case.mistakes[mistake]
    report = crosscheck.compare(*case.pair(**keywords), case.inputs, rules=case.rules)
    assert report.first_divergence[:2] == place, str(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "mistake"),
    [
        ("float32", None),
        ("float32", "a different epsilon"),
        ("bfloat16", None),
        ("bfloat16", "a different number of groups"),
        ("float16", None),
        ("float16", "a missing bias"),
    ],
)
def test_below_float64_noise_passes_and_a_mistake_does_not(dtype, mistake):
    skip_unless_compiled(dtype)
    case = CASES["images"]
    keywords, place = case.mistakes[mistake] if mistake else ({}, None)
    report = crosscheck.compare(*case.pair(dtype, **keywords), case.inputs, rules=case.rules)
    assert (report.first_divergence and report.first_divergence[:2]) == place, str(report)
