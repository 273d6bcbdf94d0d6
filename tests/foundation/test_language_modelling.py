"""Language modelling: every token is predicted once, figures are exact, and texts that are too short are refused."""

import json
import math
import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from crosscheck.criterion import prove
from experiments.catalogue import find_experiment
from shared.configs.experiment import SamplesConfig
from shared.data.bpe import BPE
from shared.data.language import fast_bpe
from shared.data.language.corpora import CUTS, Texts, load_corpus
from shared.data.language.text_codec import TextCodec
from shared.errors import IsogradError
from shared.tasks.language_modelling import LanguageModelling, Stream, Tokens, Windows
from shared.tasks.task import Scored

TASK = LanguageModelling()
LENGTH, BATCH = 5, 3
SMALL = replace(find_experiment("lm-shakespeare-char-small"), length=LENGTH, batch_size=BATCH)
IDS = np.arange(100, 144, dtype=np.int32)  # a token is 100 + its place
FILLER = 7


class Codec:
    """Where a token's bytes are the token itself."""

    filler, bytes_of_tokens = FILLER, np.arange(200, dtype=np.int32)


def windows(number=0, shuffle=True, experiment=SMALL, ends=(44,)):
    return Windows(experiment, Stream(IDS, np.array(ends)), Codec, number, shuffle)


def real(batches, name):
    return np.concatenate([batch[name][batch["weights"] > 0] for batch in batches])


def test_a_validation_predicts_every_token_but_the_first_once_from_the_one_before():
    batches = list(windows(shuffle=False).start_at(0))
    assert real(batches, "labels").tolist() == IDS[1:].tolist()
    assert real(batches, "ids").tolist() == IDS[:-1].tolist()
    assert real(batches, "bytes").tolist() == IDS[1:].tolist()
    assert {batch[name].shape for batch in batches for name in batch} == {(BATCH, LENGTH)}
    assert {name: batches[0][name].dtype.name for name in ("ids", "labels", "weights")} == (
        {"ids": "int32", "labels": "int32", "weights": "float32"}
    )
    assert len(batches) == len(windows(shuffle=False)) == 3


@pytest.mark.parametrize("shuffle", [True, False])
def test_each_document_is_cut_into_windows_from_its_first_token_on(shuffle):
    ends = (1, 7, 18, 44)  # documents of 1, 6, 11 and 26 tokens; the first predicts nothing
    found = list(windows(0, shuffle, ends=ends).start_at(0))
    labels, ids = real(found, "labels"), real(found, "ids")
    assert sorted(labels) == sorted(set(range(100, 144)) - {100, 101, 107, 118})
    assert (labels == ids + 1).all()
    starts = {
        int(row[0]) for batch in found for row, weight in zip(batch["ids"], batch["weights"], strict=True) if weight[0]
    }
    assert starts == {101, 107, 112, 118, 123, 128, 133, 138}
    assert len(found) == len(windows(0, shuffle, ends=ends)) == 3
    filled = [batch[name][batch["weights"] == 0] for batch in found for name in ("ids", "labels")]
    assert set(np.concatenate(filled)) == {FILLER}


WIKI = " \n = Title = \n \n a first line , long \n x\n = = Section = = \n b\u2028c d \n = Other = \n e f \n"


def test_wikitext_is_cut_into_articles_or_lines():
    assert "".join(CUTS["articles"].documents(WIKI)) == WIKI.removeprefix(" \n")
    assert [text.split(" = ")[1] for text in CUTS["articles"].documents(WIKI)] == ["Title", "Other"]
    lines = [" = Title =", " a first line , long", " = = Section = =", " b\u2028c d", " = Other =", " e f"]
    assert CUTS["lines"].documents(WIKI) == lines


def test_lines_end_with_a_token_of_their_own_and_packed_documents_have_it_between_them():
    words = TextCodec.train("words", ["a b a b a b c"], None)
    lines = Stream.of("a b\n\nc a\n", words, CUTS["lines"])
    assert [words.tokenizer.tokens[token] for token in lines.ids] == (
        ["<START>", "a", "b", "<STOP>", "<START>", "<UNK>", "a", "<STOP>"]
    )
    assert lines.ends.tolist() == [4, 8]
    bpe = TextCodec.train("bpe", [WIKI], 300)
    packed = Stream.of(WIKI, bpe, CUTS["articles"])
    assert packed.ends.tolist() == [len(packed.ids)]
    assert bpe.decode(packed.ids) == "<|endoftext|>".join(CUTS["articles"].documents(WIKI))


