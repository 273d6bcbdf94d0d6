"""`explain` names the default that makes the difference between a torch module or function and its JAX port."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
import torch.nn.functional as F
from flax import nnx

import crosscheck
from crosscheck.explain import explain
from crosscheck.own_pairs import Case, normal

X = normal(4, 6)
Q, K, V = (normal(2, 3, 5, 4) + shift for shift in range(3))
ZEROS = np.where(X > 0, X, 0.0)
SOME = np.arange(6) < np.array([[6], [4], [2], [1]])
NONE_IN_ONE_ROW = SOME & np.array([[True], [True], [True], [False]])
CAUSAL = np.tril(np.ones((5, 5), bool))


@pytest.fixture(autouse=True)
def float64_in_jax():
    with jax.enable_x64(True):
        yield


def torch_weights(x, mask):
    return torch.softmax(x.masked_fill(~mask, -torch.inf), -1)


def jax_weights(fill):
    return lambda x, mask: jax.nn.softmax(jnp.where(mask, x, fill(x)))


def jax_attention(q, k, v, mask, fill=-jnp.inf):
    scores = jnp.where(mask, q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5, fill)
    return jax.nn.softmax(scores) @ v


def fused_attention(q, k, v):
    q, k, v = (array.swapaxes(1, 2) for array in (q, k, v))
    return jax.nn.dot_product_attention(q, k, v).swapaxes(1, 2)


HIDDEN = CAUSAL & (np.arange(5) != 2)[:, None]
LOWEST = np.finfo(np.float64).min
FUNCTIONS = {  # what differs: row of the catalogue, torch's function, its port, inputs
    "GELU": ("D24", F.gelu, jax.nn.gelu, X),
    "variance": ("D28", lambda x: x.var(-1), lambda x: jnp.var(x, -1), X),
    "standard deviation": ("D28", torch.std, jnp.std, X),
    "half the squared error": ("D32", F.mse_loss, lambda x, y: optax.l2_loss(x, y).mean(), (X, ZEROS)),
    "zeros in a hidden row": (
        "D36",
        torch_weights,
        lambda x, m: jnp.where(m, jax.nn.softmax(jnp.where(m, x, LOWEST)), 0),
        (X, NONE_IN_ONE_ROW),
    ),
    "the mean in a hidden row": ("D36", torch_weights, jax_weights(lambda x: LOWEST), (X, NONE_IN_ONE_ROW)),
    "the mean of fused attention": (
        "D36",
        F.scaled_dot_product_attention,
        lambda q, k, v, m: jax_attention(q, k, v, m, LOWEST),
        (Q, K, V, HIDDEN),
    ),
    "NaN of fused attention": ("D36", F.scaled_dot_product_attention, jax_attention, (Q, K, V, HIDDEN)),
    "masked scores": (
        "D37",
        lambda x, m: x.masked_fill(~m, -1e9),
        lambda x, m: jnp.where(m, x, -1e4),
        (X, SOME),
    ),
    "a given mask": ("D38", torch_weights, lambda x, m: jax_weights(lambda x: -jnp.inf)(x, ~m), (X[1:], SOME[1:])),
    "a built mask": (
        "D38",
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, torch.eye(5).bool()),
        lambda q, k, v: jax_attention(q, k, v, ~jnp.eye(5, dtype=bool)),
        (Q, K, V),
    ),
    "the slope of |x|": ("D44", lambda x: x.abs().sum(), lambda x: jnp.abs(x).sum(), ZEROS),
    "ties of a maximum": ("D47", lambda x: x.max(-1)[0], lambda x: x.max(-1), np.round(X)),
    "float32 inside": ("D53", torch.tanh, lambda x: jnp.tanh(x.astype("float32")).astype(x.dtype), X),
    "fused attention in float64": ("D69", F.scaled_dot_product_attention, fused_attention, (Q, K, V)),
}


@pytest.mark.parametrize(("row", "ours", "theirs", "inputs"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_default_of_a_function_is_named(row, ours, theirs, inputs):
    found = explain(ours, theirs, inputs)
    assert found.divergence is not None, str(found)
    assert found.divergence.id == row, str(found)


# Modules


class TorchTower(torch.nn.Module):
    def __init__(self, norm=lambda: torch.nn.LayerNorm(6)):
        super().__init__()
        self.proj, self.norm, self.out = torch.nn.Linear(6, 6), norm(), torch.nn.Linear(6, 3)

    def forward(self, x):
        return self.out(F.gelu(self.norm(self.proj(x))))


class FlaxTower(nnx.Module):
    def __init__(self, rngs, norm=nnx.LayerNorm, approximate=False, transposed=False, power=1.0, **options):
        self.proj, self.out = (nnx.Linear(6, size, rngs=rngs) for size in (6, 3))
        self.norm = norm(6, rngs=rngs, **options)
        self.approximate, self.transposed, self.power = approximate, transposed, power

    def __call__(self, x):
        h = x @ self.proj.kernel.T + self.proj.bias[...] if self.transposed else self.proj(x)
        return self.out(jax.nn.gelu(self.norm(h), approximate=self.approximate) * self.power)


class OwnRMSNorm(torch.nn.Module):
    """A norm written out, whose epsilon is an attribute."""

    def __init__(self):
        super().__init__()
        self.weight, self.variance_epsilon = torch.nn.Parameter(torch.ones(6)), 1e-6

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)


class TorchCell(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = torch.nn.GRUCell(6, 7)

    def forward(self, x):
        return self.cell(x, x.new_ones(len(x), 7))


class FlaxCell(nnx.Module):
    def __init__(self, rngs, order=(0, 1, 2), hidden_bias=1.0):
        self.ih, self.hh = nnx.Linear(6, 21, rngs=rngs), nnx.Linear(7, 21, rngs=rngs)
        self.order, self.unused = order, 1 - hidden_bias

    def __call__(self, x):
        h = jnp.ones((len(x), 7), x.dtype)
        (x_r, x_z, x_n), (h_r, h_z, h_n) = (
            [jnp.split(projected, 3, -1)[place] for place in self.order] for projected in (self.ih(x), self.hh(h))
        )
        r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        return (1 - z) * jnp.tanh(x_n + r * (h_n - self.unused * self.hh.bias[14:])) + z * h


class TorchWords(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = torch.nn.Embedding(9, 4, padding_idx=0), torch.nn.Linear(4, 2)

    def forward(self, ids):
        return self.out(self.words(ids))


class FlaxWords(nnx.Module):
    def __init__(self, rngs):
        self.words, self.out = nnx.Embed(9, 4, dtype=jnp.float64, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, ids):
        return self.out(self.words(ids))


def tower(norm=TorchTower):
    return Case(norm if norm is TorchTower else lambda: TorchTower(norm), FlaxTower, X)


EXACT, TORCH_EPS = {"use_fast_variance": False}, {"epsilon": 1e-5}
LAYERS = tower()
CELL = Case(TorchCell, FlaxCell, X, rules={r"^(ih|hh)\.(weight|bias)": r"cell.\2_\1"})
WORDS = Case(TorchWords, FlaxWords, np.array([[0, 3, 4], [1, 2, 0]]), rules={"embedding$": "weight"})
MODULES = {  # what differs: row of the catalogue, the pair, the port's options
    "epsilon of LayerNorm": ("D18", LAYERS, {}),
    "epsilon of RMSNorm": ("D19", tower(lambda: torch.nn.RMSNorm(6)), {"norm": nnx.RMSNorm}),
    "epsilon of an own RMSNorm": ("D19", tower(OwnRMSNorm), {"norm": nnx.RMSNorm, **TORCH_EPS}),
    "epsilon of GroupNorm": ("D23", tower(lambda: torch.nn.GroupNorm(2, 6)), {"norm": nnx.GroupNorm, "num_groups": 2}),
    "epsilon of BatchNorm": ("D23", tower(lambda: torch.nn.BatchNorm1d(6)), {"norm": nnx.BatchNorm, "epsilon": 1e-3}),
    "GELU in a module": ("D24", LAYERS, {**TORCH_EPS, "approximate": True}),
    "a kernel used transposed": ("D01", LAYERS, {**TORCH_EPS, "transposed": True}),
    "the order of gates": ("D03", CELL, {"order": (1, 0, 2)}),
    "a cyclic order of gates": ("D03", CELL, {"order": (2, 0, 1)}),
    "no hidden bias in the candidate": ("D04", CELL, {"hidden_bias": 0.0}),
    "the padding row": ("D33", WORDS, {}),
}


@pytest.mark.parametrize(("row", "case", "options"), MODULES.values(), ids=MODULES)
def test_a_default_of_a_module_is_named_with_both_ways_to_mend_it(row, case, options):
    found = explain(*case.pair(**options), case.inputs, rules=case.rules)
    assert found.divergence is not None, str(found)
    assert found.divergence.id == row, str(found)
    lines = str(found).splitlines()
    assert lines[-2:] == [
        f"  change the JAX side: {found.divergence.to_torch}",
        f"  or the torch side: {found.divergence.to_jax}",
    ]
