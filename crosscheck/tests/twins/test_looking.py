"""What a model attends to: the weights of transformers' GPT-2 in both frameworks, and of a translator's decoder."""

import jax
import numpy as np
import pytest
import torch
from bounds import is_the_slope
from flax import nnx
from gpt2 import gpt2_of_transformers

import crosscheck
import jax_impl
import torch_impl
from crosscheck.criterion import prove
from crosscheck.recording.precision import full_precision
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


class States(torch.nn.Module):
    """The states and attentions of a GPT as what a module gives."""

    def __init__(self, gpt):
        super().__init__()
        self.gpt = gpt

    def forward(self, ids):
        return self.gpt.states(ids)


def in_torch(gpt, draw):
    """A weighted sum of the states and attentions, t steps from the weights of the model, and its slope at 0."""
    read, weights = States(gpt), {name: (each.detach(), draw(each)) for name, each in States(gpt).named_parameters()}

    def total(t):
        moved = {name: each + t * torch.from_numpy(step) for name, (each, step) in weights.items()}
        states, attentions = torch.func.functional_call(read, moved, (torch.tensor([IDS]),))
        return sum((place + 1) * (each**3).sum() for place, each in enumerate([*states, *attentions]))

    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    return lambda t: float(total(t)), float(torch.autograd.grad(total(t), t)[0])


def in_jax(gpt, draw):
    graph, weights, others = nnx.split(gpt, nnx.Param, ...)
    steps = jax.tree.map(draw, weights)

    def total(t):
        moved = nnx.merge(graph, jax.tree.map(lambda each, step: each + t * step, weights, steps), others)
        states, attentions = moved.states(jax.numpy.array([IDS]))
        return sum((place + 1) * (each**3).sum() for place, each in enumerate([*states, *attentions]))

    total = jax.jit(total)
    return lambda t: float(total(t)), float(jax.jit(jax.grad(total))(0.0))


@pytest.mark.parametrize("side", [in_torch, pytest.param(in_jax, marks=pytest.mark.exhaustive)])
def test_a_gradient_flows_through_every_state_and_every_attention(side):
    generator, name = np.random.default_rng(0), side.__name__.removeprefix("in_")
    with full_precision():
        gpt = getattr(crosscheck.build_pair("GPT"), name)
        gpt.eval()
        total, slope = side(gpt, lambda each: generator.standard_normal(each.shape))
        coarse, fine = ((total(h) - total(-h)) / (2 * h) for h in (2e-3, 1e-3))
    assert is_the_slope(slope, coarse, fine)
