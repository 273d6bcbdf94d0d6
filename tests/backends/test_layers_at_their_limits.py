"""Layers where their formulas divide by zero, lose digits, or have settings that no twin combines: both sides."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bounds import roundings
from flax import nnx

from crosscheck.criterion import prove
from jax_impl.dropout import seed_dropout as seed_of_jax
from jax_impl.layers import attention as attention_of_jax
from jax_impl.layers.ablations import attention_variants as variants_of_jax
from jax_impl.layers.ablations import linear_attention as linear_of_jax
from jax_impl.layers.gru import BidirectionalGRU as GRUOfJax
from jax_impl.layers.layer_norm import LayerNorm as NormOfJax
from jax_impl.layers.multi_headed_attention import MultiHeadedAttention as HeadsOfJax
from jax_impl.layers.soft_attention import Attn as AttnOfJax
from jax_impl.models.bert import POSITIONS as POSITIONS_OF_JAX
from shared.configs.bert import BertConfig
from shared.rng import key_from_seed
from torch_impl.dropout import seed_dropout
from torch_impl.layers import attention
from torch_impl.layers.ablations import attention_variants, linear_attention
from torch_impl.layers.gru import BidirectionalGRU
from torch_impl.layers.layer_norm import LayerNorm
from torch_impl.layers.multi_headed_attention import MultiHeadedAttention
from torch_impl.layers.soft_attention import Attn
from torch_impl.models.bert import POSITIONS

RNGS = nnx.Rngs(0)
SMALL = (
    np.random.default_rng(0).integers(-9, 10, (2, 3, 7)).astype(np.float32)
)  # plus FAR they are exact, and their sum is not
FAR = np.float32(2**22)
HIDDEN = 4


def on_both_sides(torch_function, jax_function, *arrays):
    with torch.no_grad():
        ours = torch_function(*map(torch.from_numpy, arrays))
    return {"torch": np.asarray(ours), "jax": np.asarray(jax_function(*map(jnp.asarray, arrays)))}


@pytest.mark.parametrize(("positions", "padding_idx"), [("absolute", 0), ("after_padding", 0), ("after_padding", 3)])
def test_the_longest_text_of_a_bert_takes_the_last_position(positions, padding_idx):
    config = BertConfig(sequence_length=16, positions=positions, padding_idx=padding_idx)
    places = [partial(each[positions], padding_idx=padding_idx) for each in (POSITIONS, POSITIONS_OF_JAX)]
    found = on_both_sides(*places, np.full((1, config.context), 9, np.int32))
    assert {int(each.max()) for each in found.values()} == {config.sequence_length - 1}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    for module in (attention, attention_of_jax):
        monkeypatch.setattr(module, "on_a_gpu", lambda x: True)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("is_masked", [True, False])
@pytest.mark.parametrize(("tokens", "padded"), [(1, 8), (7, 8), (8, 8), (9, 16)])
def test_tokens_are_padded_to_a_multiple_of_eight_on_a_gpu_and_padding_is_hidden(tokens, padded, is_masked):
    x, kept = np.ones((2, tokens, 3), np.float32), np.arange(2 * tokens, dtype=np.float32).reshape(2, tokens) + 1
    mask = kept if is_masked else None
    for module, to in ((attention, torch.from_numpy), (attention_of_jax, jnp.asarray)):
        found, seen = module.aligned(to(x), None if mask is None else to(mask))
        assert np.array_equal(found, np.pad(x, ((0, 0), (0, padded - tokens), (0, 0))))
        if mask is None and tokens == padded:
            assert seen is None
        else:
            expected = np.ones_like(kept) if mask is None else mask
            assert np.array_equal(seen, np.pad(expected, ((0, 0), (0, padded - tokens))))
        whole = to(np.ones((2, tokens, tokens), np.float32))  # a mask that tells queries apart is left as it is
        assert [each.shape[1] for each in module.aligned(to(x), whole)] == [tokens, tokens]


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("is_masked", [True, False])
def test_attention_to_padded_tokens_is_attention_to_the_tokens(is_masked, monkeypatch):
    x, mask = np.random.default_rng(0).standard_normal((2, 5, 6)), np.array([[1.0] * 5, [1.0, 1, 1, 0, 0]])
    with jax.enable_x64(True):
        for module, layer, to in (
            (attention, MultiHeadedAttention(3, 2).double(), torch.from_numpy),
            (attention_of_jax, _double(HeadsOfJax(3, 2, rngs=nnx.Rngs(0))), jnp.asarray),
        ):
            arguments = to(x), to(mask) if is_masked else None
            padded = layer(*arguments)
            monkeypatch.setattr(module, "on_a_gpu", lambda x: False)
            plain = layer(*arguments)
            padded, plain = (np.asarray(each.detach() if module is attention else each) for each in (padded, plain))
            assert padded.shape == x.shape
            assert prove(padded, plain, 0.0).agrees


def _double(layer):
    graph, state = nnx.split(layer)
    return nnx.merge(graph, jax.tree.map(lambda leaf: leaf.astype(jnp.float64), state))


def test_a_large_mean_costs_a_norm_no_digit():
    norms = LayerNorm(SMALL.shape[-1]), NormOfJax(SMALL.shape[-1], rngs=RNGS)
    near, far = (on_both_sides(*norms, array) for array in (SMALL, SMALL + FAR))
    assert all(np.array_equal(near[side], far[side]) for side in near)


def test_only_differences_of_keys_count_where_powers_are_averaged():
    near, far = (
        on_both_sides(linear_attention.powers_of, linear_of_jax.powers_of, array[None])
        for array in (SMALL, SMALL + FAR)
    )
    assert all(np.array_equal(near[side], far[side]) and near[side].any() for side in near)


def test_the_cosine_of_a_vector_of_zeros_is_zero_and_has_the_gradient_of_its_floor():
    keys = np.random.default_rng(0).standard_normal((5, 3))
    query = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    cosines = attention_variants.cosine_similarities(query, torch.from_numpy(keys))
    assert not cosines.detach().any()
    (ours,) = torch.autograd.grad(cosines.sum(), query)
    with jax.enable_x64(True):
        theirs = jax.grad(lambda q: variants_of_jax.cosine_similarities(q, jnp.asarray(keys)).sum())(jnp.zeros((1, 3)))
    squares = (keys**2).sum(-1, keepdims=True) + attention_variants.EPSILON
    expected = (keys / np.sqrt(squares)).sum(0, keepdims=True) / np.sqrt(attention_variants.EPSILON)
    assert prove(ours.numpy(), expected, 0.0).agrees
    assert prove(np.asarray(theirs), expected, 0.0).agrees


@pytest.mark.parametrize("implementation", ["reference", "library", "fused"])
def test_lengths_beyond_the_last_step_are_all_steps(implementation):
    inputs, state = SMALL, np.ones((2, 2, HIDDEN), np.float32)
    sizes = (inputs.shape[-1], HIDDEN, 1, implementation)
    layers = BidirectionalGRU(*sizes), GRUOfJax(*sizes, rngs=RNGS)
    for ours, theirs in zip(([5, 2], [3, 0]), ([3, 2], [3, 0]), strict=True):
        beyond, whole = (np.array(each, np.int32) for each in (ours, theirs))
        found = [
            [np.asarray(part) for part in on_one_side(layer, array(inputs), array(state), array(lengths))]
            for layer, array in zip(layers, (torch.from_numpy, jnp.asarray), strict=True)
            for lengths in (beyond, whole)
        ]
        assert all(np.array_equal(*parts) for pair in (found[:2], found[2:]) for parts in zip(*pair, strict=True))


def on_one_side(layer, *arrays):
    with torch.no_grad():
        return layer(*arrays)


def test_a_context_is_the_sum_of_what_attention_weighs_with_the_same_dropout():
    inputs, states, key = SMALL, np.ones((1, 2, SMALL.shape[-1]), np.float32), key_from_seed(7)
    for side in ("torch", "jax"):
        summed, weighed = (_attended(side, pooling, inputs, states, key) for pooling in ("context", "none"))
        assert not weighed.all()
        sizes = np.abs(weighed).sum(axis=1)
        assert (np.abs(summed - weighed.sum(axis=1)) <= roundings(3, "float32") * sizes).all()


def _attended(side, pooling, inputs, states, key):
    torch.manual_seed(0)
    settings = (inputs.shape[-1], 0.5, pooling)
    if side == "torch":
        layer = Attn(*settings).train()
        seed_dropout(layer, key)
        return layer(torch.from_numpy(inputs), torch.from_numpy(states))[0].detach().numpy()
    layer = AttnOfJax(*settings, rngs=nnx.Rngs(0))
    layer.train()
    seed_of_jax(layer, key)
    return np.asarray(layer(jnp.asarray(inputs), jnp.asarray(states))[0])
