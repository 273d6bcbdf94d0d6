"""What a model attends to: the weights of transformers' GPT-2 in both frameworks, and of a translator's decoder."""

import numpy as np
import pytest
import torch
from gpt2 import gpt2_of_transformers

import crosscheck
import jax_impl
import torch_impl
from crosscheck.criterion import prove
from shared.configs.gpt import GPTConfig
from shared.data.pairs.letters import Letters
from shared.errors import IsogradError
from shared.registry import TWINS

IDS = [3, 1, 4, 1, 5]
SOURCE, TARGET = (Letters().encode(word) for word in ("working", "orkingway"))


def seen(name, *texts):
    pair = crosscheck.build_pair(name)
    return torch_impl.look(pair.torch, *texts), jax_impl.look(pair.jax, *texts)


def test_the_weights_of_every_head_are_those_of_transformers():
    ours, theirs = seen("GPT", IDS)
    config = GPTConfig(**TWINS["GPT"].arguments)
    oracle = gpt2_of_transformers(config, torch_impl.to_arrays(crosscheck.build_pair("GPT").torch))
    found = oracle.eval()(torch.tensor([IDS]), output_attentions=True).attentions
    expected = np.stack([each.detach().numpy()[0] for each in found])
    assert expected.shape == (config.num_layers, config.num_heads, len(IDS), len(IDS))
    assert prove(expected, ours, 0.0).agrees
    assert prove(expected, theirs, 0.0).agrees


@pytest.mark.parametrize("name", ["Translator:additive", "Translator"])
def test_each_letter_of_a_translation_spreads_one_over_its_source(name):
    ours, theirs = seen(name, SOURCE, TARGET)
    assert ours.shape == (1, 1, len(TARGET) + 1, len(SOURCE))
    assert prove(ours, theirs, 0.0).agrees
    assert prove(np.ones(ours.shape[:-1]), ours.sum(-1), 0.0).agrees


@pytest.mark.parametrize("name", ["Translator:plain", "DecoderOnlyTranslator"])
@pytest.mark.parametrize("side", ["torch", "jax"])
def test_a_model_without_such_weights_is_refused(name, side):
    module = getattr(crosscheck.build_pair(name), side)
    with pytest.raises(IsogradError, match="this model has no attention weights"):
        {"torch": torch_impl, "jax": jax_impl}[side].look(module, SOURCE, TARGET)


@pytest.mark.parametrize(
    ("ids", "message"),
    [([], "at least one token"), ([0, 10**6], "token ids of the vocabulary"), ([1] * 999, "at most")],
)
@pytest.mark.parametrize("side", ["torch", "jax"])
def test_a_text_that_a_model_can_not_read_is_refused(side, ids, message):
    module = getattr(crosscheck.build_pair("GPT"), side)
    with pytest.raises(IsogradError, match=message):
        {"torch": torch_impl, "jax": jax_impl}[side].look(module, ids)
