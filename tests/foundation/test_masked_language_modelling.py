"""Masked language modelling: what is hidden, what is shown in its place, in which order, and how it is scored."""

from dataclasses import replace

import numpy as np
import pytest
from bounds import is_share

from crosscheck.criterion import prove
from experiments.catalogue import find_experiment
from shared.data.language.corpora import load_corpus
from shared.data.stages import silent
from shared.errors import IsogradError
from shared.registry import TWINS
from shared.tasks.masked_language_modelling import (
    ENDS,
    HiddenTokens,
    MaskedLanguageModelling,
    Pieces,
    _encoded,
    _fitted,
)
from shared.tasks.task import Scored

TASK = MaskedLanguageModelling()
LENGTH, BATCH, WINDOWS = 12, 4, 50
SMALL = replace(find_experiment("mlm-pydoc-small"), length=LENGTH, batch_size=BATCH)
SPECIAL = {"[CLS]": 3, "[SEP]": 4, "[MASK]": 5}
SIZE = 12
IDS = np.random.default_rng(0).integers(6, SIZE, WINDOWS * (LENGTH - ENDS)).astype(np.int32)


class Codec:
    """Ids from 6 on are of ordinary tokens."""

    vocabulary_size = SIZE
    special = staticmethod(SPECIAL.__getitem__)


class Empty:
    """Encodes nothing."""

    encode_batch = staticmethod(lambda documents: [])


def joined(name, number=0, shuffle=False):
    """The rows of an epoch's windows."""
    batches = HiddenTokens(SMALL, IDS, Codec, number, shuffle).start_at(0)
    return np.concatenate([batch[name] for batch in batches])[:WINDOWS]


class LearnedError(Exception):
    """What word pieces would be learned from."""


def test_word_pieces_are_learned_from_the_training_text_alone(monkeypatch):
    def learn(documents, tell):
        raise LearnedError(documents)

    monkeypatch.setattr("shared.tasks.masked_language_modelling.learn_tokenizer", learn)
    with pytest.raises(LearnedError) as found:
        TASK.load(SMALL, None)
    assert found.value.args == ([load_corpus(SMALL.dataset, None).train],)


def test_a_hidden_token_is_replaced_by_any_of_the_vocabulary():
    ids, labels = (np.concatenate([joined(name, number) for number in range(30)]) for name in ("ids", "labels"))
    assert set(ids[ids != labels]) - set(SPECIAL.values()) == set(range(SIZE)) - set(SPECIAL.values())
    of_rows = [{*shown} - {*right} - {*SPECIAL.values()} for shown, right in zip(ids, labels, strict=True)]
    assert max(map(len, of_rows)) > 1  # each by one of its own


def test_fifteen_of_a_hundred_tokens_are_hidden_and_each_has_a_fate_of_its_own():
    """Devlin et al. 2019: of the hidden ones 80 % become [MASK], 10 % any token of the vocabulary, 10 % stay."""
    rows = {
        name: np.concatenate([joined(name, number) for number in range(200)]) for name in ("ids", "labels", "weights")
    }
    ids, labels, hidden = (rows[name][:, 1:-1] for name in ("ids", "labels", "weights"))
    hidden = hidden > 0
    by_chance = 0.1 / SIZE  # any token may be [MASK] or the one that was there
    masked, kept, count = ids == SPECIAL["[MASK]"], ids == labels, int(hidden.sum())
    assert is_share(count, hidden.size, 0.15 + 0.85 ** (LENGTH - ENDS) / (LENGTH - ENDS))  # one where there was none
    assert is_share(int((masked & hidden).sum()), count, 0.8 + by_chance)
    assert is_share(int((kept & hidden).sum()), count, 0.1 + by_chance)
    pairs = hidden.sum(1) == 2
    assert is_share(
        int((masked & hidden)[pairs].all(1, where=hidden[pairs]).sum()), int(pairs.sum()), 0.8**2 + by_chance
    )


def test_every_epoch_hides_other_tokens_of_the_same_window():
    assert np.array_equal(joined("labels", 0), joined("labels", 1))
    assert not np.array_equal(joined("weights", 0), joined("weights", 1))


