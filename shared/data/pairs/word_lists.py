"""Pairs of a word and its translation, built in or from files, and their split into training and validation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.configs.validation import check_choice
from shared.data.pairs.letters import is_translatable
from shared.data.pairs.pig_latin import SOURCE, pig_latin, reference_words
from shared.data.texts import read_text
from shared.errors import IsogradError

Pair = tuple[str, str]
TRAINING_SHARE = 0.8
SPLIT_SEED = 0  # not that of a run: all runs on the same words hold out the same


@dataclass(frozen=True)
class WordList:
    """A row of WORD_LISTS: its file in a folder, and its words if they are built in."""

    description: str
    file: str
    built_in: Callable[[], list[Pair]] | None = None


@dataclass(frozen=True)
class WordPairs:
    """Training and validation pairs, no word in both; `source` is None for built-in ones, or a path."""

    train: tuple[Pair, ...]
    validation: tuple[Pair, ...]
    origin: str
    source: str | None

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr((self.train, self.validation)).encode()).hexdigest()


def _reference_pairs() -> list[Pair]:
    return [(word, pig_latin(word)) for word in reference_words()]


WORD_LISTS: dict[str, WordList] = {
    "pig_latin": WordList(f"Pig Latin of {SOURCE}", "pig_latin_small.txt", _reference_pairs),
    "pig_latin_large": WordList("Pig Latin of a long list of words, pig_latin_large.txt", "pig_latin_large.txt"),
}


def load_pairs(name: str, source: str | None) -> WordPairs:
    """The pairs of a word list: built in, or from a file with "word translation" in each line, or from a folder.

    A folder holds train.txt and valid.txt, or the list's own file, or one file of another name; what is not split is
    split 80 to 20. What a file's lines repeat, translate a second time or write with other characters is left out,
    which `origin` says.
    Raises IsogradError for files that are missing or malformed, and for a word on both sides of a split.
    """
    check_choice("word list", name, WORD_LISTS)
    entry = WORD_LISTS[name]
    if source is None and entry.built_in is not None:
        return _split(entry.built_in(), entry.description, None)
    if source is None or source == "hub":
        raise IsogradError(f"the word list {name} is read from a file: pass --data FILE, or the folder of {entry.file}")
    path = Path(source)
    if not path.exists():
        raise IsogradError(f"{path} does not exist: expected a file of words and their translations, or its folder")
    train, validation = path / "train.txt", path / "valid.txt"
    if train.is_file() and validation.is_file():
        return _joined(_read(train), _read(validation), source)
    return _split(*_read(path if path.is_file() else _only_file(path, entry.file)), source)


def parse_pairs(text: str, where: str) -> tuple[list[Pair], str]:
    """The pairs of a text and a note on what was left out; raises IsogradError with the line of the first bad one."""
    pairs: dict[str, str] = {}
    repeated = outside = others = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        source, target = _columns(line, f"{where}, line {number}")
        if not (is_translatable(source) and is_translatable(target)):
            outside += 1
        elif source in pairs:
            repeated += pairs[source] == target
            others += pairs[source] != target
        else:
            pairs[source] = target
    if not pairs:
        raise IsogradError(f"{where}: expected words of the letters a to z and hyphens, got none")
    return list(pairs.items()), _note(repeated, outside, others)


def _columns(line: str, where: str) -> Pair:
    columns = [column.strip() for column in line.split("\t")] if "\t" in line else line.split()
    if len(columns) != 2 or not all(columns):
        raise IsogradError(f"{where}: expected a word and its translation, got {line.strip()!r}")
    return columns[0], columns[1]


def _note(repeated: int, outside: int, others: int) -> str:
    counts = {
        "repeated": repeated,
        "with a second translation of a word": others,
        "with characters outside a to z and -": outside,
    }
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f" (lines left out: {said})" if said else ""


def _read(path: Path) -> tuple[list[Pair], str]:
    pairs, note = parse_pairs(read_text(path), str(path))
    return pairs, f"{path}{note}"


def _only_file(folder: Path, name: str) -> Path:
    files = sorted(folder.glob("*.txt"))
    if (folder / name).is_file():
        return folder / name
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise IsogradError(
            f"{folder}: expected {name}, or train.txt and valid.txt, or one .txt file, found {found}: "
            "pass the file itself with --data FILE"
        )
    return files[0]


def _joined(train: tuple[list[Pair], str], validation: tuple[list[Pair], str], source: str | None) -> WordPairs:
    if both := sorted({word for word, _ in train[0]} & {word for word, _ in validation[0]}):
        raise IsogradError(
            f"{source}: expected no word in both train.txt and valid.txt, got {both[0]!r} ({len(both)} in total): "
            "remove them from one"
        )
    return WordPairs(tuple(train[0]), tuple(validation[0]), f"{train[1]} and {validation[1]}", source)


def _split(pairs: Sequence[Pair], origin: str, source: str | None) -> WordPairs:
    if len(pairs) < 2:
        raise IsogradError(f"{origin}: expected at least 2 different words to split, got {len(pairs)}")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(pairs))
    end = min(max(1, round(TRAINING_SHARE * len(pairs))), len(pairs) - 1)
    train, validation = (tuple(pairs[i] for i in part) for part in (order[:end], order[end:]))
    return WordPairs(train, validation, f"{origin}, split with seed {SPLIT_SEED}", source)
