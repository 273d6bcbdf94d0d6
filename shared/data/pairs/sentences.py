"""A sentence cut into words to translate and what is kept as it is."""

import re
from collections.abc import Mapping, Sequence

PIECE = re.compile(r"\s+|\S+")
WORD = re.compile(r"([^\w-]*)([a-z-]*[a-z][a-z-]*)([^\w-]*)")  # a word of the alphabet between signs
Piece = tuple[str, str, str]  # what stands before a word, the word, what stands behind it; no word: all is kept


def cut(sentence: str) -> list[Piece]:
    """The pieces of a sentence; joined again they are the sentence."""
    pieces = []
    for found in PIECE.findall(sentence):
        word = WORD.fullmatch(found)
        pieces.append((found, "", "") if word is None else (word[1], word[2], word[3]))
    return pieces


def kept(pieces: Sequence[Piece]) -> list[str]:
    """What is not translated, space aside, each once."""
    return list(dict.fromkeys(part.strip() for piece in pieces for part in (piece[0], piece[2]) if part.strip()))


def joined(pieces: Sequence[Piece], translations: Mapping[str, str]) -> str:
    """The sentence with its words translated."""
    return "".join(before + translations.get(word, word) + after for before, word, after in pieces)
