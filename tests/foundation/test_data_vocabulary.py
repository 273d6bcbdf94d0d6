"""Tokenizers: the ids of bert-base-uncased, where a vocabulary is looked for, and what is refused."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import Tokenizer

from shared.data import load_reviews, load_tokenizer, wordpiece
from shared.data.vocabulary import FILES
from shared.errors import IsogradError
from shared.pretrained.initial import VOCABULARIES

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "food", "is", "good", "cafe", "##s", "!"]
YELP = '"1","the food is bad"\n"2","the food is good, good food!"\n'


def write_vocabulary(path, tokens=TOKENS):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def reviews(tmp_path):
    folder = tmp_path / "data" / "reviews"
    folder.mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        (folder / name).write_text(YELP)
    return load_reviews("yelp_polarity", str(folder))


def ids(tokenizer, text, max_length=None):
    return tokenizer.encode_batch([text], max_length)[0].tolist()


def test_a_vocab_txt_lowers_case_strips_accents_and_adds_the_special_tokens(tmp_path, reviews):
    tokenizer = load_tokenizer(write_vocabulary(tmp_path / "vocab.txt"), reviews)
    assert ids(tokenizer, "The CAFÉS, good!") == [2, 5, 9, 10, 1, 8, 11, 3]
    assert ids(tokenizer, "good [MASK]") == [2, 8, 4, 3]
    assert tokenizer.encode_batch(["good"])[0].dtype == np.int32
    assert (tokenizer.vocabulary_size, tokenizer.pad_id) == (12, 0)


@pytest.mark.parametrize(
    ("between", "end"), [("\r\n", "\r\n"), ("\n", "")], ids=["of Windows", "without a last line end"]
)
def test_a_vocab_txt_has_one_token_a_line_whatever_its_line_ends(tmp_path, reviews, between, end):
    path = write_vocabulary(tmp_path / "vocab.txt")
    plain, tokens = load_tokenizer(path, reviews), path.read_text("utf-8").splitlines()
    path.write_bytes((between.join(tokens) + end).encode())
    found = load_tokenizer(path, reviews)
    assert ids(found, f"The CAFÉS, {tokens[-1]}") == ids(plain, f"The CAFÉS, {tokens[-1]}")
    assert found.vocabulary_size == plain.vocabulary_size


def test_a_long_text_is_cut_with_its_last_token_kept(tmp_path, reviews):
    tokenizer = load_tokenizer(write_vocabulary(tmp_path / "vocab.txt"), reviews)
    assert ids(tokenizer, "the food is good", 4) == [2, 5, 6, 3]
    assert ids(tokenizer, "the food is good") == [2, 5, 6, 7, 8, 3]


def test_a_tokenizer_json_gives_the_ids_of_its_vocab_txt_whatever_it_says_about_padding(tmp_path, reviews):
    plain = load_tokenizer(write_vocabulary(tmp_path / "vocab.txt"), reviews)
    saved = Tokenizer.from_str(plain.tokenizer.to_str())
    saved.enable_truncation(3)
    saved.enable_padding(length=20)
    saved.save(str(tmp_path / "tokenizer.json"))
    from_json = load_tokenizer(tmp_path / "tokenizer.json", reviews)
    assert ids(from_json, "the food is good") == ids(plain, "the food is good")


def test_the_built_in_words_are_padding_unknown_and_then_sorted():
    tokenizer = load_tokenizer(None, load_reviews("verbal_arithmetic"))
    assert tokenizer.vocabulary_size == 24
    assert ids(tokenizer, "[PAD] eight minus billion zero") == [0, 2, 9, 1, 23]


@pytest.mark.parametrize("vocabulary", ["words", "word pieces"])
def test_a_vocabulary_is_that_of_the_training_texts_alone(tmp_path, reviews, monkeypatch, vocabulary):
    read = []

    def learned(texts, *_):
        read.append(tuple(texts))
        return wordpiece.from_tokens(TOKENS, "learned")

    monkeypatch.setattr(wordpiece, "trained", learned)
    monkeypatch.setattr("shared.data.vocabulary._words", learned)
    load_tokenizer(None, replace(reviews, vocabulary=vocabulary), cache_dir=tmp_path)
    assert read == [reviews.train.texts]


def test_a_vocabulary_is_looked_for_in_the_stated_order(tmp_path, reviews):
    def found():
        return load_tokenizer(None, reviews, cache_dir=tmp_path / "cache").origin

    assert "trained on the training texts" in found()
    beside = write_vocabulary(tmp_path / "data" / "vocabs" / "bert-base-uncased" / "vocab.txt")
    assert str(beside) in found()
    inside = write_vocabulary(reviews.folder / "vocab.txt")
    assert str(inside) in found()
    explicit = write_vocabulary(tmp_path / "mine.txt")
    assert str(explicit) in load_tokenizer(explicit, reviews).origin
    assert str(inside) in load_tokenizer(reviews.folder, reviews).origin
    load_tokenizer(inside, reviews).save(reviews.folder / "tokenizer.json")
    assert str(reviews.folder / "tokenizer.json") in found()
    assert str(reviews.folder / "tokenizer.json") in load_tokenizer(reviews.folder, reviews).origin
    assert [*FILES] == [*VOCABULARIES]


def test_a_trained_vocabulary_comes_from_the_cache_the_second_time(tmp_path, reviews, monkeypatch):
    first = load_tokenizer(None, reviews, cache_dir=tmp_path)
    monkeypatch.setattr(wordpiece, "train_tokens", lambda texts: pytest.fail("trained again"))
    assert load_tokenizer(None, reviews, cache_dir=tmp_path).fingerprint == first.fingerprint


@pytest.mark.parametrize("setting", ["LARGEST_VOCABULARY", "LEAST_FREQUENCY", "RARE_CHARACTERS", "LONGEST_WORD"])
def test_a_vocabulary_that_was_trained_with_other_settings_is_not_taken_from_the_cache(
    tmp_path, reviews, monkeypatch, setting
):
    for number in (1, 2):
        load_tokenizer(None, reviews, cache_dir=tmp_path)
        assert len([*tmp_path.glob("vocab-*.txt")]) == number
        monkeypatch.setattr(wordpiece, setting, getattr(wordpiece, setting) + 1)


def test_a_vocabulary_of_texts_that_end_elsewhere_is_not_taken_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(wordpiece, "train_tokens", lambda texts, report: [*wordpiece.SPECIAL, *texts])
    for texts in (("ab", "c"), ("a", "bc", "d"), ("a", "bc")):
        assert wordpiece.trained(texts, tmp_path).token_to_id(texts[1]) == 6
    assert wordpiece.trained(("a", "bc"), tmp_path).token_to_id("d") is None


def test_a_damaged_cached_vocabulary_is_rebuilt(tmp_path, reviews):
    first = load_tokenizer(None, reviews, cache_dir=tmp_path)
    next(tmp_path.glob("vocab-*.txt")).write_bytes(b"\xff")
    assert load_tokenizer(None, reviews, cache_dir=tmp_path).fingerprint == first.fingerprint


def test_a_trained_vocabulary_is_the_same_in_every_process():
    program = (
        "from shared.data.wordpiece import train_tokens\n"
        "texts = [f'{a}{b}{c} {c}{b}{a}' for a in 'abcdef' for b in 'ghijkl' for c in 'mnopqr'] * 2\n"
        "print(train_tokens(texts))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True) for _ in range(3)
    ]
    assert len(runs[0].stdout) > 1000
    assert runs[0].stdout == runs[1].stdout == runs[2].stdout


def test_a_word_is_learned_from_up_to_the_length_that_is_encoded():
    longest, too_long = "x" * 100, "y" * 101
    kept = wordpiece._without_long_words([f"{longest}.", f"a {too_long}. {longest}!"])
    assert kept == [f"{longest}.", f"a . {longest}!"]


REFUSED = {
    "a padding token that is not 0": (["[UNK]", "[PAD]", "[CLS]", "[SEP]"], r"\[PAD\] at id 0, got {'\[PAD\]': 1}"),
    "missing special tokens": (["[PAD]", "[UNK]", "a"], r"missing \[CLS\], \[SEP\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_unusable_vocabulary_is_refused(tmp_path, reviews, case):
    tokens, sentence = REFUSED[case]
    with pytest.raises(IsogradError, match=sentence):
        load_tokenizer(write_vocabulary(tmp_path / "vocab.txt", tokens), reviews)


def test_a_missing_or_damaged_vocabulary_is_named(tmp_path, reviews):
    with pytest.raises(IsogradError, match=r"absent: expected a vocab\.txt or a tokenizer\.json"):
        load_tokenizer(tmp_path / "absent", reviews)
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "trunc')
    with pytest.raises(IsogradError, match=r"tokenizer\.json: expected a tokenizer\.json"):
        load_tokenizer(tmp_path / "tokenizer.json", reviews)
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xff\xfe\n")
    with pytest.raises(IsogradError, match=r"vocab\.txt: expected a UTF-8 file"):
        load_tokenizer(tmp_path / "vocab.txt", reviews)


@pytest.mark.real_data
@pytest.mark.parametrize("file", ["vocab.txt", "tokenizer.json"])
def test_real_reviews_get_the_ids_of_transformers(real_data, file):
    transformers = pytest.importorskip("transformers")
    folder = real_data / "vocabs" / "bert-base-uncased"
    splits = load_reviews("yelp_polarity", str(real_data / "yelp_polarity_small"))
    texts = [*splits.train.texts[:50], "Crème brûlée 寿司 \u2028 [MASK] isn't ［SEP］ 😀 x" + "y" * 101]
    theirs = transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    expected = theirs(texts, truncation=True, max_length=256)["input_ids"]
    ours = load_tokenizer(folder / file, splits).encode_batch(texts, 256)
    assert theirs.vocab_size == load_tokenizer(folder / file, splits).vocabulary_size == 30_522
    assert [row.tolist() for row in ours] == expected
    assert max(map(len, expected)) == 256


@pytest.mark.real_data
def test_the_real_yelp_folder_finds_the_vocabulary_beside_it(real_data):
    splits = load_reviews("yelp_polarity", str(real_data / "yelp_polarity_small"))
    assert load_tokenizer(None, splits).vocabulary_size == 30_522


def test_a_saved_tokenizer_has_the_same_bytes_whatever_was_encoded_before(tmp_path, reviews):
    tokenizer = load_tokenizer(write_vocabulary(tmp_path / "vocab.txt"), reviews)
    tokenizer.save(tmp_path / "before.json")
    tokenizer.encode_batch(["the food"], max_length=3)
    tokenizer.save(tmp_path / "after.json")
    assert (tmp_path / "before.json").read_bytes() == (tmp_path / "after.json").read_bytes()
