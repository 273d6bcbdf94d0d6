"""Ablations of GPT: none sees a later token, a cache changes no token, and what has no causal form is refused.

Random features approach softmax attention, and the two attention free layers are one without biases.
"""

from dataclasses import asdict
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bounds import is_of_one_law
from flax import nnx
from proofs import SIDES

import crosscheck
import jax_impl
import torch_impl
from crosscheck.criterion import prove
from jax_impl.layers.ablations import linear_attention as jax_side
from shared.configs.gpt import GPTConfig
from shared.errors import IsogradError
from shared.initial_weights import orthogonal_directions
from shared.registry import TWINS
from torch_impl import build
from torch_impl.layers.ablations import linear_attention as torch_side
from torch_impl.layers.attention import masked_softmax, visible_keys

LEAKS = "CausalSelfAttention:zeroed"  # what it writes hangs on places that hold no token yet
VARIANTS = [name for name in TWINS if name.startswith("CausalSelfAttention:") and name != LEAKS]
CHANGES = {name: TWINS[name].arguments for name in (*VARIANTS, "GPT:sinusoidal", "GPT:without_positions")}
SETTINGS = ("attention", "similarity", "shared", "projection", "positions")
ROW = 2


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", VARIANTS)
def test_no_output_changes_with_a_later_step(name, side):
    pair = crosscheck.build_pair(name)
    module = getattr(pair, side)
    module.eval()
    changed = pair.inputs["x"].copy()
    changed[:, ROW + 1 :] += 1
    array = torch.tensor if side == "torch" else jnp.asarray
    before, after = (module(array(x)) for x in (pair.inputs["x"], changed))
    before, after = (np.asarray(y.detach() if side == "torch" else y) for y in (before, after))
    assert np.array_equal(before[:, : ROW + 1], after[:, : ROW + 1])
    assert not np.array_equal(before, after)


@pytest.mark.parametrize("name", CHANGES)
def test_a_cache_gives_the_tokens_of_no_cache(name):
    changes = {setting: CHANGES[name][setting] for setting in SETTINGS if setting in CHANGES[name]}
    sizes = {"vocabulary_size": 31, "sequence_length": 16, "embed_dim": 12, "num_heads": 3, "num_layers": 2}
    torch.manual_seed(0)
    module = build.build_twin(TWINS["GPT"], asdict(GPTConfig(**sizes, **changes))).double()
    for parameter in module.parameters():
        parameter.data *= 20  # so that a wrong position changes what is likeliest
    prompts = np.array([[3, 1, 4, 1, 5], [2, 7, 0, 0, 0]])
    found = [torch_impl.generate(module, prompts, lengths=[5, 2], steps=20, cache=cache) for cache in (True, False)]
    assert torch.equal(*found)


def test_a_linformer_has_no_causal_form():
    with pytest.raises(IsogradError, match="a linformer has no causal form: .* would read tokens to come"):
        GPTConfig(attention="linformer")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"similarity": "cosin"}, "unknown similarity 'cosin': did you mean 'cosine'"),
        ({"projection": "mlps"}, "unknown projection 'mlps': did you mean 'mlp'"),
        ({"attention": "attention_fre"}, "unknown attention 'attention_fre': did you mean 'attention_free'"),
        (
            {"attention": "random_features", "similarity": "cosine"},
            "computes no similarities, so 'cosine' has no effect",
        ),
        ({"shared": "vk"}, "unknown shared 'vk': did you mean"),
        ({"positions": "rotory"}, "unknown positions 'rotory': did you mean 'rotary'"),
        ({"positions": "rotary"}, "expected heads of an even width, got 7"),
        ({"positions": "rotary", "embed_dim": 28, "num_heads": 4}, "expected heads of an even width, got 7"),
    ],
)
def test_settings_that_make_no_model_are_refused(wrong, sentence):
    with pytest.raises(IsogradError, match=sentence):
        build.build_twin(TWINS["GPT"], TWINS["GPT"].arguments | wrong)


TIMES, WIDTH = 13, 6
SIZES = GPTConfig(sequence_length=TIMES, embed_dim=3 * WIDTH, num_heads=3)
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
    assert all(more < fewer for fewer, more in pairwise(errors))


def test_the_two_attention_free_layers_are_one_without_biases():
    learned, simple = torch_impl.AttentionFree(SIZES).double(), torch_impl.SimpleAttentionFree(SIZES)
    learned.pair_embedding.weight.data.zero_()
    given = tuple(map(torch.tensor, (Q, K, V, POSITIONS)))
    ours = simple(*given).numpy()
    assert prove(learned(*given).detach().numpy(), ours, 0.0).agrees
    theirs = jax_impl.SimpleAttentionFree(SIZES, rngs=nnx.Rngs(0))(*map(jnp.asarray, (Q, K, V, POSITIONS)))
    assert prove(ours, np.asarray(theirs), 0.0).agrees


def test_directions_are_orthogonal_in_groups_and_as_long_as_normal_vectors():
    directions = orthogonal_directions(4 * WIDTH, WIDTH)
    lengths = np.linalg.norm(directions, axis=1)
    for first in range(0, 4 * WIDTH, WIDTH):
        group = directions[first : first + WIDTH] / lengths[first : first + WIDTH, None]
        assert prove(np.eye(WIDTH), group @ group.T, 0.0).agrees
    assert len(np.unique(lengths)) == 4 * WIDTH
    many = orthogonal_directions(4096, WIDTH)
    assert is_of_one_law(many, np.random.default_rng(1).standard_normal(many.shape))
