"""Mistakes in users' ports that are known divergences are named, even if only one layer of several has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from own_pairs import Case, normal

from crosscheck.explain import explain
from crosscheck.locate import locate


@pytest.fixture(autouse=True)
def float64_in_jax():
    with jax.enable_x64(True):
        yield


class TorchNorms(torch.nn.Module):
    """Several layers of each kind, with the mistake in one of them."""

    def __init__(self):
        super().__init__()
        self.norms = torch.nn.ModuleList([torch.nn.LayerNorm(6), torch.nn.LayerNorm(6), torch.nn.LayerNorm(6)])

    def forward(self, x):
        for norm in self.norms:
            x = torch.nn.functional.gelu(norm(x))
        return x


class FlaxNorms(nnx.Module):
    def __init__(self, rngs, eps=(1e-5, 1e-5, 1e-5), approximate=(False, False, False)):
        self.norms = nnx.List([nnx.LayerNorm(6, epsilon=e, rngs=rngs) for e in eps])
        self.approximate = approximate

    def __call__(self, x):
        for norm, approximate in zip(self.norms, self.approximate, strict=True):
            x = jax.nn.gelu(norm(x), approximate=approximate)
        return x


class TorchPooled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4 * 3 * 5, 2)

    def forward(self, x):
        return self.head(self.conv(x).flatten(1))


class FlaxPooled(nnx.Module):
    def __init__(self, rngs, is_last=False):
        self.conv = nnx.Conv(3, 4, (3, 3), padding="VALID", rngs=rngs)
        self.head, self.is_last = nnx.Linear(4 * 3 * 5, 2, rngs=rngs), is_last

    def __call__(self, x):
        x = self.conv(jnp.moveaxis(x, 1, -1))
        return self.head((x if self.is_last else jnp.moveaxis(x, -1, 1)).reshape(len(x), -1))


class TorchLSTM(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = TorchCell(), torch.nn.Linear(7, 4)

    def forward(self, steps):
        h = c = torch.zeros(steps.shape[1], 7, dtype=steps.dtype)
        for x in steps:
            h, c = self.cell(x, h, c)
        return self.out(h)


class TorchCell(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.x2h, self.h2h = torch.nn.Linear(5, 28), torch.nn.Linear(7, 28, bias=False)

    def forward(self, x, h, c):
        i, f, g, o = (self.x2h(x) + self.h2h(h)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class FlaxLSTM(nnx.Module):
    def __init__(self, rngs, order="ifgo"):
        self.cell, self.out = FlaxCell(rngs, order), nnx.Linear(7, 4, rngs=rngs)

    def __call__(self, steps):
        h = c = jnp.zeros((steps.shape[1], 7))
        for x in steps:
            h, c = self.cell(x, h, c)
        return self.out(h)


class FlaxCell(nnx.Module):
    def __init__(self, rngs, order):
        self.x2h, self.h2h = nnx.Linear(5, 28, rngs=rngs), nnx.Linear(7, 28, use_bias=False, rngs=rngs)
        self.order = order

    def __call__(self, x, h, c):
        gates = dict(zip(self.order, jnp.split(self.x2h(x) + self.h2h(h), 4, -1), strict=True))
        c = jax.nn.sigmoid(gates["f"]) * c + jax.nn.sigmoid(gates["i"]) * jnp.tanh(gates["g"])
        return jax.nn.sigmoid(gates["o"]) * jnp.tanh(c), c


class TorchRotary(torch.nn.Module):
    """Rotary positions in halves, with fewer key heads than query heads."""

    def __init__(self):
        super().__init__()
        self.wq, self.wk = torch.nn.Linear(6, 8, bias=False), torch.nn.Linear(6, 4, bias=False)

    def forward(self, x):
        query, key = (w(x).unflatten(-1, (-1, 4)) for w in (self.wq, self.wk))
        (a, b), (c, d) = (t.chunk(2, -1) for t in (query, key))
        angle = torch.outer(torch.arange(x.shape[1], dtype=x.dtype), x.new_tensor([1.0, 0.01]))[:, None]
        sin, cos = angle.sin(), angle.cos()
        query, key = (
            torch.cat([a * cos - b * sin, b * cos + a * sin], -1),
            torch.cat([c * cos - d * sin, d * cos + c * sin], -1),
        )
        return torch.softmax(torch.einsum("bqhd,bkd->bhqk", query, key[:, :, 0]), -1)


class FlaxRotary(nnx.Module):
    def __init__(self, rngs, is_paired=False):
        self.wq, self.wk = (nnx.Linear(6, size, use_bias=False, rngs=rngs) for size in (8, 4))
        self.is_paired = is_paired

    def __call__(self, x):
        query, key = (self.turned(w(x).reshape(*x.shape[:2], -1, 4)) for w in (self.wq, self.wk))
        return jax.nn.softmax(jnp.einsum("bqhd,bkd->bhqk", query, key[:, :, 0]), -1)

    def turned(self, x):
        angle = jnp.outer(jnp.arange(x.shape[1]), jnp.array([1.0, 0.01]))[:, None]
        a, b = (x[..., ::2], x[..., 1::2]) if self.is_paired else jnp.split(x, 2, -1)
        parts = a * jnp.cos(angle) - b * jnp.sin(angle), b * jnp.cos(angle) + a * jnp.sin(angle)
        return jnp.stack(parts, -1).reshape(x.shape) if self.is_paired else jnp.concatenate(parts, -1)


NORMS = Case(TorchNorms, FlaxNorms, normal(2, 5, 6))
POOLED = Case(TorchPooled, FlaxPooled, normal(2, 3, 5, 7))
LSTM = Case(TorchLSTM, FlaxLSTM, normal(4, 3, 5))
ROTARY = Case(TorchRotary, FlaxRotary, normal(2, 5, 6))
MISTAKES = {
    "one epsilon of three": (NORMS, {"eps": (1e-5, 1e-6, 1e-5)}, "D18", "in TorchNorms.norms.1"),
    "two epsilons of three": (NORMS, {"eps": (1e-6, 1e-5, 1e-6)}, "D18", "in TorchNorms.norms.0, TorchNorms.norms.2"),
    "one GELU of three": (NORMS, {"approximate": (False, True, False)}, "D24", "in TorchNorms (call 2)"),
    "channels last when flattened": (POOLED, {"is_last": True}, "D02", "channels moved last before flattening"),
    "four gates in a different order": (LSTM, {"order": "ifog"}, "D03", "the order (0, 1, 3, 2) in TorchLSTM.cell"),
    "rotary pairs": (ROTARY, {"is_paired": True}, "D11", "interleaved, not in halves, heads of 4"),
}


@pytest.mark.parametrize(("case", "mistake", "row", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_known_mistake_is_named_with_its_place(case, mistake, row, words):
    told = []
    explanation = explain(*case.pair(**mistake), case.inputs, budget=120, told=lambda _, what: told.append(what))
    assert explanation.divergence is not None, str(explanation)
    assert (explanation.divergence.id, words in explanation.flipped) == (row, True), str(explanation)
    assert not any("operand" in what for what in told), "what is known comes before changes of code"


class TorchTable(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = torch.nn.Embedding(9, 5, padding_idx=0), torch.nn.Linear(5, 2)

    def forward(self, ids):
        return self.head(self.table(ids) * 2)


class FlaxTable(nnx.Module):
    """The caller handles the padding row, so the table on its own differs from torch's."""

    def __init__(self, rngs, scale=2.0):
        self.table = nnx.Embed(9, 5, param_dtype=jnp.float64, rngs=rngs)
        self.head, self.scale = nnx.Linear(5, 2, rngs=rngs), scale

    def __call__(self, ids):
        x = self.table(ids)
        return self.head(jnp.where((ids == 0)[..., None], jax.lax.stop_gradient(x), x) * self.scale)


def test_a_layer_that_its_caller_makes_good_is_not_blamed_for_a_mistake_of_the_caller():
    case = Case(TorchTable, FlaxTable, {"ids": np.array([[3, 0, 8], [1, 1, 0]])})
    location = locate(*case.pair(scale=3.0), case.inputs)
    assert location.first_divergence[:2] == ("TorchTable", "forward"), str(location)
