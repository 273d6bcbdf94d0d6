"""Constructors of both twins draw from the same distribution; no check sees it, since both sides get equal weights.

Where weights come from (seed, name), as in every run, the tests of shared/initial_weights.py cover them.
"""

import math

import numpy as np
import pytest
import torch

import jax_impl
import torch_impl
from crosscheck.faults.fault import Change
from crosscheck.faults.planting import planted
from jax_impl import build as jax_build
from shared.registry import TWINS
from torch_impl import build as torch_build

CLASSES = [name for name, twin in TWINS.items() if not twin.function]
UNIFORM_GAP = 20.0  # derived: the largest of n uniform numbers stays 20 / n of its bound below it once in e^20 draws
NORMAL_GAP = 6.0  # derived: in standard errors, 1 / sqrt(n) for the ratio of two deviations: once in 5e8 draws
# derived: a uniform number lies within sqrt(3) deviations; the largest of 50 normal ones usually does not
BOUNDED, MANY = 2.0, 50

LINEAR, CELL = "bound = in_features**-0.5 if", "self.input_proj = Linear(input_size, 3 * hidden_size, bound=hidden"
DRAWS = {
    "torch": "torch.randn(vocabulary_size, embedding_size)",
    "jax": "jax.random.normal(rngs.params(), (vocabulary_size, embedding_size), jnp.float32)",
}
PADDING = {
    "torch": ("nn.init.zeros_(self.weight[padding_idx])", "pass"),
    "jax": ("table if padding_idx is None else table.at[padding_idx].set(0.0)", "table"),
}
# fmt: off
MISTAKES = [
    (side, *mistake)
    for side in ("torch", "jax")
    for mistake in (
        ("Attn", "layers/linear.py", LINEAR, LINEAR.replace("in_", "out_")),
        ("GRUCell", "layers/gru.py", CELL, CELL.replace("bound=hidden", "bound=input")),
        ("LayerNorm", "layers/layer_norm.py", "ones(hidden_size", "zeros(hidden_size"),
        ("Embedding", "layers/embedding.py", DRAWS[side], f"{DRAWS[side]} * embedding_size**-0.5"),
        ("Embedding", "layers/embedding.py", *PADDING[side]),
    )
]
# fmt: on


def differences(name: str) -> list[str]:
    twin = TWINS[name]
    torch.manual_seed(0)
    ours = torch_impl.to_arrays(torch_build.build_twin(twin, twin.arguments))
    theirs = jax_impl.to_arrays(jax_build.build_twin(twin, twin.arguments))
    return [name for name in ours if not of_one_law(ours[name], theirs[name])]


def of_one_law(a: np.ndarray, b: np.ndarray) -> bool:
    if a.std() == 0 or not np.array_equal(a == 0, b == 0):
        return np.array_equal(a, b)
    a, b = a[a != 0], b[b != 0]
    if a.size < MANY:
        return True
    largest, spread = (abs(a).max(), abs(b).max()), (a.std(), b.std())
    is_bounded = max(largest[0] / spread[0], largest[1] / spread[1]) < BOUNDED
    return (
        abs(spread[0] / spread[1] - 1) <= NORMAL_GAP / math.sqrt(a.size)
        and abs(a.mean() - b.mean()) <= NORMAL_GAP * max(spread) * math.sqrt(2 / a.size)
        and (not is_bounded or abs(largest[0] / largest[1] - 1) <= UNIFORM_GAP / a.size)
    )


@pytest.mark.parametrize("name", CLASSES)
def test_both_sides_draw_initial_values_of_one_law_for(name):
    assert not differences(name)


@pytest.mark.parametrize(("side", "name", "file", "old", "new"), MISTAKES)
def test_a_mistake_in_initial_values_is_seen(side, name, file, old, new):
    with planted([Change(f"{side}_impl/{file}", old, new)]):
        assert differences(name)
