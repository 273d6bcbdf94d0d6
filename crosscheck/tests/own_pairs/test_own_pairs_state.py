"""Side effects of a user's own modules: in-place writes, caches, shared or frozen layers."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
import torch
from flax import nnx
from own_pairs import drawn, normal

import crosscheck
from crosscheck.pairing.copy_weights import copy_weights

pytestmark = pytest.mark.usefixtures("float64_in_jax")

X = normal(3, 5)


class Writing(torch.nn.Module):
    """Writes to its input, to a residual, and to the output of an in-place layer."""

    def __init__(self):
        super().__init__()
        self.fc, self.relu, self.same = torch.nn.Linear(5, 5), torch.nn.ReLU(inplace=True), torch.nn.Identity()
        self.out = torch.nn.Linear(5, 3)

    def forward(self, x):
        x += 1
        h = self.fc(x)
        h += x
        y = self.relu(h)
        y[:, 0] *= 2
        return self.out(self.same(h)) * y.sum(-1, keepdim=True)


class NotWriting(nnx.Module):
    def __init__(self, rngs, mistake=False):
        self.fc, self.out = nnx.Linear(5, 5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)
        self.mistake = mistake

    def __call__(self, x):
        x = x + 1
        before = self.fc(x) + x
        h = nnx.relu(before).at[:, 0].multiply(2)
        return self.out(before if self.mistake else h) * h.sum(-1, keepdims=True)


@pytest.mark.parametrize("gradients", [True, False])
def test_what_torch_writes_in_place_is_computed_as_without_looking(gradients):
    ours = drawn(Writing())
    theirs, wrong = (copy_weights(ours, NotWriting(nnx.Rngs(0), mistake)) for mistake in (False, True))
    report = crosscheck.compare(ours, theirs, X, gradients=gradients)
    assert report.agrees, str(report)
    assert not report.inner_differences
    assert report.unmatched == {"torch": ["relu", "same"], "jax": []}
    assert crosscheck.compare(ours, wrong, X, gradients=gradients).first_divergence[:2] == ("Writing", "forward")


class TorchCached(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = TorchCaching(), TorchCaching()

    def forward(self, x):
        cache: dict[str, list[Any]] = {}
        return self.second(torch.tanh(self.first(x, cache)), cache) + sum(cache["h"])


class TorchCaching(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(5, 5)

    def forward(self, x, cache):
        cache.setdefault("h", []).append(self.fc(x))
        return cache["h"][-1]


class FlaxCached(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second = FlaxCaching(rngs), FlaxCaching(rngs)

    def __call__(self, x):
        cache: dict[str, list[Any]] = {}
        return self.second(jnp.tanh(self.first(x, cache)), cache) + sum(cache["h"])


class FlaxCaching(nnx.Module):
    def __init__(self, rngs):
        self.fc = nnx.Linear(5, 5, rngs=rngs)

    def __call__(self, x, cache):
        cache.setdefault("h", []).append(self.fc(x))
        return cache["h"][-1]


def test_what_a_module_writes_into_a_cache_reaches_its_caller():
    ours = drawn(TorchCached())
    report = crosscheck.compare(ours, copy_weights(ours, FlaxCached(nnx.Rngs(0))), X)
    assert report.agrees, str(report)


class TorchShared(torch.nn.Module):
    """One layer under two names, called three times; another layer frozen."""

    def __init__(self):
        super().__init__()
        self.zeroth = torch.nn.Linear(5, 5)
        self.again, self.frozen = self.zeroth, torch.nn.Linear(5, 5).requires_grad_(False)

    def forward(self, x):
        return self.again(torch.tanh(self.zeroth(self.frozen(torch.tanh(self.zeroth(x))))))


class FlaxShared(nnx.Module):
    def __init__(self, rngs, freeze=jax.lax.stop_gradient):
        self.zeroth = nnx.Linear(5, 5, rngs=rngs)
        self.again, self.frozen, self.freeze = self.zeroth, nnx.Linear(5, 5, rngs=rngs), freeze

    def __call__(self, x):
        h = jnp.tanh(self.zeroth(x))
        h = h @ self.freeze(self.frozen.kernel[...]) + self.freeze(self.frozen.bias[...])
        return self.again(jnp.tanh(self.zeroth(h)))


def test_shared_and_frozen_layers_agree_and_a_layer_that_is_not_frozen_is_found():
    rules = {r"^again\.": "zeroth."}  # Flax uses the first name alphabetically, torch the first in the code
    ours = drawn(TorchShared())
    theirs, thawed = (
        copy_weights(ours, FlaxShared(nnx.Rngs(0), freeze), rules) for freeze in (jax.lax.stop_gradient, lambda x: x)
    )
    report = crosscheck.compare(ours, theirs, X, rules=rules)
    assert report.agrees, str(report)
    assert report.unmatched == {"torch": ["frozen"], "jax": []}
    report = crosscheck.compare(ours, thawed, X, rules=rules)
    assert report.first_divergence[:2] == ("TorchShared.frozen", "parameter gradient")