def test_an_epoch_of_training_reads_whole_windows_side_by_side_in_an_order_of_its_own():
    epochs = [list(windows(number).start_at(0)) for number in range(4)]
    for batches in epochs:
        ids, labels = real(batches, "ids"), real(batches, "labels")
        assert (labels == ids + 1).all()
        assert sorted(ids) == list(range(ids.min(), ids.min() + len(ids)))  # without a gap, none twice
        assert len(batches) == len(windows())
        whole = (len(IDS) - LENGTH) // LENGTH
        assert sorted(batch["weights"].sum() for batch in batches) == [LENGTH, BATCH * LENGTH, BATCH * LENGTH]
        assert len(ids) == whole * LENGTH
    assert len({real(batches, "ids").tobytes() for batches in epochs}) == 4
    firsts = {int(real(windows(number).start_at(0), "ids").min()) for number in range(40)}
    assert firsts == set(IDS[:LENGTH].tolist())


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_starts_at_any_batch(shuffle):
    whole, rest = (list(windows(2, shuffle).start_at(first)) for first in (0, 1))
    for expected, found in zip(whole[1:], rest, strict=True):
        assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_the_figures_are_sums_over_tokens():
    losses = np.array([[1.0, 2.0, 9.0], [4.0, 9.0, 9.0]])
    weights = np.array([[1, 1, 0], [1, 0, 0]], np.float32)
    batch = {"labels": np.zeros((2, 3), int), "weights": weights, "bytes": np.array([[2, 3, 50], [5, 50, 50]])}
    last = {"labels": batch["labels"], "weights": 0 * weights, "bytes": batch["bytes"]}
    last["weights"][1, 2] = 1
    scored = [Scored(batch, losses, batch["labels"]), Scored(last, losses, batch["labels"])]
    figures = TASK.metrics(SMALL, scored)
    assert figures == {
        "perplexity": math.exp(16 / 4),
        "bits_per_byte": 16 / math.log(2) / 60,
        "mean_perplexity_of_batches": np.mean([math.exp(7 / 3), math.exp(9)]),
        "perplexity_of_sequence_means": math.exp((1.5 + 4 + 9) / 3),
    }


def test_the_baseline_is_the_frequency_of_a_token_in_the_training_text():
    codec = TextCodec.train("characters", ["abé"], None)
    splits = {"train": np.array([0, 0, 0, 1, 1]), "validation": np.array([2, 0, 2])}
    splits = {split: Stream(ids, np.array([len(ids)])) for split, ids in splits.items()}
    losses = [math.log(8 / 4), math.log(8 / 1)]
    baseline = Tokens(None, codec, splits).baseline()
    bits = sum(losses) / math.log(2) / 3  # of a, and of é, which has two bytes
    assert prove(np.array(math.exp(sum(losses) / 2)), np.array(baseline["perplexity"]), 0.0).agrees
    assert prove(np.array(bits), np.array(baseline["bits_per_byte"]), 0.0).agrees


@pytest.mark.parametrize("kind", ["characters", "bpe", "words"])
def test_a_codec_is_read_back_as_it_was_saved(kind, tmp_path):
    text = "the cat sat on the mat, été 🙂\n"
    codec = TextCodec.train(kind, [text] * 3, 262)
    codec.save(tmp_path / "tokenizer.json")
    again = TextCodec.load(tmp_path / "tokenizer.json")
    assert (again.fingerprint, again.vocabulary_size) == (codec.fingerprint, codec.vocabulary_size)
    assert again.decode(again.encode(text)) == (text.strip() if kind == "words" else text)
    assert again.encode(text) == codec.encode(text)
    assert (again.end, again.filler) == (codec.end, codec.filler)
    assert kind == "words" or codec.bytes_of_tokens[codec.encode(text)].sum() == len(text.encode())


