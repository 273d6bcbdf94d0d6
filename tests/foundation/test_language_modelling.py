"""Language modelling: every token is predicted once, figures are exact, and texts that are too short are refused."""

import math
from dataclasses import replace

import numpy as np
import pytest

from crosscheck.criterion import prove
from experiments.catalogue import find_experiment
from shared.data.text_codec import TextCodec
from shared.errors import IsogradError
from shared.tasks.language_modelling import LanguageModelling, Tokens, Windows
from shared.tasks.task import Scored

TASK = LanguageModelling()
LENGTH, BATCH = 5, 3
SMALL = replace(find_experiment("lm-shakespeare-char-small"), length=LENGTH, batch_size=BATCH)
IDS = np.arange(100, 144, dtype=np.int32)  # a token is 100 + its place


def windows(number=0, shuffle=True, experiment=SMALL):
    return Windows(experiment, IDS, np.arange(200, dtype=np.int32), number, shuffle)


def real(batches, name):
    return np.concatenate([batch[name][batch["weights"] > 0] for batch in batches])


def test_a_validation_predicts_every_token_but_the_first_once_from_the_one_before():
    batches = list(windows(shuffle=False).start_at(0))
    assert real(batches, "labels").tolist() == IDS[1:].tolist()
    assert real(batches, "ids").tolist() == IDS[:-1].tolist()
    assert real(batches, "bytes").tolist() == IDS[1:].tolist()
    assert {batch[name].shape for batch in batches for name in batch} == {(BATCH, LENGTH)}
    assert len(batches) == len(windows(shuffle=False)) == 3


def test_an_epoch_of_training_reads_whole_windows_side_by_side_in_an_order_of_its_own():
    epochs = [list(windows(number).start_at(0)) for number in range(4)]
    for batches in epochs:
        ids, labels = real(batches, "ids"), real(batches, "labels")
        assert (labels == ids + 1).all()
        assert sorted(ids) == list(range(ids.min(), ids.min() + len(ids)))  # without a gap, none twice
        assert len(batches) == len(windows())
    assert len({real(batches, "ids").tobytes() for batches in epochs}) == 4
    assert len({real(batches, "ids").min() for batches in epochs}) != 1


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
    codec = TextCodec.train("characters", "abé", None)
    splits = {"train": np.array([0, 0, 0, 1, 1]), "validation": np.array([2, 0, 2])}
    losses = [math.log(8 / 4), math.log(8 / 1)]
    baseline = Tokens(None, codec, splits).baseline
    bits = sum(losses) / math.log(2) / 3  # of a, and of é, which has two bytes
    assert prove(np.array(math.exp(sum(losses) / 2)), np.array(baseline["perplexity"]), 0.0).agrees
    assert prove(np.array(bits), np.array(baseline["bits_per_byte"]), 0.0).agrees


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_a_codec_is_read_back_as_it_was_saved(kind, tmp_path):
    text = "the cat sat on the mat, été 🙂\n"
    codec = TextCodec.train(kind, text, 262)
    codec.save(tmp_path / "tokenizer.json")
    again = TextCodec.load(tmp_path / "tokenizer.json")
    assert (again.fingerprint, again.vocabulary_size) == (codec.fingerprint, codec.vocabulary_size)
    assert again.decode(again.encode(text)) == text
    assert again.encode(text) == codec.encode(text)
    assert codec.bytes_of_tokens[codec.encode(text)].sum() == len(text.encode())


@pytest.mark.parametrize("content", ["[]", "{}", '{"kind": "bpe", "alphabet": [0]}', "no JSON", '{"kind": "bpe"}'])
def test_a_file_that_holds_no_codec_is_refused(content, tmp_path):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(IsogradError, match="tokenizer.json: expected a vocabulary written by isograd"):
        TextCodec.load(tmp_path / "tokenizer.json")


def test_the_built_in_text_fills_in_the_sizes_that_are_open():
    experiment, data = TASK.load(find_experiment("lm-pydoc-small"), None)
    arguments = experiment.model.arguments
    assert (arguments["vocabulary_size"], arguments["sequence_length"]) == (512, 64)
    assert data.source is None
    assert data.codec.decode(data.splits["validation"]) == data.texts.validation
    assert data.codec.decode(data.splits["train"]) == data.texts.train


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


@pytest.mark.parametrize("source", [None, "hub"])
def test_a_corpus_that_is_not_built_in_needs_a_folder(source):
    with pytest.raises(IsogradError, match="tinyshakespeare is read from a folder: pass --data FOLDER"):
        TASK.load(SMALL, source)


def test_a_vocabulary_of_another_size_is_refused(tmp_path):
    arguments = {**SMALL.model.arguments, "vocabulary_size": 2}
    experiment = replace(SMALL, model=replace(SMALL.model, arguments=arguments))
    with pytest.raises(IsogradError, match="has a vocabulary of 2 tokens, but the characters .* has 3"):
        TASK.load(experiment, folder_of(tmp_path, input="abc" * 20))


def test_example_batches_hold_padding_and_every_kind_of_label():
    from shared.registry import TWINS

    batch = TASK.example_batch(TWINS["GPT"], {"ids": np.zeros((5, 11), int)}, 1)
    assert batch["labels"].shape == batch["weights"].shape == (5, 11)
    assert not batch["weights"][-2:].any()
    assert batch["weights"][0].any()
    assert not batch["weights"][0].all()
