"""Attention without scores: random features approach softmax attention, and the two AFTs are one where w is 0."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import jax_impl
import torch_impl
from crosscheck.criterion import prove
from jax_impl.layers import linear_attention as jax_side
from shared.configs.gpt import GPTConfig
from shared.random_features import orthogonal_directions
from torch_impl.layers import linear_attention as torch_side
from torch_impl.layers.attention import masked_softmax, visible_keys

pytestmark = pytest.mark.usefixtures("float64_in_jax")

TIMES, WIDTH = 13, 6
CONFIG = GPTConfig(sequence_length=TIMES, embed_dim=3 * WIDTH, num_heads=3)
Q, K, V = np.random.default_rng(0).standard_normal((3, 2, 3, TIMES, WIDTH)) / 2
POSITIONS = np.arange(TIMES)[None]
COUNTS = (16, 256, 4096)


def softmax_attention():
    q, k, v, positions = map(torch.tensor, (Q, K, V, POSITIONS))
    scores = torch.einsum("bmtd,bmsd->bmts", q, k) / WIDTH**0.5
    return torch.einsum("bmts,bmsd->bmtd", masked_softmax(scores, visible_keys(positions, TIMES), -1), v).numpy()


def test_random_features_approach_softmax_attention_with_their_number():
    exact, errors = softmax_attention(), []
    for count in COUNTS:
        directions = orthogonal_directions(count, WIDTH)
        ours = torch_side.favor_attention(*map(torch.tensor, (Q, K, V, POSITIONS, directions))).numpy()
        theirs = jax_side.favor_attention(*map(jnp.asarray, (Q, K, V, POSITIONS, directions)))
        assert prove(ours, np.asarray(theirs), 0.0).agrees
        errors.append(np.linalg.norm(ours - exact))
    assert all(more < fewer for fewer, more in zip(errors, errors[1:], strict=False))
    assert errors[-1] * COUNTS[-1] ** 0.25 < errors[0] * COUNTS[0] ** 0.25  # about count^(-1/2)


def test_the_two_attention_free_layers_are_one_without_biases():
    learned, simple = torch_impl.AttentionFree(CONFIG).double(), torch_impl.SimpleAttentionFree(CONFIG)
    learned.pair_embedding.weight.data.zero_()
    given = tuple(map(torch.tensor, (Q, K, V, POSITIONS)))
    ours = simple(*given).numpy()
    assert prove(learned(*given).detach().numpy(), ours, 0.0).agrees
    theirs = jax_impl.SimpleAttentionFree(CONFIG, rngs=nnx.Rngs(0))(*map(jnp.asarray, (Q, K, V, POSITIONS)))
    assert prove(ours, np.asarray(theirs), 0.0).agrees


def test_directions_are_orthogonal_in_groups_and_as_long_as_normal_vectors():
    directions = orthogonal_directions(4 * WIDTH, WIDTH)
    lengths = np.linalg.norm(directions, axis=1)
    for first in range(0, 4 * WIDTH, WIDTH):
        group = directions[first : first + WIDTH] / lengths[first : first + WIDTH, None]
        assert prove(np.eye(WIDTH), group @ group.T, 0.0).agrees
    assert len(np.unique(lengths)) == 4 * WIDTH
    assert np.abs((orthogonal_directions(4096, WIDTH) ** 2).mean() - 1) < 4 * np.sqrt(2 / (4096 * WIDTH))