def test_a_word_has_the_bytes_of_itself_and_a_space_and_the_end_of_a_line_has_one():
    codec = TextCodec.train("words", ["the é cat " * 3], None)
    ids = [*codec.encode("the cat é dog the"), codec.end]
    assert codec.bytes_of_tokens[ids].sum() == len("the cat é <UNK> the \n".encode())


def test_gpt2s_two_files_in_a_folder_are_a_vocabulary(tmp_path):
    learned = TextCodec.train("bpe", ["the cat sat"], 262).tokenizer
    learned.save(tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    assert TextCodec.load(tmp_path).tokenizer == learned
    with pytest.raises(IsogradError, match="missing/tok: expected a readable text file"):
        TextCodec.load(tmp_path / "missing" / "tok")


@pytest.mark.parametrize("texts", [["abab", "", "ab c\u00e9 ab"], ["aaaaa aaaa"]])
def test_the_fast_library_learns_and_encodes_what_the_readable_reference_does(texts):
    learned = fast_bpe.train(texts, 264)
    assert learned == BPE.train(texts, 264)
    assert fast_bpe.FastBPE(learned).encode(texts) == [learned.encode(text) for text in texts]


def test_the_fast_library_refuses_what_the_readable_reference_refuses():
    with pytest.raises(IsogradError, match="half of a surrogate pair"):
        fast_bpe.train(["a\ud83d"], 264)
    with pytest.raises(IsogradError, match="half of a surrogate pair"):
        fast_bpe.FastBPE(BPE.train(["a"], 256)).encode(["a\ud83d"])
    with pytest.raises(IsogradError, match="got no character"):
        fast_bpe.train(["", ""], 264)
    with pytest.raises(IsogradError, match="got a size of 12"):
        fast_bpe.train(["a"], 12)


@pytest.mark.parametrize("content", ["[]", "{}", '{"kind": "bpe", "alphabet": [0]}', "no JSON", '{"kind": "bpe"}'])
def test_a_file_that_holds_no_codec_is_refused(content, tmp_path):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(IsogradError, match="tokenizer.json: expected a vocabulary written by isograd"):
        TextCodec.load(tmp_path / "tokenizer.json")


def test_saved_merges_out_of_order_are_refused(tmp_path):
    merges = [[256, 0, 257], [0, 1, 256]]
    saved = {"kind": "bpe", "alphabet": list(range(256)), "merges": merges, "special": {}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(saved))
    with pytest.raises(IsogradError, match="tokenizer.json: merge 1: expected a merge of bytes .* got token 256"):
        TextCodec.load(tmp_path / "tokenizer.json")


def test_the_built_in_text_fills_in_the_sizes_that_are_open():
    experiment, data = TASK.load(find_experiment("lm-pydoc-small"), None)
    arguments = experiment.model.arguments
    assert (arguments["vocabulary_size"], arguments["sequence_length"]) == (512, 64)
    assert data.content.source is None
    assert data.codec.decode(data.splits["validation"].ids) == data.content.validation
    assert data.codec.decode(data.splits["train"].ids) == data.content.train


def folder_of(tmp_path, **files):
    for name, text in files.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "expected train.txt and valid.txt, or input.txt"),
        ({"train": "abc" * 50}, "expected train.txt and valid.txt, or input.txt"),
        ({"input": ""}, "pass a corpus that is not empty"),
        ({"input": "abcdefghij"}, "a train text of at least 10 tokens for windows of 5, got 9: pass a longer text"),
        ({"train": "ab" * 9, "valid": "a"}, "a validation text of at least 2 tokens for windows of 5, got 1"),
    ],
)
def test_texts_that_can_not_be_learned_from_are_refused(files, sentence, tmp_path):
    with pytest.raises(IsogradError, match=sentence):
        TASK.load(SMALL, folder_of(tmp_path, **files))


def test_lines_without_a_text_are_refused(tmp_path):
    experiment = find_experiment("lm-hopkins-small")
    with pytest.raises(IsogradError, match="pass a corpus that is not empty"):
        TASK.load(experiment, folder_of(tmp_path, train="\n \na\n", valid="ab"))
    with pytest.raises(IsogradError, match="a validation text of at least 2 tokens"):
        TASK.load(experiment, folder_of(tmp_path, train="abc abc\nabc", valid="\n \na\n"))


