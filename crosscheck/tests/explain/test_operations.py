"""Mistakes that no flip of the catalogue makes are named by the operations with which two sides begin to differ."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax import nnx

from crosscheck.causes.operations.changes.exchanges import row_of_sum
from crosscheck.causes.operations.formula import Formula, difference
from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import region_of
from crosscheck.causes.operations.relation import relation
from crosscheck.compare import compare
from crosscheck.explain import explain
from crosscheck.pairing.copy_weights import copy_weights

Part = functools.partial
X1, X2, X3 = map(Formula, "abc")


def add(*parts):
    return Formula("add", parts)


def mul(*parts):
    return Formula("mul", parts)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


ROWS, TOKENS = drawn(4, 6), drawn(2, 5, 6, seed=1)
X, ADVANTAGES = {"x": ROWS}, {"rewards": drawn(3, 3), "kept": drawn(3, 3, seed=1)}


class TorchNorms(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.LayerNorm(6), torch.nn.LayerNorm(6)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class FlaxNorms(nnx.Module):
    """May call its first norm twice."""

    def __init__(self, rngs, uses_first=False):
        self.first, self.second = (nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs) for _ in range(2))
        self.uses_first = uses_first

    def __call__(self, x):
        x = jnp.tanh(self.first(x))
        return self.first(x) if self.uses_first else self.second(x)


def norms(uses_first):
    torch.manual_seed(0)
    ours = TorchNorms().double()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter)
    return ours, copy_weights(ours, FlaxNorms(nnx.Rngs(0), uses_first))


class TorchIndexed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("index", torch.tensor([[2, 1, 0], [3, 2, 1], [4, 3, 2]]))
        self.table = torch.nn.Parameter(torch.arange(5.0))

    def forward(self, x):
        return x[:, :3, :3] + self.table[self.index]


class FlaxIndexed(nnx.Module):
    """May count distances without their sign."""

    def __init__(self, rngs, has_sign=True):
        self.table, self.has_sign = nnx.Param(jnp.zeros(5)), has_sign

    def __call__(self, x):
        distances = jnp.arange(3)[:, None] - jnp.arange(3)
        return x[:, :3, :3] + self.table[...][(distances if self.has_sign else jnp.abs(distances)) + 2]


def indexed(has_sign):
    ours = TorchIndexed().double()
    return ours, copy_weights(ours, FlaxIndexed(nnx.Rngs(0), has_sign))


def torch_returns(rewards, kept):
    total, found = torch.zeros(3, dtype=rewards.dtype), []
    for step in range(3):
        total = rewards[:, step] + 0.9 * total * kept[:, step]
        found.append(total)
    return torch.stack(found, 1)


def returns(rewards, kept, gamma=0.9, shift=0):
    def step(total, each):
        total = each[0] + gamma * total * each[1]
        return total, total

    kept = jnp.concatenate([kept[:, shift:], kept[:, -1:]], 1)[:, :3]
    return jax.lax.scan(step, jnp.zeros(3), (rewards.T, kept.T))[1].T


def torch_window(x):
    return torch.fft.rfft(x * torch.hann_window(6, dtype=x.dtype)).abs().pow(2.0).log1p()


def window(x, period=6, power=2.0):
    shape = 0.5 - 0.5 * jnp.cos(2 * jnp.pi * jnp.arange(6) / period)
    return jnp.log1p(jnp.abs(jnp.fft.rfft(x * shape)) ** power)


def gathered(x, how=jnp.cumsum):
    return jnp.tanh(how(x, -1) / 2)


def torch_gathered(x):
    return torch.tanh(x.cumsum(-1) / 2)


def torch_ranged(x):
    return torch.maximum(x, x.amax(-1, keepdim=True) - 1.5).exp()


def ranged(x, axis=-1, least=jnp.maximum):
    return jnp.exp(least(x, x.max(axis, keepdims=True) - 1.5))


def torch_attends(x):
    return F.scaled_dot_product_attention(x, x, x)


def attends(x, axis=-1):
    return jax.nn.softmax(x @ jnp.swapaxes(x, -1, -2) * x.shape[-1] ** -0.5, axis) @ x


def torch_best(x):
    return torch.tanh(x.max(1).values)


def best(x, how=jnp.max):
    return jnp.tanh(how(x, 1))


# mistake: (the wrong pair, the right one, inputs, what the evidence holds)
MISTAKES = {
    "another module": (lambda: norms(True), lambda: norms(False), X, "first called in place of second"),
    "a buffer": (lambda: indexed(False), lambda: indexed(True), {"x": TOKENS}, "in place of buffer index"),
    "a number in every step": (
        lambda: (torch_returns, Part(returns, gamma=0.8)), lambda: (torch_returns, returns), ADVANTAGES,
        "with 0.8, not 0.9"),
    "another step": (
        lambda: (torch_returns, Part(returns, shift=1)), lambda: (torch_returns, returns), ADVANTAGES,
        "reads the step +1"),
    "a table": (lambda: (torch_window, Part(window, period=5)), lambda: (torch_window, window), X,
                "torch computes hann_window(6)"),
    "a power": (lambda: (torch_window, Part(window, power=3.0)), lambda: (torch_window, window), X, "with 3, not 2"),
    "another function": (
        lambda: (torch_gathered, Part(gathered, how=jnp.cumprod)), lambda: (torch_gathered, gathered), X,
        "cumprod in place of cumsum"),
    "other axes": (lambda: (torch_ranged, Part(ranged, axis=(0, 1))), lambda: (torch_ranged, ranged), X,
                   "over axes (0, 1)"),
    "weights of attention": (
        lambda: (torch_attends, Part(attends, axis=-2)), lambda: (torch_attends, attends), {"x": TOKENS},
        "by a softmax over the queries"),
    "another reduction": (lambda: (torch_best, Part(best, how=jnp.mean)), lambda: (torch_best, best), X,
                          "mean in place of max"),
    "an operation left out": (
        lambda: (torch_ranged, Part(ranged, least=lambda x, y: x)), lambda: (torch_ranged, ranged), X, "left out"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_stands_in_the_code_of_both_sides_names_a_mistake(mistake):
    wrong, right, inputs, words = MISTAKES[mistake]
    with jax.enable_x64(True):
        assert compare(*right(), inputs).agrees
        found = explain(*wrong(), inputs)
    assert found.divergence is not None, str(found)
    assert words in found.flipped, str(found)
    assert "test_operations.py" in found.flipped or "module" in mistake, str(found)


def test_a_norm_over_other_axes_is_named():
    with jax.enable_x64(True):
        found = explain(lambda x: F.layer_norm(x, (5, 6)), lambda x: jax.nn.standardize(x, -1, epsilon=1e-5), TOKENS)
    assert "over axes (2,)" in found.flipped, str(found)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (2.5 * ROWS, "times 2.5"),
        (ROWS + 3, "plus 3"),
        (np.roll(ROWS, 1, 0), "rolled by +1 along axis 0"),
        (ROWS[:, ::-1], "reversed along axis 1"),
        (np.where(np.arange(6) == 5, 0, ROWS), "the last place of axis 1 alone"),
        (np.where(np.arange(6) < 2, 0, ROWS), "places 0 to 1 of axis 1 alone"),
        (np.sort(ROWS, None).reshape(4, 6), "in another order"),
        (ROWS.astype(np.float32), "rounded to float32"),
        (ROWS[[2, 0, 3, 1]], "with axis 0 in the order [2, 0, 3, 1]"),
        (ROWS.reshape(4, 3, 2).swapaxes(1, 2).reshape(4, 6), "with axis 1 read as (2, 3), not (3, 2)"),
        (ROWS * np.arange(2, 6)[:, None], "times a factor of each place of axis 0: 2, 3, 4, 5"),
        (ROWS + np.arange(2, 8), "plus a number of each place of axis 1: 2, 3, 4, 5, ..."),
        (np.tril(ROWS), "above the diagonal of the last two axes alone"),
        (np.maximum(ROWS, -0.5), "where torch's is below"),
        (drawn(4, 6, seed=9), ""),
    ],
)
def test_what_a_tensor_is_of_another_is_said(theirs, words):
    found = relation(ROWS, theirs)
    assert (words in found) if words else not found, found


class TorchShares(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.keys, self.shift = torch.nn.Linear(6, 6), torch.nn.Parameter(torch.ones(6))

    def forward(self, x):
        mixed = torch.tanh(x) * 3 + torch.sin(x)
        return torch.sigmoid(self.keys(mixed) - self.shift * mixed.cos() ** 2) / (1 + mixed.abs())


class FlaxShares(nnx.Module):
    def __init__(self, rngs, wrong=True):
        self.keys, self.shift, self.wrong = nnx.Linear(6, 6, rngs=rngs), nnx.Param(jnp.ones(6)), wrong

    def __call__(self, x):
        mixed = jnp.tanh(x) * 3 + jnp.sin(x)
        scores = self.keys(mixed) - self.shift[...] * jnp.cos(mixed) ** 2
        weights = jax.nn.softmax(scores * jnp.abs(self.shift[...] + mixed)) if self.wrong else jax.nn.sigmoid(scores)
        return weights / (1 + jnp.abs(mixed))


def shares(wrong):
    torch.manual_seed(0)
    ours = TorchShares().double()
    return ours, copy_weights(ours, FlaxShares(nnx.Rngs(0), wrong))


def test_where_no_change_fits_both_formulas_are_the_name():
    with jax.enable_x64(True):
        assert compare(*shares(False), ROWS).agrees
        found = explain(*shares(True), ROWS)
    assert found.divergence.id == "D99"
    ours, theirs = found.flipped.removeprefix("torch computes ").split(", JAX ")
    assert ours.startswith("sigmoid(keys(...) - shift * pow (test_operations.py:"), str(found)
    assert theirs.startswith("softmax((keys(...) - shift * pow (test_operations.py:"), str(found)
    assert " * abs(shift + mixed), axis=1)" in theirs, str(found)
    assert found.cures[1].startswith("compute softmax(")


def test_results_of_one_operation_are_told_apart():
    def gated(x):
        value, gate = jnp.split(x, 2, 1)
        return gate * jax.nn.sigmoid(value) * 1.5

    with jax.enable_x64(True):
        found = explain(lambda x: F.glu(x, 1) * 1.5, gated, ROWS)
    both = "split(x, sizes=(3, 3), axis=1)"
    assert f"{both}[1] * sigmoid({both}[0])" in str(found), str(found)


def test_a_change_that_closes_the_gap_by_chance_is_no_name():
    """Where all numbers are 2, twice a number is its square."""
    with jax.enable_x64(True):
        found = explain(lambda x: x * 3, lambda x: jnp.square(x), {"x": np.full(4, 2.0)}, gradients=False)
    assert found.flipped.startswith("torch computes x * 3 (test_operations.py:"), str(found)
    assert "with 2, not 3" not in found.flipped, str(found)


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        (add(X1, add(X2, X3)), add(X1, add(X2, X1)), ("b + c", "b + a")),
        (mul(X1, X2), mul(X3, X2), ("a * b", "c * b")),
        (mul(X1, add(X2, X3)), mul(add(X2, X1), X1), ("b + c", "b + a")),
        (Formula("sub", (X1, Formula("sub", (X2, X3)))), X1, ("a - (b - c)", "a")),
        (Formula("transpose", (X1,), "axes (1, 0)"), X1, ("transpose(a, axes (1, 0))", "a")),
    ],
)
def test_the_innermost_formulas_that_differ_are_said(ours, theirs, found):
    assert tuple(map(str, difference(ours, theirs))) == found


def test_a_sum_that_one_side_lacks_is_a_forgotten_mask_where_a_mask_is_added_and_a_residual_elsewhere():
    hidden = torch.zeros(5, 5, dtype=torch.float64).masked_fill(torch.ones(5, 5).triu(1) > 0, -1e30)
    assert [row_of_sum(added) for added in ([hidden], [hidden, torch.ones(5, 5)], [torch.ones(5, 5)], [])] == [
        "D79", "D79", "D88", "D88"
    ]  # fmt: skip


def test_where_a_gap_begins_is_found_among_complex_numbers_of_the_same_shape():
    given, double, half = X["x"] + 1j, 2 * ROWS, ROWS / 2
    both = [[Operation("input", (), given), Operation("mul", (0,), array)] for array in (double, half)]
    region = region_of(*both, double, half)
    assert region is not None
    assert [each.result is double for each in region.ours] == [True]
