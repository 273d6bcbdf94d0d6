"""The alphabet of word translation: small letters and the hyphen, and three marks."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.atomic import new_file
from shared.data.texts import read_text
from shared.errors import IsogradError
from shared.json_text import parse_object, to_json

LETTERS = string.ascii_lowercase + "-"
START, END, END_OF_PROMPT = range(len(LETTERS), len(LETTERS) + 3)  # before a target, after it, after a source
VOCABULARY_SIZE = len(LETTERS) + 3
_IDS = {letter: index for index, letter in enumerate(LETTERS)}


@dataclass(frozen=True)
class Letters:
    """Words to ids and back; no more than an alphabet."""

    origin: str = "the letters a to z and the hyphen, with a start, an end and an end of the prompt"

    @property
    def vocabulary_size(self) -> int:
        return VOCABULARY_SIZE

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._text.encode()).hexdigest()

    @property
    def _text(self) -> str:
        return to_json({"kind": "letters", "letters": LETTERS})

    def encode(self, text: str) -> list[int]:
        """The ids of a word; raises IsogradError for a character outside the alphabet."""
        if unknown := [letter for letter in text if letter not in _IDS]:
            raise IsogradError(f"expected a word of the letters a to z and hyphens, got {unknown[0]!r} in {text!r}")
        return [_IDS[letter] for letter in text]

    def decode(self, ids: Sequence[int]) -> str:
        """The letters before the first END; other marks have no letter."""
        word = []
        for token in ids:
            if token == END:
                break
            word.append(LETTERS[token] if 0 <= token < len(LETTERS) else "")
        return "".join(word)

    def save(self, path: Path) -> None:
        """Write a JSON file, atomically."""
        with new_file(path) as temporary:
            temporary.write_text(self._text, encoding="utf-8")

    @staticmethod
    def load(path: Path) -> Letters:
        """Read what `save` wrote; raises IsogradError for anything else: the alphabet is fixed."""
        found = parse_object(read_text(path))
        if found.get("kind") != "letters" or found.get("letters") != LETTERS:
            raise IsogradError(f"{path}: expected the alphabet {LETTERS!r} as written by isograd: leave --vocab out")
        return Letters()


def is_translatable(word: str) -> bool:
    """True for a word of the alphabet's letters alone."""
    return bool(word) and all(letter in _IDS for letter in word)