PUBLISHED = [("wiki.train.tokens", "wiki.valid.tokens"), ("ptb.train.txt", "ptb.valid.txt"), ("train.txt", "valid.txt")]


@pytest.mark.parametrize(("train", "valid"), PUBLISHED)
def test_a_corpus_is_read_under_the_names_of_its_publishers(train, valid, tmp_path):
    (tmp_path / train).write_text("abc" * 10)
    (tmp_path / valid).write_text("cab")
    texts = load_corpus("tinyshakespeare", str(tmp_path))
    assert (texts.train, texts.validation) == ("abc" * 10, "cab")


def test_the_hubs_rows_are_lines_of_the_text(monkeypatch):
    parts = {"train": {"text": [" a b \n", "\n"]}, "validation": {"text": [" c \n"]}, "test": {"text": []}}
    asked = []
    library = types.SimpleNamespace(load_dataset=lambda *name: asked.append(name) or parts)
    monkeypatch.setitem(sys.modules, "datasets", library)
    texts = load_corpus("wikitext-2-lines", "hub")
    assert (texts.train, texts.validation, texts.source) == (" a b \n\n", " c \n", "hub")
    assert asked == [("Salesforce/wikitext", "wikitext-2-v1")]


class LearnedError(Exception):
    """What a vocabulary would be learned from."""


@pytest.mark.parametrize(("name", "of_both"), [("lm-hopkins", False), ("lm-shakespeare-char", True)])
def test_a_vocabulary_but_that_of_characters_is_learned_from_the_training_text_alone(
    tmp_path, monkeypatch, name, of_both
):
    def learn(kind, texts, size):
        raise LearnedError(texts)

    (tmp_path / "train.txt").write_text("to be or not")
    (tmp_path / "valid.txt").write_text("to be?")
    monkeypatch.setattr(TextCodec, "train", staticmethod(learn))
    with pytest.raises(LearnedError) as found:
        TASK.load(find_experiment(name), str(tmp_path))
    assert found.value.args == (["to be or not", *(["to be?"] if of_both else [])],)


def test_the_fingerprint_tells_both_texts_and_where_the_first_ends():
    texts = [("ab", "c"), ("a", "bc"), ("abc", ""), ("c", "ab"), ("ab", "d"), ("b", "c")]
    assert len({Texts(*both, "", None).fingerprint for both in texts}) == len(texts)


@pytest.mark.parametrize("source", [None, "hub"])
def test_a_corpus_that_is_not_built_in_needs_a_folder(source):
    with pytest.raises(IsogradError, match="tinyshakespeare is read from a folder: pass --data FOLDER"):
        TASK.load(SMALL, source)


def test_a_vocabulary_of_another_size_is_refused(tmp_path):
    arguments = {**SMALL.model.arguments, "vocabulary_size": 2}
    experiment = replace(SMALL, model=replace(SMALL.model, arguments=arguments))
    with pytest.raises(IsogradError, match="has a vocabulary of 2 tokens, but the characters .* has 3"):
        TASK.load(experiment, folder_of(tmp_path, input="abc" * 20))


def test_a_text_with_few_pairs_gives_a_smaller_vocabulary_than_asked_for(tmp_path):
    asked = find_experiment("lm-pydoc-small")
    fitted, data = TASK.load(asked, folder_of(tmp_path, input="abc " * 900))
    sizes = [experiment.model.arguments["vocabulary_size"] for experiment in (fitted, asked)]
    assert sizes[0] == data.codec.vocabulary_size < sizes[1]


def test_a_vocabulary_of_words_holds_the_most_frequent_ones():
    words = TextCodec.train("words", ["c c c b b b b a a a d"], 6).tokenizer
    assert words.tokens[4:] == ("b", "a")
    assert TextCodec.train("words", ["c c c b b b b a a a d"], None).tokenizer.tokens[4:] == ("b", "a", "c")


def test_example_batches_hold_padding_and_every_kind_of_label():
    from shared.registry import TWINS

    batch = TASK.example_batch(TWINS["GPT"], {"ids": np.zeros((5, 11), int)}, 1)
    assert batch["labels"].shape == batch["weights"].shape == (5, 11)
    assert (batch["labels"].dtype, batch["weights"].dtype) == (np.int32, np.float32)
    assert not batch["weights"][-2:].any()
    assert batch["weights"][0].any()
    assert not batch["weights"][0].all()


