"""Words and characters of a corpus as tokens: their order, what is unknown, and what is refused."""

import pytest

from shared.data.characters import Characters
from shared.data.words import Words
from shared.errors import IsogradError

TEXTS = ["b a b <UNK> a", "c c a b d <UNK>", "d <UNK> c"]


def test_words_seen_three_times_follow_the_special_tokens_by_frequency_and_then_by_alphabet():
    assert Words.train(TEXTS).tokens == ("<PAD>", "<UNK>", "<START>", "<STOP>", "a", "b", "c")
    assert Words.train([*TEXTS, "c"], least_count=2).tokens[4:] == ("c", "a", "b", "d")


def test_a_line_of_words_starts_and_stops_and_a_rare_word_is_unknown():
    words = Words.train(TEXTS)
    assert words.encode(" a  d b\n") == [2, 4, 1, 5, 3]
    assert words.encode("") == [2, 3]
    assert words.decode([2, 4, 1, 5, 3, 0]) == "a <UNK> b"


def test_characters_are_numbered_by_code_point_and_round_trip():
    characters = Characters.train(["ba\n", "🙂é"])
    assert characters.tokens == ("\n", "a", "b", "é", "🙂")
    assert characters.decode(characters.encode("é🙂ab\n")) == "é🙂ab\n"
    assert characters.vocabulary_size == 5


def test_a_character_that_the_corpus_lacks_is_refused_with_its_place():
    with pytest.raises(IsogradError, match="got 'c' as character 2: write the text with the 2 characters"):
        Characters.train(["ab"]).encode("abc")


@pytest.mark.parametrize("kind", [Words, Characters])
@pytest.mark.parametrize("texts", [[], [""]])
def test_an_empty_corpus_is_refused(kind, texts):
    with pytest.raises(IsogradError, match="pass a corpus that is not empty"):
        kind.train(texts)


@pytest.mark.parametrize("kind", [Words, Characters])
@pytest.mark.parametrize("unknown", [-1, 99])
def test_an_unknown_token_id_is_refused(kind, unknown):
    with pytest.raises(IsogradError, match=f"got {unknown} as number 1"):
        kind.train(TEXTS).decode([0, unknown])
