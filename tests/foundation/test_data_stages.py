"""Preparing data is told from the first second, hears Ctrl-C, and leaves out words that teach nothing."""

import json
import logging
import os
import signal
import threading

import pytest
from notes import Notes

from experiments.training import preparation
from shared.data import load_reviews, wordpiece
from shared.data.stages import counted, in_background
from shared.data.vocabulary import TextTokenizer
from shared.data.wordpiece import from_tokens, train_tokens
from shared.errors import IsogradError

TEXTS = ["a good film", "a bad film", "good, good film"] * 40
LONG = "abcdefghij" * 50_000


@pytest.fixture
def trained_on(monkeypatch):
    """The texts that are left for the trainer."""
    left, shorten = [], wordpiece._without_long_words
    monkeypatch.setattr(wordpiece, "_without_long_words", lambda texts: left.extend(shorten(texts)) or left)
    return left


def test_words_of_half_a_million_characters_are_left_out_of_the_word_pieces_and_said(caplog, trained_on):
    with caplog.at_level(logging.WARNING, "isograd"):
        tokens = train_tokens([*TEXTS, f"good {LONG}, film {LONG[1:]}", *TEXTS])
    assert trained_on == [*TEXTS, "good , film ", *TEXTS]  # the trainer takes minutes for one such word
    assert "film" in tokens
    assert max(map(len, tokens)) <= 100
    (said,) = caplog.messages
    assert said.endswith("left out of the word pieces: 2 in these texts")


def test_a_long_run_of_short_words_is_kept_as_it_is(caplog):
    run = "good-bad," * 40
    assert train_tokens([run] * 3) == train_tokens([run.replace("-", " - ").replace(",", " , ")] * 3)
    assert caplog.messages == []


def test_work_in_the_background_hears_an_interrupt():
    done = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        in_background(done.wait, lambda: os.kill(os.getpid(), signal.SIGINT))
    done.set()


def test_an_error_in_the_background_is_raised():
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 / 0, lambda: None)


def test_notes_on_the_preparation_start_within_a_second_and_become_rare(monkeypatch):
    now = 0.0
    monkeypatch.setattr(preparation.time, "monotonic", lambda: now)
    shown = Notes()
    report = preparation.preparing(shown)
    times = []
    for tenth in range(600):
        now = tenth / 10  # the clock reads it
        before = len(shown.texts)
        report("read", tenth, 0)
        times += [tenth] * (len(shown.texts) - before)
    assert times[0] in range(11)
    assert len(times) < 12
    assert shown.texts[0] == "preparing the data: read 5 texts"


def test_reading_and_fingerprinting_are_told(tmp_path):
    rows = "".join(f'"{1 + number % 2}","review {number}"\n' for number in range(1200))
    for part in ("train", "test"):
        (tmp_path / f"{part}.csv").write_text(rows)
    told = []
    load_reviews("yelp_polarity", str(tmp_path), report=lambda *what: told.append(what))
    assert ("train.csv: read", 1000, 0) in told
    assert ("validation: fingerprinted", 1000, 1000) in told
    assert list(counted("abc", None, "", 0)) == list("abc")


def test_counting_characters_and_training_word_pieces_are_told(monkeypatch):
    monkeypatch.setattr(wordpiece, "in_background", lambda work, tell: (tell(), work()))
    told = []
    train_tokens(["a good film"] * 600, report=lambda *what: told.append(what))
    assert told == [("counted the characters of", 500, 600), ("training word pieces on", 600, 600)]


def tokenizer_with(tmp_path, change):
    values = json.loads(from_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"], "tokens").to_str())
    change(values)
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    return tmp_path / "tokenizer.json"


def without_unknown(values):
    del values["model"]["vocab"]["[UNK]"]
    values["added_tokens"] = [token for token in values["added_tokens"] if token["content"] != "[UNK]"]


BROKEN = {
    "no [UNK]": (without_unknown, r"expected a tokenizer that encodes any text, got: .*\[UNK\]"),
    "an id of 2**31": (lambda values: values["model"]["vocab"].update(a=2**31), "expected ids below 1,012 for 6 tok"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_tokenizer_that_no_model_can_use_is_refused_at_once(tmp_path, case):
    change, sentence = BROKEN[case]
    with pytest.raises(IsogradError, match=sentence):
        TextTokenizer.load(tokenizer_with(tmp_path, change))
