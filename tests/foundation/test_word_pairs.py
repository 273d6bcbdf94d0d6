"""Pig Latin, lists of words and their split, and batches whose padding changes no loss."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.catalogue import find_experiment
from shared.data.pairs.batches import (
    EXACT,
    MOST_SHAPES,
    PairOrder,
    generate_tensors_for_training_decoder_nmt,
    ladder,
    prompts,
)
from shared.data.pairs.edit_distance import edit_distance, scores_by_length, translation_scores
from shared.data.pairs.letters import END, END_OF_PROMPT, LETTERS, START, VOCABULARY_SIZE, Letters
from shared.data.pairs.pig_latin import SHORTEST, pig_latin, reference_words
from shared.data.pairs.sentences import cut, joined, kept
from shared.data.pairs.word_lists import WordPairs, load_pairs, parse_pairs
from shared.errors import IsogradError
from shared.registry import TWINS
from shared.tasks.task import Scored
from shared.tasks.translation import Translation, fit_to_words

TASK = Translation()
CODEC = Letters()
PAIRS = [(CODEC.encode(word), CODEC.encode(pig_latin(word))) for word in reference_words()[::20]]


def order(pairs=PAIRS, lengths=None, joined=False, shuffle=True, number=0, batch_size=16):
    lengths = ladder(pairs) if lengths is None else lengths
    return PairOrder(pairs, batch_size, lengths, seed=3, number=number, shuffle=shuffle, joined=joined)


@pytest.mark.parametrize(("word", "translation"), [
    ("air", "airway"), ("the", "ethay"), ("conditioning", "onditioningcay"), ("yes", "yesay"), ("rhythm", "ythmrhay"),
    ("quick", "ickquay"), ("square", "aresquay"), ("well-known", "ellway-ownknay"), ("nth", "nthay"),
])  # fmt: skip
def test_a_word_is_translated_by_the_rule(word, translation):
    assert pig_latin(word) == translation


def test_qu_moves_as_one_consonant_or_not():
    assert (pig_latin("quick"), pig_latin("quick", qu_together=False)) == ("ickquay", "uickqay")


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "qu_together", "right", "lines"), [
    ("small", True, 3255, 3255), ("large", False, 22494, 22525),
])  # fmt: skip
def test_the_rule_translates_the_files_of_the_course(real_data, name, qu_together, right, lines):
    text = (real_data / "pig_latin" / f"pig_latin_{name}.txt").read_text()
    rows = [line.split() for line in text.splitlines() if line.strip()]
    assert (sum(pig_latin(row[0], qu_together) == row[1] for row in rows), len(rows)) == (right, lines)


def test_the_built_in_words_are_many_different_words_of_the_alphabet():
    words = reference_words()
    assert len(words) >= 2500
    assert words == tuple(sorted(set(words)))  # in the same order in every process, and so split alike
    assert min(map(len, words)) == SHORTEST
    assert all(set(word) <= set(LETTERS) for word in words)


def test_a_fifth_of_the_words_is_held_out_and_stands_on_no_other_side():
    pairs = load_pairs("pig_latin", None)
    sides = [{word for word, _ in part} for part in (pairs.train, pairs.validation)]
    assert not sides[0] & sides[1]
    assert len(sides[0]) == (4 * len(reference_words()) + 2) // 5
    assert pairs == load_pairs("pig_latin", None)


@pytest.mark.parametrize(("text", "message"), [
    ("the ethay\nair\n", "line 2: expected a word and its translation, got 'air'"),
    ("the\tethay\n\tway\n", "line 2: expected a word and its translation, got 'way'"),
    ("a b c\n", "line 1: expected a word and its translation, got 'a b c'"),
    ("\n\n", "expected words of the letters a to z and hyphens, got none"),
    ("É Éway\n", "expected words of the letters a to z and hyphens, got none"),
])  # fmt: skip
def test_a_malformed_file_is_refused_in_one_sentence(text, message):
    with pytest.raises(IsogradError, match=f"words.txt.*{message}"):
        parse_pairs(text, "words.txt")


def test_lines_that_are_left_out_are_counted():
    pairs, note = parse_pairs("the ethay\nthe ethay\nthe ethay\nthe tehay\nÉ x\nair airway\n", "words.txt")
    assert pairs == [("the", "ethay"), ("air", "airway")]
    assert note == (
        " (lines left out: 2 repeated, 1 with a second translation of a word, 1 with characters outside a to z and -)"
    )


def test_a_list_that_is_split_stays_as_it_is(tmp_path):
    (tmp_path / "train.txt").write_text("the ethay\nair airway\n")
    (tmp_path / "valid.txt").write_text("fan anfay\n")
    pairs = load_pairs("pig_latin", str(tmp_path))
    assert (pairs.train, pairs.validation) == ((("the", "ethay"), ("air", "airway")), (("fan", "anfay"),))


def test_a_word_on_both_sides_of_a_split_is_refused(tmp_path):
    (tmp_path / "train.txt").write_text("the ethay\nair airway\n")
    (tmp_path / "valid.txt").write_text("air airway\n")
    with pytest.raises(IsogradError, match=r"no word in both train.txt and valid.txt, got 'air' \(1 in total\)"):
        load_pairs("pig_latin", str(tmp_path))


@pytest.mark.parametrize(("files", "message"), [
    ({}, "found none: pass the file itself"),
    ({"a.txt": "the ethay", "b.txt": "air airway"}, "found a.txt, b.txt"),
    ({"a.txt": "the ethay"}, "expected at least 2 different words to split, got 1"),
])  # fmt: skip
def test_a_folder_without_one_list_of_words_is_refused(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(IsogradError, match=message):
        load_pairs("pig_latin", str(tmp_path))


def test_a_list_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(IsogradError, match="unknown word list 'pig_latn': did you mean 'pig_latin'"):
        load_pairs("pig_latn", None)
    with pytest.raises(IsogradError, match="words.txt does not exist: expected a file of words"):
        load_pairs("pig_latin", str(tmp_path / "words.txt"))


def test_of_two_words_one_is_held_out(tmp_path):
    (tmp_path / "words.txt").write_text("the ethay\nair airway\n")
    pairs = load_pairs("pig_latin", str(tmp_path / "words.txt"))
    assert {*pairs.train, *pairs.validation} == {("the", "ethay"), ("air", "airway")}
    assert len(pairs.train) == len(pairs.validation)


def test_a_list_of_ones_own_is_read_from_its_file_or_folder(tmp_path):
    (tmp_path / "mine.txt").write_text("".join(f"{word}\t{word[::-1]}\n" for word in reference_words()[:50]))
    of_file, of_folder = (load_pairs("pig_latin", str(path)) for path in (tmp_path / "mine.txt", tmp_path))
    assert of_file.fingerprint == of_folder.fingerprint
    assert (len(of_file.train), len(of_file.validation)) == (40, 10)


def test_the_fingerprint_tells_which_words_are_trained_on_and_which_are_held_out():
    air, apple, eat = (("air", "airway"),), (("apple", "appleway"),), (("eat", "eatway"),)
    splits = [(air, apple), (air, eat), (eat, apple), (apple, air), (air + apple, eat), (air, apple + eat)]
    assert len({WordPairs(*both, "", None).fingerprint for both in splits}) == len(splits)


def test_a_long_list_is_not_built_in():
    with pytest.raises(IsogradError, match="large is read from a file: pass --data FILE, or .* of pig_latin_large.txt"):
        load_pairs("pig_latin_large", None)


def test_batches_that_are_not_shuffled_begin_with_the_shortest_words():
    widths = [batch["source"].shape[1] for batch in order(PAIRS[::-1], shuffle=False).start_at(0)]
    assert widths == sorted(widths)
    assert len(set(widths)) == len(ladder(PAIRS))


@pytest.mark.parametrize("joined", [False, True])
def test_an_epoch_has_few_shapes_and_every_pair_once(joined):
    batches = list(order(joined=joined).start_at(0))
    assert len(batches) == len(order(joined=joined))
    assert len({batch["labels"].shape for batch in batches}) <= MOST_SHAPES
    ends = sum(int(((batch["labels"] == END) & (batch["weights"] > 0)).sum()) for batch in batches)
    assert ends == len(PAIRS)


def test_batches_of_equal_lengths_hold_no_padding():
    for batch in order(lengths=EXACT).start_at(0):
        real = batch["weights"].any(axis=1)
        assert batch["source_mask"][real].all()
        assert batch["weights"][real].all()


def test_an_order_depends_on_the_epoch_alone_and_goes_on_anywhere():
    first, again, other = (list(order(number=number).start_at(0)) for number in (0, 0, 1))
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(first, again, strict=True) for name in a)
    assert any(not np.array_equal(a["labels"], b["labels"]) for a, b in zip(first, other, strict=True))
    rest = list(order().start_at(3))
    assert all(np.array_equal(a["labels"], b["labels"]) for a, b in zip(first[3:], rest, strict=True))


def test_every_epoch_puts_other_words_together():
    epochs = (order(lengths=ladder(PAIRS)[-1:], number=number).start_at(0) for number in (0, 1))
    first, other = ({frozenset(map(bytes, batch["labels"])) for batch in epoch} for epoch in epochs)
    assert not first & other


def test_a_pair_is_a_source_and_a_target_moved_by_one():
    (batch,) = order([(CODEC.encode("the"), CODEC.encode("ethay"))], shuffle=False, batch_size=1).start_at(0)
    assert CODEC.decode(batch["source"][0][batch["source_mask"][0]]) == "the"
    assert batch["targets"][0].tolist() == [START, *CODEC.encode("ethay")]
    assert batch["labels"][0].tolist() == [*CODEC.encode("ethay"), END]


def test_a_row_that_is_filled_in_has_no_source_and_no_weight():
    (batch,) = order(PAIRS[:1], shuffle=False, batch_size=2).start_at(0)
    assert batch["source_mask"].any(1).tolist() == [True, False]
    assert batch["weights"].any(1).tolist() == [True, False]


def test_a_decoder_alone_reads_source_and_target_and_is_judged_on_the_target():
    pair = CODEC.encode("the"), CODEC.encode("ethay")
    (batch,) = order([pair], shuffle=False, batch_size=2, joined=True).start_at(0)
    assert batch["ids"][0, :10].tolist() == [START, *pair[0], END_OF_PROMPT, *pair[1]]
    assert batch["labels"][0, :10].tolist() == [*pair[0], END_OF_PROMPT, *pair[1], END]
    assert batch["weights"][0, :10].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert not batch["weights"][1].any()


def test_the_tensors_of_a_decoder_alone_are_those_of_the_course():
    inputs, targets = generate_tensors_for_training_decoder_nmt([[1, 2, 29], [3, 4, 29]], [[5, 28], [6, 28]], START)
    assert inputs.tolist() == [[START, 1, 2, 29, 5], [START, 3, 4, 29, 6]]
    assert targets.tolist() == [[1, 2, 29, 5, 28], [3, 4, 29, 6, 28]]


def test_prompts_are_padded_on_the_right():
    ids, lengths = prompts([[1], [2, 3]])
    assert ids.tolist() == [[START, 1, END_OF_PROMPT, 0], [START, 2, 3, END_OF_PROMPT]]
    assert lengths.tolist() == [3, 4]


def scored(predictions, labels, weights):
    losses = np.ones(np.shape(labels), np.float32)
    return Scored({"labels": np.array(labels), "weights": np.array(weights, np.float32)}, losses, np.array(predictions))


def test_a_word_is_right_if_all_of_its_letters_are():
    predictions, labels = [[1, 2, 9], [1, 9, 3], [9, 9, 9]], [[1, 2, 0], [1, 2, 3], [9, 9, 9]]
    parts = [scored(predictions, labels, [[1, 1, 0], [1, 1, 1], [0, 0, 0]])]  # the last row is filled in
    found = TASK.metrics(find_experiment("translate-gru-h32-3k"), parts)
    assert (found["word_accuracy"], found["letter_accuracy"]) == (1 / 2, 4 / 5)
    assert found["perplexity"] == np.exp(1.0)
    one_letter = scored([[1]], [[1]], [[1]])._replace(losses=np.full((1, 1), 6.0, np.float32))
    found = TASK.metrics(find_experiment("translate-gru-h32-3k"), [*parts, one_letter])  # six letters, not two batches
    assert found["perplexity"] == np.exp((5 + 6) / 6)
    assert (found["word_accuracy"], found["letter_accuracy"]) == (2 / 3, 5 / 6)


def test_an_experiment_gets_the_length_and_the_ladder_of_its_words():
    experiment = find_experiment("translate-gru-h32-3k")
    fitted = fit_to_words(replace(experiment, bucket_lengths=None), PAIRS)
    assert fitted.length == fitted.bucket_lengths[-1] == max(len(target) + 1 for _, target in PAIRS)
    assert len(fitted.bucket_lengths) <= MOST_SHAPES
    assert fit_to_words(experiment, PAIRS) == replace(experiment, length=fitted.length)


@pytest.mark.parametrize("twin", ["Translator", "DecoderOnlyTranslator"])
def test_an_example_batch_has_rows_and_letters_of_weight_0(twin):
    name = "ids" if twin == "DecoderOnlyTranslator" else "targets"
    batch = TASK.example_batch(TWINS[twin], {name: np.zeros((5, 11), int)}, 1)
    assert batch["labels"].shape == batch["weights"].shape == (5, 11)
    assert not batch["weights"][3:].any()


@pytest.mark.parametrize(("found", "expected", "edits"), [
    ("", "", 0), ("kitten", "sitting", 3), ("ethay", "ethay", 0), ("", "abc", 3), ("abcd", "bcd", 1), ("ab", "ba", 2),
])  # fmt: skip
def test_the_edit_distance_counts_insertions_deletions_and_replacements(found, expected, edits):
    assert edit_distance(found, expected) == edits


def test_words_are_scored_as_a_whole_and_by_length():
    assert translation_scores(["ab", "xy"], ["ab", "xx"]) == {"word_accuracy": 0.5, "character_error_rate": 0.25}
    assert translation_scores(["abcd", "x"], ["ab", "xy"])["character_error_rate"] == 3 / 4  # of what was expected
    assert translation_scores(["abcd", "x"], ["ab", "x"])["character_error_rate"] == 2 / 3  # of all letters together
    by_length = scores_by_length(["a", "bb", "cc"], ["x", "y", "z"], ["x", "y", "w"])
    assert {length: (row["words"], row["word_accuracy"]) for length, row in by_length.items()} == {
        1: (1, 1),
        2: (2, 0.5),
    }


def test_a_sentence_keeps_what_is_outside_the_alphabet():
    pieces = cut('The "air" is  on, at 7!')
    assert joined(pieces, {"air": "airway", "is": "isway", "on": "onway"}) == 'The "airway" isway  onway, at 7!'
    assert kept(pieces) == ["The", '"', ",", "7!"]


def test_the_alphabet_is_saved_and_no_other_is_read(tmp_path):
    CODEC.save(tmp_path / "letters.json")
    assert Letters.load(tmp_path / "letters.json").fingerprint == CODEC.fingerprint
    (tmp_path / "other.json").write_text('{"kind": "letters", "letters": "abc"}')
    with pytest.raises(IsogradError, match="expected the alphabet"):
        Letters.load(tmp_path / "other.json")


def test_a_word_becomes_ids_up_to_its_end():
    assert CODEC.decode([*CODEC.encode("a-z"), END, 0, 0]) == "a-z"
    assert (VOCABULARY_SIZE, START, END, END_OF_PROMPT) == (30, 27, 28, 29)
    with pytest.raises(IsogradError, match="got 'É' in 'É'"):
        CODEC.encode("É")
