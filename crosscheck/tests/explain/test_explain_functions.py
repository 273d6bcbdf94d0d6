"""`explain` names the default that causes the difference between a torch function and its port to JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
import torch.nn.functional as F
from own_pairs import normal

from crosscheck.explain import explain

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
    "ties of a maximum": ("D47", lambda x: x.max(-1)[0], lambda x: x.max(-1), np.concatenate([X, X], -1)),
    "the slope of a hard sigmoid": ("D102", F.hardsigmoid, jax.nn.hard_sigmoid, X),
    "float32 inside": ("D73", torch.tanh, lambda x: jnp.tanh(x.astype("float32")).astype(x.dtype), X),
    "fused attention in float64": ("D69", F.scaled_dot_product_attention, fused_attention, (Q, K, V)),
}


@pytest.mark.parametrize(("row", "ours", "theirs", "inputs"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_default_of_a_function_is_named(row, ours, theirs, inputs):
    found = explain(ours, theirs, inputs)
    assert found.divergence is not None, str(found)
    assert found.divergence.id == row, str(found)
