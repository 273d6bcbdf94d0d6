"""Corpora for language models: where their texts are, how they are cut into documents, and what their tokens are."""

from __future__ import annotations

import hashlib
import pydoc_data.topics
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shared.configs.validation import check_choice
from shared.data import hub
from shared.data.language.text_codec import USUAL_SIZE
from shared.data.texts import read_text
from shared.errors import IsogradError

TRAINING_SHARE = 0.9  # of a text that is not split
HEADING = re.compile(r"^(?= = [^=].*[^=] = $)", re.MULTILINE)  # of an article; those of its sections have more signs
NAMES = {  # of the files with a part, as published; any of them may be gzipped
    "train": ("train.txt", "wiki.train.tokens", "wiki.train.raw", "ptb.train.txt"),
    "valid": ("valid.txt", "wiki.valid.tokens", "wiki.valid.raw", "ptb.valid.txt"),
    "input": ("input.txt",),
}


class Cut(NamedTuple):
    """How a text becomes documents, and whether windows go on from one document to the next (packed)."""

    documents: Callable[[str], list[str]]
    packed: bool


CUTS = {
    "whole": Cut(lambda text: [text], packed=True),
    "articles": Cut(lambda text: [part for part in HEADING.split(text) if part.strip()], packed=True),
    "lines": Cut(lambda text: [line.rstrip() for line in text.split("\n") if len(line.strip()) > 1], packed=False),
}


@dataclass(frozen=True)
class Corpus:
    """A row of CORPORA: `tokens` is a kind of codec, with the vocabulary that is learned if there is one to learn;
    `cut` is a row of CUTS, `hub` the name of a data set on the Hugging Face hub and of its configuration.
    """

    description: str
    tokens: str
    vocabulary_size: int | None = None
    cut: str = "whole"
    built_in: Callable[[], str] | None = None
    hub: tuple[str, str] | None = None


@dataclass(frozen=True)
class Texts:
    """A training and a validation text; `source` is None for built-in ones, "hub", or a folder."""

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


WIKITEXT = "Salesforce/wikitext", "wikitext-2-v1"
CORPORA: dict[str, Corpus] = {
    "pydoc": Corpus("the reference texts that come with Python", "bpe", 512, built_in=_topics),
    "tinyshakespeare": Corpus("plays of Shakespeare in one file, input.txt", "characters"),
    "wikitext-2": Corpus("articles of Wikipedia, packed, BPE", "bpe", USUAL_SIZE, "articles", hub=WIKITEXT),
    "wikitext-2-lines": Corpus("the same, each line by itself, BPE", "bpe", USUAL_SIZE, "lines", hub=WIKITEXT),
    "wikitext-2-words": Corpus("the same, each line by itself, words", "words", None, "lines", hub=WIKITEXT),
}


def load_corpus(name: str, source: str | None) -> Texts:
    """The texts of a corpus: built in, from the hub, or train.txt and valid.txt of a folder (also under the names that
    WikiText and Penn Treebank have), or its input.txt, split 90 to 10.

    A file may be gzipped. Raises IsogradError if there are none.
    """
    check_choice("corpus", name, CORPORA)
    corpus = CORPORA[name]
    if source is None and corpus.built_in is not None:
        return _split(corpus.built_in(), corpus.description, None)
    if source == "hub" and corpus.hub is not None:
        parts = hub.load_texts(*corpus.hub)
        return Texts(parts["train"], parts["dev"], f"{corpus.hub[0]} from the Hugging Face hub", "hub")
    if source in (None, "hub"):
        hint = ", or --data hub" if corpus.hub and source is None else ""
        raise IsogradError(f"the corpus {name} is read from a folder: pass --data FOLDER with its files{hint}")
    return _from_folder(Path(str(source)), source)


def _from_folder(folder: Path, source: str | None) -> Texts:
    train, validation, whole = (_file(folder, part) for part in NAMES)
    if train is not None and validation is not None:
        return Texts(read_text(train), read_text(validation), f"{train} and {validation}", source)
    if whole is None:
        raise IsogradError(f"{folder}: expected train.txt and valid.txt, or input.txt (also as .txt.gz), found neither")
    return _split(read_text(whole), str(whole), source)


def _file(folder: Path, part: str) -> Path | None:
    paths = (folder / f"{name}{end}" for name in NAMES[part] for end in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def _split(text: str, origin: str, source: str | None) -> Texts:
    end = int(TRAINING_SHARE * len(text))
    return Texts(text[:end], text[end:], origin, source)