def test_every_window_hides_at_least_one_token_and_shows_the_others_as_they_are():
    rows = {
        name: np.concatenate([joined(name, number) for number in range(10)]) for name in ("ids", "labels", "weights")
    }
    hidden = rows["weights"] > 0
    assert hidden.any(1).all()
    shown = ~hidden[:, 1:-1]
    assert np.array_equal(rows["ids"][:, 1:-1][shown], rows["labels"][:, 1:-1][shown])


def test_training_reads_all_windows_in_an_order_of_each_epoch_and_validation_in_theirs():
    rows = IDS.reshape(WINDOWS, -1).tolist()
    orders = [joined("labels", number, shuffle)[:, 1:-1].tolist() for number in (0, 1) for shuffle in (False, True)]
    assert orders[0] == orders[2] == rows
    assert sorted(orders[1]) == sorted(orders[3]) == sorted(rows)
    assert orders[1] != rows
    assert orders[1] != orders[3]


def test_the_baseline_counts_every_token_once_more():
    pieces = Pieces(None, Codec, {"train": np.array([7, 7, 7, 8]), "validation": np.array([7, 8, 9])})
    rates = np.array([4, 2, 1]) / (4 + SIZE)
    found = pieces.baseline()
    assert prove(np.array(found["perplexity"]), np.exp(-np.log(rates).mean()), 0.0).agrees
    assert found["accuracy"] == 1 / 3


@pytest.mark.parametrize("is_right", [True, False])
def test_hidden_tokens_alone_are_scored(is_right):
    scored, hidden_losses = [], []
    for seed, batch in enumerate(HiddenTokens(SMALL, IDS, Codec, 0, False).start_at(0)):  # the last holds two windows
        hidden = batch["weights"] > 0
        predictions = np.where(hidden == is_right, batch["labels"], 0)
        losses = np.where(hidden, seed + np.random.default_rng(seed).random(hidden.shape), 100.0).astype(np.float32)
        scored.append(Scored(batch, losses, predictions))
        hidden_losses.append(losses[hidden].astype(float))
    found = TASK.metrics(SMALL, scored)
    assert found["accuracy"] == is_right
    assert prove(np.array(found["perplexity"]), np.exp(np.concatenate(hidden_losses).mean()), 0.0).agrees


def test_the_figures_say_which_is_better():
    assert [(figure.name, figure.higher_is_better) for figure in TASK.figures] == [
        ("perplexity", False),
        ("accuracy", True),
    ]
    assert not TASK.couples_rows


@pytest.mark.parametrize("seed", [0, 1])
def test_an_example_batch_has_labels_of_the_vocabulary_and_rows_of_padding(seed):
    inputs = {"ids": np.zeros((4, 6), np.int32)}
    batch = TASK.example_batch(TWINS["BertForMaskedLM"], inputs, seed)
    expected = np.ones((4, 6))
    expected[3 - seed :], expected[0, 3:] = 0, 0
    assert batch["weights"].tolist() == expected.tolist()
    assert set(batch["labels"].ravel().tolist()) <= set(range(TWINS["BertForMaskedLM"].arguments["vocabulary_size"]))
    assert [batch[name].dtype.name for name in ("ids", "labels", "weights")] == ["int32", "int32", "float32"]
    assert batch["ids"] is inputs["ids"]


def test_a_text_without_tokens_is_refused():
    with pytest.raises(IsogradError, match="expected a train text of at least one token"):
        _encoded(Empty, silent, "train", [])


def with_sizes(**sizes):
    return replace(SMALL, model=replace(SMALL.model, arguments={**SMALL.model.arguments, **sizes}))


def test_sizes_that_are_left_open_follow_from_the_vocabulary_and_the_window():
    found = _fitted(with_sizes(vocabulary_size=None, sequence_length=None), Codec).model.arguments
    assert (found["vocabulary_size"], found["sequence_length"]) == (SIZE, LENGTH)
    given = with_sizes(vocabulary_size=SIZE + 1, sequence_length=LENGTH + 1)
    assert _fitted(given, Codec) == given
    with pytest.raises(IsogradError, match="has vocabulary_size 11, less than 12: pass a smaller vocabulary"):
        _fitted(with_sizes(vocabulary_size=SIZE - 1, sequence_length=LENGTH), Codec)
