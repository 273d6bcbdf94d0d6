"""Translators: padding changes no loss, greedy words are equal in both frameworks, and right where predictions are."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import crosscheck
import jax_impl
import torch_impl
from crosscheck import criterion
from shared.configs.translation import ARCHITECTURES, TranslationConfig
from shared.data.pairs.batches import EXACT, PairOrder, ladder
from shared.data.pairs.letters import END, START, Letters
from shared.data.pairs.pig_latin import pig_latin
from shared.errors import IsogradError
from shared.foreign_layouts import to_foreign
from torch_impl.weights import to_tensor

pytestmark = pytest.mark.usefixtures("float64_in_jax")

CODEC = Letters()
WORDS = ("the", "air", "conditioning", "is", "working", "well-known")
PAIRS = [(CODEC.encode(word), CODEC.encode(pig_latin(word))) for word in WORDS]
JOINED = "DecoderOnlyTranslator"
MODELS = ["Translator", "Translator:plain", "Translator:additive", "Translator:transformer", JOINED]
INPUTS = {JOINED: ("ids",)}
WIDTHS = {16: 4862, 128: 268062}  # of SPEC.md, E3: the smallest and the largest size of the scaling law


def batches(name, lengths):
    return PairOrder(PAIRS, 2, lengths, seed=0, number=0, shuffle=False, joined=name == JOINED).start_at(0)


def losses_of_words(module, name, lengths):
    """The sum of the losses of each word, by the ids of its target."""
    found = {}
    for batch in batches(name, lengths):
        inputs = (to_tensor(batch[key]) for key in INPUTS.get(name, ("source", "source_mask", "targets")))
        losses = torch_impl.cross_entropy(module(*inputs), to_tensor(batch["labels"])).detach().numpy()
        for row, labels, weights in zip(losses, batch["labels"], batch["weights"], strict=True):
            if weights.any():
                found[tuple(labels[weights > 0])] = row[weights > 0].sum()
    return found


@pytest.mark.parametrize("name", MODELS)
def test_padding_to_a_ladder_changes_the_loss_of_no_word(name):
    module = crosscheck.build_pair(name).torch.eval()
    exact, padded = (losses_of_words(module, name, lengths) for lengths in (EXACT, ladder(PAIRS)))
    assert len(exact) == len(WORDS)
    assert exact.keys() == padded.keys()
    assert criterion.prove(*(np.array([each[word] for word in exact]) for each in (exact, padded)), 0.0).agrees


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.exhaustive] * (name not in ("Translator:additive", JOINED)))
        for name in MODELS
    ],
)
def test_both_frameworks_write_the_same_words(name):
    pair = crosscheck.build_pair(name)
    sources = [source for source, _ in PAIRS]
    assert np.array_equal(*(side.translate(each, sources, 9) for side, each in both(pair)))


@pytest.mark.parametrize("name", MODELS)
def test_a_word_is_written_exactly_where_its_letters_are_predicted(name):
    """What a model writes is its own target: then every letter and the end are predicted from those before."""
    module = crosscheck.build_pair(name).torch
    written = [
        [int(i) for i in row[: [*row, END].index(END)]]
        for row in torch_impl.translate(module, [s for s, _ in PAIRS], 9)
    ]
    pairs = [(source, word) for (source, _), word in zip(PAIRS, written, strict=True)]
    order = PairOrder(pairs, len(pairs), ladder(pairs)[-1:], seed=0, number=0, shuffle=False, joined=name == JOINED)
    (batch,) = order.start_at(0)
    inputs = (to_tensor(batch[key]) for key in INPUTS.get(name, ("source", "source_mask", "targets")))
    predicted = torch_impl.predicted_classes(module.eval()(*inputs)).numpy()
    is_end = batch["labels"] == END
    written_in_full = np.array([END in row for row in torch_impl.translate(module, [s for s, _ in PAIRS], 9)])
    judged = (batch["weights"] > 0) & ~(is_end & ~written_in_full[:, None])  # words that were cut have no end
    assert np.array_equal(predicted[judged], batch["labels"][judged])


@pytest.mark.parametrize("side", ["torch", "jax"])
def test_what_is_attended_to_is_that_of_the_target_behind_the_start_mark(side):
    module = getattr(crosscheck.build_pair("Translator:additive"), side)
    source, target = PAIRS[2]
    package, place = {"torch": (torch_impl, to_tensor), "jax": (jax_impl, jnp.asarray)}[side]
    inputs = (np.array([source]), np.ones((1, len(source)), bool), np.array([[START, *target]]))
    module.eval()
    with torch.no_grad():
        expected = np.asarray(module.look(*map(place, inputs)))
    assert criterion.prove(expected, package.look(module, source, target)[0], 0.0).agrees


def test_a_word_that_has_ended_stays_ended():
    module = crosscheck.build_pair("Translator:additive").torch
    words = ["".join(letters) for letters in itertools.product("abcdefgh", "klmnop")]
    written = torch_impl.translate(module, [CODEC.encode(word) for word in words], 7)
    behind = [row[list(row).index(END) :] for row in written if END in row[:-1]]
    assert len({len(row) for row in behind}) > 1
    assert {int(letter) for row in behind for letter in row} == {END}


def both(pair):
    return (torch_impl, pair.torch), (jax_impl, pair.jax)


@pytest.mark.parametrize(("width", "parameters"), WIDTHS.items())
def test_a_decoder_alone_has_the_parameters_of_the_scaling_law_beside_its_embedding(width, parameters):
    config = TranslationConfig(hidden_size=width, num_layers=4)
    with torch.device("meta"):
        shapes = {n: p.shape for n, p in torch_impl.DecoderOnlyTranslator(config).named_parameters()}
    assert sum(np.prod(shape) for name, shape in shapes.items() if not name.startswith("characters")) == parameters
    assert shapes["characters.weight"] == (30, width)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_is_built_on_both_sides_with_equal_parameters(architecture):
    config = TranslationConfig(hidden_size=8, architecture=architecture, num_layers=1)
    ours = torch_impl.to_arrays(torch_impl.Translator(config))
    theirs = jax_impl.to_arrays(jax_impl.Translator(config, rngs=nnx.Rngs(0)))
    assert {n: a.shape for n, a in ours.items()} == {n: a.shape for n, a in theirs.items()}


@pytest.mark.parametrize(("sizes", "message"), [
    ({"architecture": "lstm"}, "unknown architecture 'lstm'"),
    ({"hidden_size": 0}, "hidden_size must be at least 1"),
    ({"architecture": "multi_headed", "hidden_size": 10, "num_heads": 3}, "embed_dim must be divisible by num_heads"),
    ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
])  # fmt: skip
def test_sizes_that_make_no_translator_are_refused(sizes, message):
    with pytest.raises(IsogradError, match=message):
        TranslationConfig(**sizes)


@pytest.mark.parametrize("layout", ["torch.nn.GRUCell", "flax.linen.GRUCell"])
def test_a_cell_that_resets_before_the_product_is_no_other_librarys(layout):
    arrays = torch_impl.to_arrays(crosscheck.build_pair("ResetBeforeGRUCell").torch)
    with pytest.raises(IsogradError, match="resets its state before the product"):
        to_foreign(layout, arrays)
