"""Corpora for language models: where their texts are, and how they become tokens."""

from __future__ import annotations

import hashlib
import pydoc_data.topics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.configs.validation import check_choice
from shared.data.texts import read_text
from shared.errors import IsogradError

TRAINING_SHARE = 0.9  # of a text that is not split


@dataclass(frozen=True)
class Corpus:
    """A row of CORPORA: `tokens` is a kind of codec, with the vocabulary that is learned if there is one to learn."""

    description: str
    tokens: str
    vocabulary_size: int | None = None
    built_in: Callable[[], str] | None = None


@dataclass(frozen=True)
class Texts:
    """A training and a validation text; `source` is None for built-in ones, or a folder."""

    train: str
    validation: str
    origin: str
    source: str | None

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.train.encode())
        digest.update(b"\0" + self.validation.encode())
        return digest.hexdigest()


def _topics() -> str:
    """Python's own reference, which `help()` shows; every CPython holds it."""
    return "\n".join(text for _, text in sorted(pydoc_data.topics.topics.items()))


CORPORA: dict[str, Corpus] = {
    "pydoc": Corpus("the reference texts that come with Python", "bpe", 512, _topics),
    "tinyshakespeare": Corpus("plays of Shakespeare in one file, input.txt", "characters"),
    "wikitext-2": Corpus("articles of Wikipedia, train.txt and valid.txt", "bpe", 2048),
}


def load_corpus(name: str, source: str | None) -> Texts:
    """The texts of a corpus: built in, or train.txt and valid.txt of a folder, or its input.txt, split 90 to 10.

    A file may be gzipped. Raises IsogradError if there are none.
    """
    check_choice("corpus", name, CORPORA)
    built_in = CORPORA[name].built_in
    if source is None and built_in is not None:
        return _split(built_in(), CORPORA[name].description, None)
    if source in (None, "hub"):
        raise IsogradError(f"the corpus {name} is read from a folder: pass --data FOLDER with its files")
    folder = Path(str(source))
    train, validation, whole = (_file(folder, stem) for stem in ("train", "valid", "input"))
    if train is not None and validation is not None:
        return Texts(read_text(train), read_text(validation), f"{train} and {validation}", source)
    if whole is None:
        raise IsogradError(f"{folder}: expected train.txt and valid.txt, or input.txt (also as .txt.gz), found neither")
    return _split(read_text(whole), str(whole), source)


def _file(folder: Path, stem: str) -> Path | None:
    names = (folder / f"{stem}.txt", folder / f"{stem}.txt.gz")
    return next((path for path in names if path.is_file()), None)


def _split(text: str, origin: str, source: str | None) -> Texts:
    end = int(TRAINING_SHARE * len(text))
    return Texts(text[:end], text[end:], origin, source)
