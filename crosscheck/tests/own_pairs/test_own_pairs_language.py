"""Language models as users port them: differing conventions are no fault, and mistakes are located and named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax import nnx
from own_pairs import Case

import crosscheck
from crosscheck.explain import explain

pytestmark = pytest.mark.usefixtures("float64_in_jax")

TOKENS, PLACES, WIDTH, HEADS = 13, 9, 15, 3
F64 = {"param_dtype": jnp.float64}


class TorchAttention(torch.nn.Module):
    """Its mask marks what to hide, as in many torch models."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(WIDTH, 3 * WIDTH), torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x, hides):
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        scores = (q @ k.mT / 5**0.5).masked_fill(hides, -torch.inf)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class TorchNorm(torch.nn.Module):
    """RMSNorm as written by hand, with an epsilon in the middle."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class TorchBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.attn, self.mlp = torch.nn.LayerNorm(WIDTH), TorchAttention(), torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x, hides):
        x = x + self.attn(self.norm(x), hides)
        return x + F.gelu(self.mlp(x))


class TorchDecoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = torch.nn.Embedding(TOKENS, WIDTH), torch.nn.Embedding(PLACES, WIDTH)
        self.blocks, self.norm = torch.nn.ModuleList([TorchBlock(), TorchBlock()]), TorchNorm()
        self.head = torch.nn.Linear(WIDTH, TOKENS, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids):
        places = torch.arange(ids.shape[1])
        x = self.tokens(ids) + self.places(places)
        hides = places[:, None] < places
        for block in self.blocks:
            x = block(x, hides)
        return self.head(self.norm(x))


class FlaxAttention(nnx.Module):
    """Its mask marks what to keep."""

    def __init__(self, rngs, scale, hides):
        self.qkv, self.out = nnx.Linear(WIDTH, 3 * WIDTH, rngs=rngs), nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.scale, self.hides = scale, hides

    def __call__(self, x, keeps):
        q, k, v = (t.reshape(*x.shape[:2], HEADS, -1).swapaxes(1, 2) for t in jnp.split(self.qkv(x), 3, -1))
        scores = jnp.where(keeps != self.hides, q @ k.mT * self.scale, -jnp.inf)
        return self.out((jax.nn.softmax(scores) @ v).swapaxes(1, 2).reshape(x.shape))


class FlaxNorm(nnx.Module):
    def __init__(self, eps):
        self.weight, self.eps = nnx.Param(jnp.ones(WIDTH)), eps

    def __call__(self, x):
        return self.weight * (x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + self.eps))


class FlaxBlock(nnx.Module):
    def __init__(self, rngs, eps=1e-5, scale=5**-0.5, hides=False, residual=1.0, dtype=None):
        self.norm, self.attn = nnx.LayerNorm(WIDTH, epsilon=eps, rngs=rngs), FlaxAttention(rngs, scale, hides)
        self.mlp, self.residual, self.dtype = nnx.Linear(WIDTH, WIDTH, rngs=rngs), residual, dtype

    def __call__(self, x, keeps):
        x = x * self.residual + self.attn(self.norm(x), keeps)
        x = x.astype(self.dtype or x.dtype).astype(x.dtype)
        return x + jax.nn.gelu(self.mlp(x), approximate=False)


class FlaxDecoder(nnx.Module):
    def __init__(self, rngs, eps=1e-6, first=0, is_tied=True, diagonal=0, hides=False, blocks=({}, {})):
        self.tokens, self.places = (nnx.Embed(n, WIDTH, rngs=rngs, **F64) for n in (TOKENS, PLACES))
        self.blocks, self.norm = nnx.List([FlaxBlock(rngs, **options) for options in blocks]), FlaxNorm(eps)
        self.first, self.is_tied, self.diagonal, self.hides = first, is_tied, diagonal, hides

    def __call__(self, ids):
        x = self.tokens(ids) + self.places(jnp.arange(ids.shape[1]) + self.first)
        mask = jnp.tril(jnp.ones((ids.shape[1],) * 2, bool), self.diagonal)
        for block in self.blocks:
            x = block(x, mask != self.hides)
        table = self.tokens.embedding[...]
        return self.norm(x) @ (table if self.is_tied else jax.lax.stop_gradient(table)).T


DECODER = Case(TorchDecoder, FlaxDecoder, {"ids": np.arange(14).reshape(2, 7) % TOKENS})
SECOND = ({}, {"eps": 1e-6})
LOCATED = {  # a mask of the opposite polarity is not blamed in any of these
    "an epsilon": ({"blocks": SECOND}, "TorchDecoder.blocks.1.norm"),
    "no scale of the scores": ({"blocks": ({}, {"scale": 1.0})}, "TorchDecoder.blocks.1.attn"),
    "a dropped residual": ({"blocks": ({"residual": 0.0}, {})}, "TorchDecoder.blocks.0"),
    "an epsilon at the end": ({"eps": 1e-5}, "TorchDecoder.norm"),
}


def test_a_mask_of_the_other_polarity_is_no_fault():
    report = crosscheck.compare(*DECODER.pair(), DECODER.inputs)
    assert report.agrees, str(report)


@pytest.mark.parametrize(("mistake", "module"), LOCATED.values(), ids=LOCATED)
def test_a_mask_of_the_other_polarity_is_not_blamed_for_a_mistake_elsewhere(mistake, module):
    report = crosscheck.compare(*DECODER.pair(**mistake), DECODER.inputs)
    assert report.first_divergence[:2] == (module, "forward"), str(report)


NAMED = {
    "the tie is cut": ({"is_tied": False}, "D13", "no gradient from the head"),
    "positions from 1": ({"first": 1}, "D35", "positions one place later"),
    "positions from 2": ({"first": 2}, "D35", "positions two places later"),
    "an epsilon in the middle of a norm": ({"eps": 1e-5}, "D19", "RMSNorm written out with eps 1e-05"),
    "float32 in a residual": ({"blocks": ({}, {"dtype": "float32"})}, "D73", "blocks.1.mlp in[0]"),
}


@pytest.mark.parametrize(("mistake", "row", "words"), NAMED.values(), ids=NAMED)
def test_a_known_mistake_of_a_language_model_is_named(mistake, row, words):
    found = explain(*DECODER.pair(**mistake), DECODER.inputs)
    assert found.divergence is not None, str(found)
    assert (found.divergence.id, words in found.flipped) == (row, True), str(found)


@pytest.mark.slow
def test_a_causal_mask_that_is_off_by_one_is_not_called_another_place():
    found = explain(*DECODER.pair(diagonal=1), DECODER.inputs)
    assert not found.report.agrees
    assert found.name == "D78 mask-off-by-one", str(found)
