"""Recomputed activations reuse the dropout masks of (seed, step, path), and give the gradients of a plain run."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
import torch
from flax import nnx
from torch.utils.checkpoint import checkpoint

import jax_impl
import torch_impl
from crosscheck.criterion import PROOF, norm, prove
from crosscheck.recording.jax_side import COMPILER_OPTIONS
from crosscheck.recording.nesting import flatten
from crosscheck.twins.pair import Pair, build_pair
from jax_impl.compile_cache import known
from shared import rng
from shared.arrays import Arrays

KEY = rng.fold_in(rng.key_from_seed(3), 17)  # from a seed and a step
NEXT_KEY = rng.fold_in(rng.key_from_seed(3), 18)


@pytest.fixture(params=["MLP", "Attn", "PreNormAttentionBlock"])
def pair(request) -> Pair:
    return build_pair(request.param)


def torch_gradients(pair: Pair, key: rng.Key, recomputed: bool) -> Arrays:
    """The gradient of the sum of squared outputs, by parameter."""
    module = pair.torch.train()
    torch_impl.seed_dropout(module, key)
    called = functools.partial(checkpoint, module, use_reentrant=False) if recomputed else module
    outputs = called(**{name: torch.from_numpy(array) for name, array in pair.inputs.items()})
    loss = sum((output**2).sum() for _, output in flatten(outputs))
    parameters = dict(module.named_parameters())
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    return {name: gradient.numpy() for name, gradient in zip(parameters, gradients, strict=True)}


def jax_gradients(pair: Pair, key: rng.Key, recomputed: bool) -> Arrays:
    """The same, compiled."""
    gradient, parameters = jax_gradient(pair, key, recomputed)
    state = nnx.to_flat_state(
        jax.jit(gradient, compiler_options=known(COMPILER_OPTIONS["cpu"], jax.devices("cpu")[0]))(parameters)
    )
    return {".".join(map(str, path)): np.asarray(variable.get_value()) for path, variable in state}


def jax_gradient(pair: Pair, key: rng.Key, recomputed: bool) -> tuple[Callable[[Any], Any], Any]:
    """The function that computes the gradient, and its argument."""
    pair.jax.train()
    jax_impl.seed_dropout(pair.jax, key)
    graph, parameters, rest = nnx.split(pair.jax, nnx.Param, ...)

    def forward(parameters: Any, inputs: dict[str, jax.Array]) -> Any:
        return nnx.merge(graph, parameters, rest)(**inputs)

    def loss(parameters: Any) -> jax.Array:
        called = jax.checkpoint(forward) if recomputed else forward
        outputs = called(parameters, jax.tree.map(jax.numpy.asarray, pair.inputs))
        return sum((output**2).sum() for _, output in flatten(outputs))

    return jax.grad(loss), parameters


def torch_draws(pair: Pair, recomputed: bool) -> int:
    """How many times a mask is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        drawn = []
        draw = torch_impl.dropout.random_mask
        patch.setattr(torch_impl.dropout, "random_mask", lambda *of: drawn.append(of) or draw(*of))
        torch_gradients(pair, KEY, recomputed)
    return len(drawn)


def jax_draws(pair: Pair, recomputed: bool) -> int:
    """How many times the program draws random bits."""
    gradient, parameters = jax_gradient(pair, KEY, recomputed)
    return str(jax.make_jaxpr(gradient)(parameters)).count("random_bits[")


@pytest.mark.parametrize("draws", [torch_draws, jax_draws])
def test_recomputing_draws_every_mask_twice(pair, draws):
    once, twice = (draws(pair, recomputed) for recomputed in (False, True))
    assert once > 0
    assert twice == 2 * once


def test_recomputed_activations_give_the_same_bits_in_torch(pair):
    plain, recomputed = torch_gradients(pair, KEY, False), torch_gradients(pair, KEY, True)
    assert all(np.array_equal(plain[name], recomputed[name]) for name in plain)


def test_recomputed_activations_give_the_same_gradients_in_jax(pair):
    """XLA may fuse the two programs differently, and so round differently."""
    plain, recomputed = jax_gradients(pair, KEY, False), jax_gradients(pair, KEY, True)
    floor = max(map(norm, plain.values()))
    assert all(prove(plain[name], recomputed[name], floor).agrees for name in plain)


@pytest.mark.parametrize("gradients", [torch_gradients, jax_gradients])
def test_the_masks_of_another_step_give_other_gradients(pair, gradients):
    plain, other = gradients(pair, KEY, False), gradients(pair, NEXT_KEY, True)
    floor = max(map(norm, plain.values()))
    moved = {name for name in plain if not prove(plain[name], other[name], floor).agrees}
    assert moved == {name for name in plain if norm(plain[name]) > PROOF * floor}  # the others are zero in theory
