"""GPT equals transformers' GPT-2, logits and all gradients; no output hangs on a later token; sizes are checked."""

from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from gpt2 import gpt2_of_transformers, layout_of
from proofs import SIDES, assert_proven

import crosscheck
from crosscheck.recording import torch_side
from crosscheck.recording.nesting import as_call
from crosscheck.recording.precision import full_precision
from crosscheck.recording.values import Options
from crosscheck.twins.oracles import Called
from crosscheck.twins.pair import SIDES as PACKAGES
from shared.configs.gpt import PRESETS, GPTConfig
from shared.errors import IsogradError
from shared.foreign_layouts import from_foreign
from shared.registry import TWINS

OPTIONS = Options(np.dtype("float64"))
ROW = 2  # a token before it and one behind it exist


def random_config(seed: int) -> GPTConfig:
    draw = np.random.default_rng(seed).integers
    heads = int(draw(1, 5))
    return GPTConfig(
        vocabulary_size=int(draw(5, 60)),
        sequence_length=int(draw(3, 20)),
        embed_dim=heads * int(draw(1, 8)),
        num_heads=heads,
        num_layers=int(draw(1, 4)),
        hidden_dim=None if seed % 2 else int(draw(1, 40)),
        dropout=0.0,
        tied=bool(seed % 3),
    )


@pytest.mark.parametrize("seed", range(3))
def test_logits_and_all_gradients_equal_those_of_gpt2_in_transformers(seed):
    config, generator = random_config(seed), np.random.default_rng(seed)
    module = {side: PACKAGES[side][1].build_twin(TWINS["GPT"], asdict(config)) for side in SIDES}
    shapes = PACKAGES["torch"][2].parameter_shapes(module["torch"])
    arrays = {name: generator.standard_normal(shape) / 2 for name, shape in shapes.items()}
    inputs = {"inputs": generator.integers(0, config.vocabulary_size, (3, config.sequence_length))}
    reference = Called(gpt2_of_transformers(config, arrays), lambda layer, inputs: layer(inputs).logits)
    with full_precision():
        theirs = torch_side.evaluate(reference, as_call(inputs), OPTIONS)
        gradients = {name.removeprefix("layer."): array for name, array in theirs.parameter_gradients.items()}
        theirs.parameter_gradients = from_foreign(layout_of(config), gradients)
        for side in SIDES:
            PACKAGES[side][2].load_arrays(module[side], arrays)
            assert_proven(SIDES[side].evaluate(module[side], as_call(inputs), OPTIONS), theirs)


def evaluating_pair(name: str) -> crosscheck.Pair:
    pair = crosscheck.build_pair(name)
    pair.torch.eval()
    pair.jax.eval()
    return pair


def leaks(side: str, name: str) -> tuple[bool, bool]:
    """Whether the outputs of steps 0 to ROW change with later inputs, and whether their gradients reach them."""
    pair = evaluating_pair(name)
    x = pair.inputs["x"]
    changed = x.copy()
    changed[:, ROW + 1 :] += 1
    if side == "torch":
        given = torch.tensor(x, requires_grad=True)
        before, after = pair.torch(given), pair.torch(torch.tensor(changed))
        (gradient,) = torch.autograd.grad(before[:, : ROW + 1].sum(), given)
    else:
        before, after = pair.jax(jnp.asarray(x)), pair.jax(jnp.asarray(changed))
        gradient = jax.grad(lambda x: pair.jax(x)[:, : ROW + 1].sum())(jnp.asarray(x))
    past = [np.asarray(y.detach() if side == "torch" else y)[:, : ROW + 1] for y in (before, after)]
    return not np.array_equal(*past), bool(np.asarray(gradient)[:, ROW + 1 :].any())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", ["CausalSelfAttention", "GPTBlock"])
def test_no_output_and_no_gradient_hangs_on_a_later_step(name, side):
    assert leaks(side, name) == (False, False)


@pytest.mark.parametrize("side", SIDES)
def test_attention_that_is_zeroed_after_the_softmax_leaks(side):
    assert leaks(side, "CausalSelfAttention:zeroed") == (True, True)


@pytest.mark.parametrize("name", ["GPT", "GPT:untied"])
def test_no_logit_changes_with_a_later_token(name):
    pair = evaluating_pair(name)
    ids = pair.inputs["inputs"]
    later = ids.copy()
    later[:, ROW + 1 :] = (later[:, ROW + 1 :] + 1) % TWINS[name].arguments["vocabulary_size"]
    for before, after in (
        [pair.torch(torch.tensor(i)).detach().numpy() for i in (ids, later)],
        [np.asarray(pair.jax(jnp.asarray(i))) for i in (ids, later)],
    ):
        assert np.array_equal(before[:, : ROW + 1], after[:, : ROW + 1])
        assert not np.array_equal(before[:, ROW + 1 :], after[:, ROW + 1 :])


@pytest.mark.parametrize("side", SIDES)
def test_more_tokens_than_the_context_holds_are_refused(side):
    pair = crosscheck.build_pair("GPT")
    ids = np.zeros((1, 14), np.int64)
    with pytest.raises(IsogradError, match="expected at most 13 tokens, the context of the model, got 14"):
        getattr(pair, side)(torch.tensor(ids) if side == "torch" else jnp.asarray(ids))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"embed_dim": 10, "num_heads": 3}, "embed_dim must be divisible by num_heads"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"vocabulary_size": -1}, "vocabulary_size must be at least 1, got -1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"attention": "softmux"}, "unknown attention 'softmux': did you mean 'softmax'"),
        ({"depth": 3}, "GPT can't be built with the arguments .* unexpected keyword argument 'depth'"),
    ],
)
def test_sizes_that_make_no_model_are_refused_alike(wrong, sentence):
    for side in SIDES:
        with pytest.raises(IsogradError, match=sentence):
            PACKAGES[side][1].build_twin(TWINS["GPT"], TWINS["GPT"].arguments | wrong)


def test_presets_are_those_of_mingpt_and_gpt2():
    sizes = {name: (c.num_layers, c.num_heads, c.embed_dim) for name, c in PRESETS.items()}
    assert sizes == {"nano": (3, 3, 48), "micro": (4, 4, 128), "mini": (6, 6, 192), "gpt2": (12, 12, 768)}
