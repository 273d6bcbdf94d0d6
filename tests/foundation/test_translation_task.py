"""The task of translation: its data from the words on, its batches by the experiment, and what it must beat."""

from dataclasses import replace

import numpy as np
import pytest

from crosscheck.criterion import prove
from experiments.catalogue import find_experiment
from shared.data.pairs.batches import EXACT, MOST_SHAPES
from shared.data.pairs.letters import END
from shared.errors import IsogradError
from shared.tasks.translation import Translation

TASK = Translation()
WORDS = "the ethay\nair airway\nis isway\non onway\noff offway\n"


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "words.txt").write_text(WORDS)

    def load(name="translate-gru-h32-3k", **changes):
        return TASK.load(replace(find_experiment(name), **changes), str(tmp_path))

    return load


def batches(experiment, data, split, number=0):
    return list(data.epoch(experiment, split, number).start_at(0))


def words_of(batch):
    return int(((batch["labels"] == END) & (batch["weights"] > 0)).sum())


def test_words_become_the_ids_of_their_letters(loaded):
    _, data = loaded()
    assert data.counts == {part: sum(len(t) + 1 for _, t in pairs) for part, pairs in data.splits.items()}
    assert {part: len(pairs) for part, pairs in data.splits.items()} == {"train": 4, "validation": 1}
    for split, pairs in (("train", data.content.train), ("validation", data.content.validation)):
        assert [tuple(map(data.codec.decode, pair)) for pair in data.splits[split]] == list(pairs)


def test_an_epoch_holds_the_words_of_its_split_in_batches_of_the_experiment(loaded):
    experiment, data = loaded(batch_size=3)
    assert all(len(batch["labels"]) == 3 for batch in batches(experiment, data, "train"))
    ends = {split: sum(map(words_of, batches(experiment, data, split))) for split in data.counts}
    assert ends == {"train": 4, "validation": 1}


def test_only_training_words_are_shuffled():
    experiment, data = TASK.load(find_experiment("translate-gru-h32-3k"), None)

    def same(split):
        first, second = (batches(experiment, data, split, number) for number in (0, 1))
        return all(np.array_equal(a["labels"], b["labels"]) for a, b in zip(first, second, strict=True))

    assert (same("train"), same("validation")) == (False, True)


def test_a_decoder_alone_reads_joined_sequences(loaded):
    for name, names in (("translate-gru-h32-3k", {"source", "source_mask", "targets"}), ("scaling-h16", {"ids"})):
        experiment, data = loaded(name)
        assert set(experiment.model.inputs) == names
        assert all(batch.keys() == names | {"labels", "weights"} for batch in batches(experiment, data, "train"))


def test_an_experiment_may_ask_for_batches_of_equal_lengths(loaded):
    experiment, data = loaded(bucket_lengths=EXACT)
    assert experiment.bucket_lengths == EXACT
    assert all(b["source_mask"][b["weights"].any(1)].all() for b in batches(experiment, data, "train"))
    assert len(loaded()[0].bucket_lengths) <= MOST_SHAPES


def test_the_baseline_is_the_perplexity_of_the_letters_frequencies(loaded):
    _, data = loaded()
    letters = [token for _, target in data.splits["train"] for token in (*target, END)]
    right = [token for _, target in data.splits["validation"] for token in (*target, END)]
    share = [(1 + letters.count(token)) / (30 + len(letters)) for token in right]
    expected = np.array(np.exp(-np.mean(np.log(share))))
    assert prove(expected, np.array(data.baseline()["perplexity"]), 0.0).agrees


def test_the_lowest_loss_is_best_and_figures_are_told():
    assert [figure.name for figure in TASK.figures] == [
        "perplexity", "word_accuracy", "character_error_rate", "letter_accuracy",
    ]  # fmt: skip
    assert [figure.higher_is_better for figure in TASK.figures] == [False, True, False, True]
    assert (TASK.loss, TASK.unit, TASK.couples_rows) == ("cross_entropy", "letters", False)


def test_a_vocabulary_smaller_than_the_alphabet_is_refused(loaded):
    model = find_experiment("scaling-h16").model
    small = replace(model, arguments={**model.arguments, "vocabulary_size": 29})
    with pytest.raises(IsogradError, match="has a vocabulary of 29, but the alphabet has 30 ids"):
        loaded("scaling-h16", model=small)