def test_what_is_learned_and_encoded_is_told_and_only_predicted_tokens_are_counted(tmp_path):
    told = []
    files = folder_of(tmp_path, train="a b\nc a\na b c\n", valid="a b\nb c\n")
    _, data = TASK.load(find_experiment("lm-hopkins-small"), files, report=lambda *what: told.append(what))
    assert told == [("learning the vocabulary of", 3, 0), ("encoding", 3, 0)]
    assert data.counts == {split: len(stream.ids) - len(stream.ends) for split, stream in data.splits.items()}


def test_the_figures_of_float32_losses_are_sums_in_float64():
    losses = np.random.default_rng(0).exponential(size=(3, 400)).astype(np.float32)
    batch = {"labels": np.zeros((3, 400), int), "weights": np.ones((3, 400), np.float32)}
    batch["bytes"] = np.ones((3, 400), int)
    found = TASK.metrics(SMALL, [Scored(batch, losses, batch["labels"])])
    sums = [math.fsum(row.tolist()) for row in losses]
    expected = [math.exp(sum(sums) / 1200), sum(sums) / math.log(2) / 1200]
    expected += [math.exp(sum(sums) / 1200), math.exp(sum(each / 400 for each in sums) / 3)]
    assert prove(np.array(expected), np.array(list(found.values())), 0.0).agrees


def test_a_text_of_just_two_windows_is_enough(tmp_path):
    _, data = TASK.load(SMALL, folder_of(tmp_path, train="abcdefghij", valid="ab"))
    assert len(data.splits["train"].ids) == 2 * LENGTH


def test_a_saved_vocabulary_is_used_and_one_of_the_size_of_the_model_is_learned(tmp_path):
    files, asked = folder_of(tmp_path, input="the cat sat on the mat. " * 90), find_experiment("lm-pydoc-small")
    small = replace(asked, model=replace(asked.model, arguments={**asked.model.arguments, "vocabulary_size": 258}))
    experiment, data = TASK.load(small, files)
    assert data.codec.vocabulary_size == experiment.model.arguments["vocabulary_size"] == 258
    data.codec.save(tmp_path / "tokenizer.json")
    _, again = TASK.load(asked, files, tmp_path / "tokenizer.json")
    assert again.codec.fingerprint == TASK.codec(tmp_path / "tokenizer.json").fingerprint == data.codec.fingerprint


def test_a_model_continues_the_beginnings_of_the_first_two_windows_or_the_prompts_asked_for(tmp_path):
    files = folder_of(tmp_path, train="abcdefghijklmnopqrstuvwxyz" * 4, valid="zyxwvutsrqponmlkjihgfedcba")
    experiment, data = TASK.load(replace(SMALL, length=12, samples=None), files)
    assert data.prompts(experiment) == data.codec.encode_all(["zyxwvuts", "nmlkjihg"])
    asked = replace(experiment, samples=SamplesConfig(prompts=("cab", "z")))
    assert [data.codec.decode(ids) for ids in data.prompts(asked)] == ["cab", "z"]
    longer = replace(experiment, samples=SamplesConfig(prompts=("abcdefghijklmnop",)))
    assert [data.codec.decode(ids) for ids in data.prompts(longer)] == ["efghijklmnop"]  # what a window holds
    _, short = TASK.load(experiment, folder_of(tmp_path, valid="abcd"))
    assert [short.codec.decode(ids) for ids in short.prompts(experiment)] == ["abc"]  # the last token predicts nothing


def test_the_figures_of_a_validation_are_plain_numbers_of_which_less_is_better():
    batch = {"labels": np.zeros((1, 2), int), "weights": np.ones((1, 2), np.float32), "bytes": np.array([[2, 3]])}
    figures = TASK.metrics(SMALL, [Scored(batch, np.ones((1, 2), np.float32), batch["labels"])])
    assert {type(value) for value in figures.values()} == {float}
    assert [(each.name, each.title, each.higher_is_better) for each in TASK.figures] == [
        ("perplexity", "perplexity", False),
        ("bits_per_byte", "bits per byte", False),
    ]
    assert not TASK.couples_rows
