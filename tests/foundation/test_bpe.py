"""Byte-level BPE equals the library's, in training and in encoding; any bytes round-trip; damaged files are refused."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from shared.data.bpe import BPE
from shared.data.texts import read_text
from shared.errors import IsogradError

CORPUS = (
    "the cat sat on the mat, and the other cat's mat sat there too.\n\n  It'll rain: 1234 cats, 567 mats!\t"
    "aaaa aaaaaa abab ababab été naïve Ünïcödé 日本語 日本 🙂🙂 the theatre, then there\n"
)
OURS = BPE.train([CORPUS, CORPUS[::-1]], 330)
GPT2 = "vocabs/gpt2/encoder.json", "vocabs/gpt2/vocab.bpe"
SURROGATES = st.characters(categories=["Cs"])
quickly = settings(max_examples=150, deadline=None)


def library(bpe, folder):
    """The library's tokenizer with our vocabulary, through GPT-2's two files."""
    files = folder / "encoder.json", folder / "vocab.bpe"
    bpe.save(*files)
    return library_of(*files)


def library_of(encoder, merges):
    pairs = [tuple(line.split(" ")) for line in merges.read_text("utf-8").split("\n")[1:] if line]
    tokenizer = Tokenizer(models.BPE(json.loads(encoder.read_text("utf-8")), pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return library(OURS, tmp_path_factory.mktemp("bpe"))


@quickly
@given(st.one_of(st.text(), st.text(alphabet=sorted(set(CORPUS)), max_size=60)))
@example("e\u0301\u200d\U0001f469\u200d\U0001f680\x00\x1c\x85\u00a0\u2003 \u3000\n\t '' 's 'S \u06dd\u0661\u00b2")
def test_encoding_and_decoding_equal_the_librarys(theirs, text):
    ids = OURS.encode(text)
    assert ids == theirs.encode(text).ids
    assert OURS.decode(ids) == text
    assert OURS.decode(ids[1:]) == theirs.decode(ids[1:])  # may begin inside a character


@quickly
@given(
    st.lists(st.text(alphabet="aab c\u00e9\U0001f642'1", max_size=30), min_size=1).filter(any),
    st.integers(256, 300),
)
@example(["aaaaa aaaa aaa abab"], 270)
def test_training_makes_the_librarys_merges(texts, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, special_tokens=[])
    tokenizer.train_from_iterator(texts, trainer)
    expected = json.loads(tokenizer.to_str())["model"]
    ours = BPE.train(texts, size)
    assert len(ours.merges) == len(expected["merges"])
    assert {"".join(tokenizer.id_to_token(i)): i for i in ours.tokens} == expected["vocab"]
    assert [ours.encode(text) for text in texts] == [tokenizer.encode(text).ids for text in texts]


def test_the_most_frequent_pair_is_merged_first_and_of_equal_ones_the_smallest_ids():
    ours = BPE.train(["xyxy bcbc bc zz"], 260)
    merged = [ours.tokens[token] for token in ours.merges.values()]
    assert merged == [b"bc", b"xy", b" bc", b"zz"]  # 3 times, twice and twice; once, where the ids of letters are small


def test_training_stops_where_no_neighbours_are_left():
    assert BPE.train(["abc"], 1000).vocabulary_size == 258


@quickly
@given(st.binary())
@example(b"\xff\xfea \xc3(\xe2\x82\xed\xa0\x80 abc")
def test_any_bytes_round_trip(data):
    assert OURS.decode_bytes(OURS.encode_bytes(data)) == data


@quickly
@given(st.text())
def test_a_text_has_the_ids_of_its_bytes(text):
    assert OURS.encode_bytes(text.encode()) == OURS.encode(text)


@quickly
@given(st.text(max_size=5), SURROGATES, st.text(max_size=5))
def test_half_of_a_surrogate_pair_is_refused(before, half, after):
    with pytest.raises(IsogradError, match=f"half of a surrogate pair, as character {len(before)}"):
        OURS.encode(before + half + after)
    with pytest.raises(IsogradError, match="half of a surrogate pair"):
        BPE.train([before + half + after], 300)


def test_saved_files_are_read_back_with_tokens_that_no_text_gives(tmp_path):
    files = tmp_path / "encoder.json", tmp_path / "vocab.bpe"
    OURS.save(*files)
    ids = json.loads(files[0].read_text()) | {"<|endoftext|>": 330}
    files[0].write_text(json.dumps(ids))
    read = BPE.load(*map(str, files))
    assert (read.alphabet, read.merges, read.special) == (OURS.alphabet, OURS.merges, {"<|endoftext|>": 330})
    assert read.decode([330, *read.encode("the cat")]) == "<|endoftext|>the cat"
    assert 330 not in read.encode("<|endoftext|>")
    read.save(*files)
    assert json.loads(files[0].read_text()) == ids


@pytest.mark.parametrize(("size", "texts"), [(255, ["a"]), (300, []), (300, ["", ""])])
def test_nothing_to_learn_from_is_refused(size, texts):
    with pytest.raises(IsogradError, match="got (a size of 255|no character)"):
        BPE.train(texts, size)


@pytest.mark.parametrize("ids", [[330], [0, -1]])
def test_an_unknown_token_id_is_refused(ids):
    with pytest.raises(IsogradError, match=f"got {ids[-1]} as number {len(ids) - 1}"):
        OURS.decode(ids)


SMALL = BPE.train(["abab"], 258)  # the merges: a b, then ab ab
DAMAGES = {  # what is damaged: (file, text, its replacement, the sentence)
    "merges out of order": (1, "a b\nab ab", "ab ab\na b", "line 2: expected a merge of bytes or of tokens merged"),
    "a merge twice": (1, "ab ab", "a b", "line 3: expected a new token, got 'ab' again"),
    "a merge of three": (1, "a b", "a b c", "line 2: expected two tokens with a space between"),
    "an empty line": (1, "a b\n", "a b\n\n", "line 3: expected two tokens with a space between"),
    "a merge of unknown tokens": (1, "ab ab", "ab xyz", "line 3: expected a merge of bytes or of tokens merged"),
    "a merge without an id": (1, "ab ab", "ab c", "line 3: the merged token 'abc' has no id"),
    "no JSON": (0, "{", "[", "expected a JSON object of tokens and their ids"),
    "a list": (0, "{", "[{", "expected a JSON object"),
    "a token without a byte": (0, '"!": 0', '"!!": 0', "got none for 0x21"),
    "an id twice": (0, '"#": 2', '"#": 1', "got the same id for two tokens"),
    "a negative id": (0, '"#": 2', '"#": -2', "got -2 for '#'"),
    "an id that is no number": (0, '"#": 2', '"#": true', "got True for '#'"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_refused(damage, tmp_path):
    files = tmp_path / "encoder.json", tmp_path / "vocab.bpe"
    SMALL.save(*files)
    which, text, replacement, sentence = DAMAGES[damage]
    content = files[which].read_text("utf-8")
    assert text in content
    files[which].write_text(content.replace(text, replacement, 1), "utf-8")
    with pytest.raises(IsogradError, match=f"{files[which].name}.*{sentence}"):
        BPE.load(*files)


def test_bytes_that_are_not_utf8_are_refused_with_their_offset(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_bytes("é is".encode() + b"\xe9")
    with pytest.raises(IsogradError, match="corpus.txt: expected UTF-8 text, got the byte 0xe9 at offset 5"):
        read_text(path)
    with pytest.raises(IsogradError, match="missing.txt: expected a readable text file"):
        read_text(tmp_path / "missing.txt")


@pytest.mark.slow
@pytest.mark.real_data
def test_the_ids_of_gpt2_equal_the_librarys_on_all_of_wikitext(real_data):
    files = [real_data / name for name in GPT2]
    ours, theirs = BPE.load(*files), library_of(*files)
    for name in ("valid.txt", "test.txt", "train.txt.gz"):
        text = read_text(real_data / "wikitext-2" / name)
        ids = ours.encode(text)
        assert ids == theirs.encode(text).ids
        assert ours.decode(ids) == text
