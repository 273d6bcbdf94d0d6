"""What layers do for the speed of a GPU changes no number: JAX's LayerNorm sees a matrix, attention even lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bounds import roundings_of_a_deep_gradient
from flax import nnx

import jax_impl
import torch_impl
from jax_impl.layers import attention as jax_attention
from jax_impl.layers import layer_norm
from jax_impl.layers.layer_norm import LayerNorm
from torch_impl.layers import attention as torch_attention

N_TOK, WIDTH = 5, 6
MASKS = {
    "no mask": None,
    "padding": [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]],
    "a row without tokens": [[0, 0, 0, 0, 0], [1, 1, 1, 1, 0]],
    "every head's own": np.tril(np.ones((N_TOK, N_TOK)))[None, None],
}


def by_torch(x: np.ndarray, mask: np.ndarray | None) -> list[np.ndarray]:
    torch.manual_seed(0)
    layer = torch_impl.MultiHeadedAttention(WIDTH // 2, 2).double()
    inputs = torch.tensor(x, requires_grad=True)
    outputs = layer(inputs, None if mask is None else torch.tensor(mask))
    gradients = torch.autograd.grad((outputs * torch.arange(WIDTH)).sin().sum(), [inputs, *layer.parameters()])
    return [each.detach().numpy() for each in (outputs, *gradients)]


def by_jax(x: np.ndarray, mask: np.ndarray | None) -> list[np.ndarray]:
    layer = jax_impl.MultiHeadedAttention(WIDTH // 2, 2, rngs=nnx.Rngs(0))
    graph, weights = nnx.split(layer)
    weights = jax.tree.map(lambda weight: weight.astype(jnp.float64), weights)

    def loss(weights, inputs):
        outputs = nnx.merge(graph, weights)(inputs, None if mask is None else jnp.asarray(mask))
        return jnp.sin(outputs * jnp.arange(WIDTH)).sum(), outputs

    (_, outputs), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(weights, jnp.asarray(x))
    return [np.asarray(each) for each in (outputs, *jax.tree.leaves(gradients))]


@pytest.mark.parametrize("mask", MASKS, ids=str)
@pytest.mark.parametrize(
    ("module", "run"), [(torch_attention, by_torch), (jax_attention, by_jax)], ids=["torch", "jax"]
)
def test_padded_tokens_change_no_output_and_no_gradient(module, run, mask, monkeypatch):
    x = np.random.default_rng(0).standard_normal((2, N_TOK, WIDTH))
    mask = None if MASKS[mask] is None else np.array(MASKS[mask], bool)
    with jax.enable_x64(True):
        plain = run(x, mask)
        monkeypatch.setattr(module, "on_a_gpu", lambda _: True)
        padded = run(x, mask)
    largest = max(np.abs(each).max() for each in plain)  # a bias of the keys has a gradient of zero
    for before, after in zip(plain, padded, strict=True):
        assert np.abs(after - before).max() <= roundings_of_a_deep_gradient() * largest


@pytest.mark.parametrize("module", [torch_attention, jax_attention], ids=["torch", "jax"])
def test_only_a_gpu_pads_and_only_where_lengths_are_uneven(module, monkeypatch):
    def tokens(x):
        x = torch.tensor(x) if module is torch_attention else jnp.asarray(x)
        rows, mask = module.aligned(x, None)
        return rows.shape[1], None if mask is None else mask.shape[1]

    x = np.ones((1, N_TOK, WIDTH), np.float32)
    assert tokens(x) == (N_TOK, None)
    monkeypatch.setattr(module, "on_a_gpu", lambda _: True)
    assert tokens(x) == (8, 8)
    assert tokens(np.ones((1, 16, WIDTH), np.float32)) == (16, None)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 3, 5, 4)], ids=str)
def test_every_sum_in_a_layer_norm_of_jax_and_in_its_gradient_is_over_a_matrix_at_most(shape):
    graph, weights = nnx.split(LayerNorm(shape[-1], rngs=nnx.Rngs(0)))

    def run(weights, x, cotangent):
        outputs, pull = jax.vjp(lambda *both: nnx.merge(graph, both[0])(both[1]), weights, x)
        return outputs, pull(cotangent)

    x = jnp.ones(shape)
    sums = [each for each in jax.make_jaxpr(run)(weights, x, x).eqns if each.primitive.name == "reduce_sum"]
    assert sums
    assert all(each.invars[0].aval.ndim <= 2 for each in sums)


@pytest.mark.parametrize(
    ("shape", "barriers"),
    [((3, 4), {"optimization_barrier"}), ((2, 3, 4), {"optimization_barrier"}), ((2, 1, 4), set()), ((1, 4), set())],
    ids=str,
)
def test_what_feeds_a_layer_norm_is_computed_apart_on_a_gpu_but_not_one_token_at_a_time(shape, barriers, monkeypatch):
    norm, x = LayerNorm(shape[-1], rngs=nnx.Rngs(0)), jnp.arange(float(np.prod(shape))).reshape(shape)

    def program():
        return {each.primitive.name for each in jax.make_jaxpr(lambda x: norm(x))(x).eqns}

    plain, outputs = program(), norm(x)
    monkeypatch.setattr(layer_norm, "on_a_gpu", lambda _: True)
    assert program() - plain == barriers
    assert np.array_equal(norm(x), outputs)
