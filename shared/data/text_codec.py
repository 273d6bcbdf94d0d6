"""A tokenizer of a language model with what a run needs to know about it: where it is from, how it is saved."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from shared.atomic import new_file
from shared.data.bpe import BPE
from shared.data.characters import Characters
from shared.data.texts import read_text
from shared.errors import IsogradError
from shared.json_text import parse_object, to_json


@dataclass(frozen=True)
class TextCodec:
    """Texts to token ids and back; `origin` is a sentence for the log."""

    tokenizer: BPE | Characters
    origin: str

    @staticmethod
    def train(kind: str, text: str, vocabulary_size: int | None) -> TextCodec:
        """Byte-level BPE of this size ("bpe"), or the characters of the text."""
        if kind == "characters":
            return TextCodec(Characters.train([text]), "the characters of the texts")
        learned = BPE.train([text], vocabulary_size or len(text))
        return TextCodec(learned, f"byte-level BPE of the training text ({learned.vocabulary_size:,} tokens)")

    @staticmethod
    def load(path: Path) -> TextCodec:
        """Read what `save` wrote; raises IsogradError if it is something else."""
        try:
            content = parse_object(read_text(path))
            return TextCodec(_from_content(content), f"the vocabulary {path}")
        except IsogradError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise IsogradError(f"{path}: expected a vocabulary written by isograd, got: {error!r}") from error

    def save(self, path: Path) -> None:
        """Write a JSON file, atomically."""
        with new_file(path) as temporary:
            temporary.write_text(self._text, encoding="utf-8")

    @property
    def vocabulary_size(self) -> int:
        return self.tokenizer.vocabulary_size

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._text.encode()).hexdigest()

    @cached_property
    def bytes_of_tokens(self) -> np.ndarray:
        """int32 (V,): the bytes of each token's text in UTF-8."""
        if isinstance(self.tokenizer, Characters):
            return np.array([len(token.encode()) for token in self.tokenizer.tokens], np.int32)
        counts = np.zeros(self.vocabulary_size, np.int32)
        for token, text in self.tokenizer.tokens.items():
            counts[token] = len(text)
        return counts

    def encode(self, text: str) -> list[int]:
        """The token ids of a text."""
        return self.tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        return self.tokenizer.decode(ids)

    @cached_property
    def _text(self) -> str:
        if isinstance(self.tokenizer, Characters):
            return to_json({"kind": "characters", "tokens": self.tokenizer.tokens})
        merges = [[*pair, token] for pair, token in self.tokenizer.merges.items()]
        alphabet = [self.tokenizer.alphabet[byte] for byte in range(256)]
        return to_json({"kind": "bpe", "alphabet": alphabet, "merges": merges, "special": dict(self.tokenizer.special)})


def _from_content(content: dict[str, Any]) -> BPE | Characters:
    if content["kind"] == "characters":
        return Characters(tuple(content["tokens"]))
    alphabet = {byte: int(content["alphabet"][byte]) for byte in range(256)}
    merges = {(int(left), int(right)): int(token) for left, right, token in content["merges"]}
    read = BPE(alphabet, merges, dict(content["special"]))
    _ = read.tokens  # a merge of unknown tokens is found here
    return read
