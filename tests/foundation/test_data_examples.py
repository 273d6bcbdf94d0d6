"""Tokenised examples: they match the texts, are built once, and a cache never does harm."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from shared.data import load_reviews, load_tokenizer, tokenise
from shared.data.cache import cache_folder
from shared.errors import IsogradError


@pytest.fixture(scope="module")
def arithmetic():
    splits = load_reviews("verbal_arithmetic")
    return splits, load_tokenizer(None, splits)


class Counting:
    """A tokenizer that counts the texts it is given."""

    def __init__(self, tokenizer):
        self.tokenizer, self.texts = tokenizer, 0

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def encode_batch(self, texts, max_length=None):
        self.texts += len(texts)
        return self.tokenizer.encode_batch(texts, max_length)


def test_examples_are_the_tokens_and_labels_of_the_texts(arithmetic, tmp_path):
    splits, tokenizer = arithmetic
    progress = []
    examples = tokenise(splits, tokenizer, 7, tmp_path, progress=lambda done, total: progress.append((done, total)))
    assert set(examples) == {"train", "validation"}
    train = examples["train"]
    assert (train.ids.dtype, train.offsets.dtype, train.labels.dtype) == (np.int32, np.int64, np.int32)
    assert train.labels.tolist() == list(splits.train.labels)
    for i, ids in enumerate(tokenizer.encode_batch(splits.train.texts)):
        assert train.ids[train.offsets[i] : train.offsets[i + 1]].tolist() == ids.tolist()
    assert progress[-1] == (800, 800)


def test_texts_are_tokenised_once_per_content_tokenizer_and_length(arithmetic, tmp_path):
    splits, tokenizer = arithmetic[0], Counting(arithmetic[1])
    first = tokenise(splits, tokenizer, 7, tmp_path)
    again = tokenise(splits, tokenizer, 7, tmp_path)
    assert tokenizer.texts == 800
    for name in ("ids", "offsets", "labels"):
        assert np.array_equal(getattr(first["train"], name), getattr(again["train"], name))
    tokenise(splits, tokenizer, 2, tmp_path)
    assert tokenizer.texts == 1600
    tokenise(load_reviews("verbal_arithmetic", seed=1), tokenizer, 7, tmp_path)
    assert tokenizer.texts == 2400
    tokenizer.fingerprint = "of another tokenizer, of as many tokens"
    tokenise(splits, tokenizer, 7, tmp_path)
    assert tokenizer.texts == 3200
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "pickle"])
def test_a_damaged_cache_is_rebuilt(arithmetic, tmp_path, damage):
    splits, tokenizer = arithmetic[0], Counting(arithmetic[1])
    expected = tokenise(splits, tokenizer, 7, tmp_path)["train"].ids
    (file,) = tmp_path.glob("examples-*.npz")
    data = file.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    file.write_bytes({"truncated": data[:middle], "empty": b"", "flipped": flipped, "pickle": b""}[damage])
    if damage == "pickle":
        np.savez(file, **{"train.ids": np.array([{}], object)})
    assert np.array_equal(tokenise(splits, tokenizer, 7, tmp_path)["train"].ids, expected)
    assert tokenizer.texts == 1600
    tokenise(splits, tokenizer, 7, tmp_path)
    assert tokenizer.texts == 1600


def test_a_cache_that_can_not_be_written_is_logged_and_does_not_stop_the_run(arithmetic, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    assert len(tokenise(*arithmetic, 7, tmp_path / "file")["train"]) == 640
    assert "set ISOGRAD_CACHE" in caplog.text


def test_the_cache_folder_follows_the_environment(arithmetic, tmp_path, monkeypatch):
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "mine"))
    tokenise(*arithmetic, 7)
    assert list((tmp_path / "mine").glob("examples-*.npz"))


PLACES = {  # platform -> the variable of its cache folder, and the folder at home without
    "linux": ("XDG_CACHE_HOME", ".cache"),
    "win32": ("LOCALAPPDATA", ".cache"),
    "darwin": ("XDG_CACHE_HOME", "Library/Caches"),
}


@pytest.mark.parametrize("platform", PLACES)
def test_without_a_folder_of_its_own_the_cache_lies_where_the_platform_has_it(platform, tmp_path, monkeypatch):
    variable, at_home = PLACES[platform]
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv("ISOGRAD_CACHE", "")
    monkeypatch.setenv(variable, "")
    assert cache_folder() == Path.home() / at_home / "isograd"
    monkeypatch.setenv(variable, str(tmp_path))
    assert (cache_folder() == tmp_path / "isograd") == (platform != "darwin")


def test_a_text_without_any_token_is_refused(arithmetic, tmp_path):
    splits, tokenizer = arithmetic
    empty = dataclasses.replace(splits.train, texts=("one plus one", "\x00 \t", *splits.train.texts[2:]))
    with pytest.raises(IsogradError, match="train text 1 has no tokens"):
        tokenise(dataclasses.replace(splits, train=empty, fingerprint="other"), Silent(tokenizer), 7, tmp_path)


class Silent(Counting):
    """A tokenizer that finds no tokens in a text with a NUL."""

    def encode_batch(self, texts, max_length=None):
        rows = self.tokenizer.encode_batch(texts, max_length)
        return [row[:0] if "\x00" in text else row for row, text in zip(rows, texts, strict=True)]
