"""Mistakes in several places of the code at once, in gradients and in optimizers are named by what was changed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
import torch.nn.functional as F
from flax import nnx
from own_pairs import normal

from crosscheck.explain import explain
from crosscheck.pairing.copy_weights import copy_weights

X, TOKENS, SIGNAL = normal(4, 6), normal(2, 5, 6), normal(2, 3, 16)
KERNELS = torch.from_numpy(normal(3, 3, 3))
LABELS = np.array([[1, 2, 0, 3, 4], [4, 0, 1, 1, 2]])
TARGETS = np.array([[1, 2, 3], [4, 1, 0]])


@pytest.fixture(autouse=True)
def float64_in_jax():
    with jax.enable_x64(True):
        yield


def torch_next_tokens(x, labels):
    return F.cross_entropy(x[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def jax_next_tokens(x, labels, ahead=2):
    return optax.softmax_cross_entropy_with_integer_labels(x[:, :-ahead], labels[:, ahead:]).mean()


def torch_strides(x):
    return F.conv1d(torch.tanh(F.conv1d(x, KERNELS, stride=1, padding=1)), KERNELS, stride=2, padding=1)


def jax_strides(x):
    kernels, convolve = jnp.asarray(KERNELS.numpy()), jax.lax.conv_general_dilated
    return convolve(jnp.tanh(convolve(x, kernels, (2,), [(1, 1)])), kernels, (1,), [(1, 1)])


def torch_rounds(x):
    found = torch.zeros_like(x)
    for _ in range(4):
        found = torch.tanh(x + 0.7 * found)
    return found


def jax_rounds(x):
    found = jnp.zeros_like(x)
    for _ in range(3):
        found = jnp.tanh(x + 0.7 * found)
    return found


def torch_ctc(x, targets):
    scores = x.log_softmax(-1).transpose(0, 1)
    return F.ctc_loss(scores, targets, torch.full((len(x),), x.shape[1]), (targets > 0).sum(1))


def jax_ctc(x, targets):
    return optax.ctc_loss(x, jnp.zeros(x.shape[:2]), targets, (targets == 0).astype(x.dtype)).mean()


CHANGES = {  # mistake: torch's function, JAX's, inputs, words of the name
    "labels shifted twice": (
        torch_next_tokens, jax_next_tokens, {"x": TOKENS, "labels": LABELS}, ("[:, :-2]", "[:, 2:]")),
    "strides exchanged": (torch_strides, jax_strides, SIGNAL, ("in conv1d", "not the other way round")),
    "a round less": (torch_rounds, jax_rounds, X, ("last of 4 rounds",)),
    "a scale and a shift left out": (
        lambda x: torch.tanh(torch.sigmoid(x) * 2 - 0.7), lambda x: jnp.tanh(jax.nn.sigmoid(x)), X,
        ("mul", "and sub", "left out")),
    "a position left out at one place": (
        lambda x: torch.tanh(x + x.cos()), lambda x: jnp.tanh(jnp.concatenate([x[:, :1], (x + jnp.cos(x))[:, 1:]], 1)),
        TOKENS, ("left out at the first place of axis 1", "operand 1 kept")),
    "both distances squared": (
        lambda x: (x[0] - x[1]).norm(dim=-1) - (x[2] - x[3]).norm(dim=-1),
        lambda x: ((x[0] - x[1]) ** 2).sum(-1) - ((x[2] - x[3]) ** 2).sum(-1), normal(4, 5, 6),
        ("raised to 2", "other calls")),
    "padding behind": (
        lambda x: torch.tanh(F.pad(x, (1, 0))), lambda x: jnp.tanh(jnp.pad(x, ((0, 0), (0, 1)))), X, ("pad", "(0, 1)")),
    "an imaginary part off": (
        lambda x: torch.fft.rfft(x), lambda x: (lambda z: z.real + 1j * z.imag * 1.25)(jnp.fft.rfft(x)), X,
        ("imaginary part times 1.25",)),
    "the losses of a batch averaged": (
        torch_ctc, jax_ctc, {"x": normal(2, 8, 6), "targets": TARGETS}, ("divided by the number of rows",)),
    "a tail for a head": (
        lambda x: torch.tanh(x[..., :4]), lambda x: jnp.tanh(x[..., -4:]), X, ("reads [..., -4:]",)),
}  # fmt: skip


@pytest.mark.parametrize("mistake", CHANGES)
def test_the_change_of_code_is_named(mistake):
    ours, theirs, inputs, words = CHANGES[mistake]
    found = explain(ours, theirs, inputs)
    assert all(word in found.flipped for word in words), str(found)
    assert not found.left, str(found)


class Twice(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.second, self.function = torch.nn.Linear(6, 5), torch.nn.Linear(5, 5), function
        self.share = torch.nn.Parameter(torch.full((5,), 0.3))

    def forward(self, x):
        return self.function(self, x)


class FlaxTwice(nnx.Module):
    def __init__(self, function, rngs):
        self.first, self.second = nnx.Linear(6, 5, rngs=rngs), nnx.Linear(5, 5, rngs=rngs)
        self.function, self.share = function, nnx.Param(jnp.zeros(5))

    def __call__(self, x):
        return self.function(self, x)


def twice(ours, theirs):
    torch.manual_seed(0)
    module = Twice(ours).double()
    return module, copy_weights(module, FlaxTwice(theirs, nnx.Rngs(0)))


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def torch_sum(module, x):
    hidden = module.first(x)
    return module.second(torch.tanh(hidden)) + hidden * module.share


def jax_sum(module, x, stop):
    hidden = module.first(x)
    return module.second(jnp.tanh(hidden)) + stop(hidden) * module.share[...]


def torch_rounded(module, x):
    hidden = module.first(x)
    return module.second(hidden.clamp(-0.3, 0.3))


def jax_rounded(module, x):
    hidden = module.first(x)
    return module.second(hidden + jax.lax.stop_gradient(jnp.clip(hidden, -0.3, 0.3) - hidden))


def torch_reversed(module, x):
    return module.second(Reversed.apply(module.first(x)))


@torch.no_grad()
def torch_without_gradients(module, x):
    return module.second(module.first(x)) * module.share


GRADIENTS = {  # mistake: torch's function, JAX's, words of the name
    "a branch stopped": (
        torch_sum,
        functools.partial(jax_sum, stop=jax.lax.stop_gradient),
        "gradient stopped before an operation",
    ),
    "a clamp that is passed": (torch_rounded, jax_rounded, "clamp (test_changes_of_code.py"),
    "a reversal forgotten": (torch_reversed, lambda module, x: module.second(module.first(x)), "reversed"),
}


@pytest.mark.parametrize("mistake", GRADIENTS)
def test_another_gradient_of_equal_outputs_is_named_without_a_change_of_outputs(mistake):
    ours, theirs, words = GRADIENTS[mistake]
    found = explain(*twice(ours, theirs), X)
    assert words in found.flipped, str(found)
    assert not found.left, str(found)


def test_a_parameter_that_is_used_otherwise_is_named():
    pair = twice(lambda module, x: module.second(module.first(x) * module.share),
                 lambda module, x: module.second(module.first(x) * (1 - module.share[...])))  # fmt: skip
    found = explain(*pair, X)
    assert "share taken from 1" in found.flipped, str(found)
    assert not found.left, str(found)


def test_a_module_that_is_given_what_another_one_returns_is_named():
    def jax_chain(module, x):
        hidden = module.first(x)
        return hidden + module.second(hidden)

    found = explain(*twice(lambda module, x: module.first(x) + module.second(x[:, :5]), jax_chain), X)
    assert "second called with what leaves first" in found.flipped, str(found)


def test_a_search_leaves_gradients_on():
    explain(*twice(torch_without_gradients, lambda module, x: module.second(module.first(x))), X)
    assert torch.is_grad_enabled()


def test_no_flip_is_named_that_breaks_what_agrees():
    found = explain(*twice(lambda module, x: module.first(x), lambda module, x: module.first(x) * 2), X)
    assert "what the module returns times 2" in found.flipped, str(found)


def tensorflows_adam(rate, eps):
    """Adds its epsilon to the root before that is corrected."""

    def update(gradients, state, _=None):
        number, first, second = state
        first = jax.tree.map(lambda mean, gradient: 0.9 * mean + 0.1 * gradient, first, gradients)
        second = jax.tree.map(lambda mean, gradient: 0.999 * mean + 0.001 * gradient**2, second, gradients)
        scale = rate * jnp.sqrt(1 - 0.999 ** (number + 1.0)) / (1 - 0.9 ** (number + 1.0))
        changes = jax.tree.map(lambda mean, square: -scale * mean / (jnp.sqrt(square) + eps), first, second)
        return changes, (number + 1, first, second)

    def start(weights):
        zeros = jax.tree.map(jnp.zeros_like, weights)
        return jnp.zeros(()), zeros, zeros

    return optax.GradientTransformation(start, update)


def clip_each(norm):
    def clipped(gradients, _):
        return jax.tree.map(lambda each: each * jnp.minimum(1, norm / jnp.linalg.norm(each)), gradients)

    return optax.stateless(clipped)


class Clipped(torch.optim.AdamW):
    def step(self, closure=None):
        torch.nn.utils.clip_grad_norm_([each for group in self.param_groups for each in group["params"]], 1e-2)
        super().step(closure)


SETTINGS = {"lr": 1e-2, "eps": 1e-3, "weight_decay": 0.1}
ADAM, ADAMW = functools.partial(torch.optim.Adam, lr=1e-2, eps=1e-3), functools.partial(torch.optim.AdamW, **SETTINGS)
OPTIMIZERS = {  # words of the name: torch's optimizer, JAX's
    "as in TensorFlow": (ADAM, tensorflows_adam(1e-2, 1e-3)),
    "epsilon under the root": (ADAM, optax.adam(1e-2, eps=0.0, eps_root=1e-3)),
    "a decay that the rate does not multiply": (
        ADAMW, optax.chain(optax.scale_by_adam(eps=1e-3), optax.scale(-1e-2), optax.add_decayed_weights(-0.1))),
    "each tensor clipped by its own norm": (
        functools.partial(Clipped, **SETTINGS),
        optax.chain(clip_each(1e-2), optax.adamw(1e-2, eps=1e-3, weight_decay=0.1))),
    "a rate that is 0.3 times as large": (ADAMW, optax.adamw(3e-3, eps=1e-3, weight_decay=0.1)),
}  # fmt: skip


@pytest.mark.parametrize("words", OPTIMIZERS)
def test_an_optimizer_of_another_formula_is_named(words):
    def torch_layers(module, x):
        return module.second(torch.tanh(module.first(x))) * module.share

    def jax_layers(module, x):
        return module.second(jnp.tanh(module.first(x))) * module.share[...]

    found = explain(*twice(torch_layers, jax_layers), X, updates=3, optimizers=OPTIMIZERS[words])
    assert words in found.flipped, str(found)


class Ordered(torch.nn.Module):
    """A norm before an activation, or behind it."""

    def __init__(self, norm_first):
        super().__init__()
        self.norm, self.head, self.norm_first = torch.nn.LayerNorm(6), torch.nn.Linear(6, 3), norm_first

    def forward(self, x):
        return self.head(torch.sin(self.norm(x)) if self.norm_first else self.norm(torch.sin(x)))


class FlaxOrdered(nnx.Module):
    def __init__(self, norm_first, rngs):
        self.norm = nnx.LayerNorm(6, epsilon=1e-5, use_fast_variance=False, rngs=rngs)
        self.head, self.norm_first = nnx.Linear(6, 3, rngs=rngs), norm_first

    def __call__(self, x):
        return self.head(jnp.sin(self.norm(x)) if self.norm_first else self.norm(jnp.sin(x)))


@pytest.mark.parametrize("norm_first", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_an_activation_on_the_other_side_of_a_norm_is_named(norm_first):
    ours = Ordered(norm_first).double()
    found = explain(ours, copy_weights(ours, FlaxOrdered(not norm_first, nnx.Rngs(0))), X, gradients=False)
    assert ("before norm, not behind it" if norm_first else "behind norm, not before it") in found.flipped, str(found)
    assert not found.left


class Chained(torch.nn.Module):
    """A wave, then a sum of what came before."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)

    def forward(self, x):
        return self.second(torch.cumsum(self.first(torch.cos(x) * 0.7 + x), 1)).tanh()


class FlaxChained(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second = nnx.Linear(6, 6, rngs=rngs), nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x):
        return jnp.tanh(self.second(jnp.cumsum(self.first(jnp.sin(x) * 0.7 + x)[:, ::-1], 1)[:, ::-1]))


@pytest.mark.exhaustive
def test_what_a_first_cause_leaves_is_said_where_it_begins():
    ours = Chained().double()
    found = explain(ours, copy_weights(ours, FlaxChained(nnx.Rngs(0))), TOKENS, gradients=False)
    assert "sine and cosine exchanged" in found.flipped, str(found)
    assert "cumsum" in found.left, str(found)
    assert "flip(cumsum(flip(" in found.left, str(found)
