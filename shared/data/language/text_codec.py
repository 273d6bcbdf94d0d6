"""A tokenizer of a language model with what a run needs to know about it: where it is from, how it is saved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from shared.atomic import new_file
from shared.data.bpe import BPE, END
from shared.data.characters import Characters
from shared.data.language import fast_bpe
from shared.data.texts import read_text
from shared.data.words import PAD, START, STOP, Words
from shared.errors import IsogradError
from shared.json_text import parse_object, to_json

Tokenizer = BPE | Characters | Words
GPT2_FILES = "encoder.json", "vocab.bpe"
USUAL_SIZE = 50257  # of BPE: GPT-2's


@dataclass(frozen=True)
class TextCodec:
    """Texts to token ids and back; `origin` is a sentence for the log."""

    tokenizer: Tokenizer
    origin: str

    @staticmethod
    def train(kind: str, texts: Sequence[str], vocabulary_size: int | None) -> TextCodec:
        """Learn a row of KINDS from texts; BPE and words have a size that can be chosen."""
        tokenizer, origin = KINDS[kind].learn(texts, vocabulary_size)
        return TextCodec(tokenizer, origin)

    @staticmethod
    def load(path: Path) -> TextCodec:
        """Read what `save` wrote, or a folder with GPT-2's two files; raises IsogradError if it is something else."""
        if path.is_dir():
            return TextCodec(BPE.load(*(path / name for name in GPT2_FILES)), f"the vocabulary in {path}")
        text = read_text(path)
        try:
            content = parse_object(text)
            return TextCodec(KINDS[content["kind"]].from_content(content), f"the vocabulary {path}")
        except IsogradError as error:
            raise IsogradError(f"{path}: {error}") from error
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise IsogradError(
                f"{path}: expected a vocabulary written by isograd, or a folder with {' and '.join(GPT2_FILES)}, got: "
                f"{error!r}"
            ) from error

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
        """int32 (V,): the bytes of each token's text in UTF-8: of a word with the space behind it, of what ends a text
        the line's end; characters and BPE have none there.
        """
        counts = np.zeros(self.vocabulary_size, np.int32)
        for token, size in self._kind.sizes(self.tokenizer):
            counts[token] = size
        return counts

    @cached_property
    def end(self) -> int | None:
        """The token behind the last one of a document, if there is one."""
        return self._kind.special(self.tokenizer, END, STOP)

    @cached_property
    def filler(self) -> int:
        """The token that fills a row, at positions of weight 0."""
        found = self._kind.special(self.tokenizer, END, PAD)
        return 0 if found is None else found

    def encode(self, text: str) -> list[int]:
        """The token ids of a text that may go on."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, without one that ends it."""
        return self._encode(texts)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        return self.tokenizer.decode(ids)

    @property
    def _kind(self) -> Kind:
        return KINDS[_kind_of(self.tokenizer)]

    @cached_property
    def _encode(self) -> Callable[[Sequence[str]], list[list[int]]]:
        return self._kind.encoder(self.tokenizer)

    @cached_property
    def _text(self) -> str:
        return to_json({"kind": _kind_of(self.tokenizer), **self._kind.to_content(self.tokenizer)})


class Kind(NamedTuple):
    """What differs between tokenizers; `special` finds a token by its name in BPE, or else in words."""

    learn: Callable[[Sequence[str], int | None], tuple[Any, str]]
    encoder: Callable[[Any], Callable[[Sequence[str]], list[list[int]]]]
    sizes: Callable[[Any], list[tuple[int, int]]]
    special: Callable[[Any, str, str], int | None]
    to_content: Callable[[Any], dict[str, Any]]
    from_content: Callable[[dict[str, Any]], Any]


def _learn_bpe(texts: Sequence[str], vocabulary_size: int | None) -> tuple[BPE, str]:
    """BPE with a token for the end of a document behind the merges."""
    learned = fast_bpe.train(texts, (vocabulary_size or USUAL_SIZE) - 1)
    ended = replace(learned, special={END: learned.vocabulary_size})
    return ended, f"byte-level BPE of the training text ({ended.vocabulary_size:,} tokens)"


def _bpe_content(bpe: BPE) -> dict[str, Any]:
    merges = [[*pair, token] for pair, token in bpe.merges.items()]
    return {"alphabet": [bpe.alphabet[byte] for byte in range(256)], "merges": merges, "special": dict(bpe.special)}


def _bpe_of(content: dict[str, Any]) -> BPE:
    alphabet = {byte: int(content["alphabet"][byte]) for byte in range(256)}
    merges = {(int(left), int(right)): int(token) for left, right, token in content["merges"]}
    _check_order(set(alphabet.values()), merges)
    return BPE(alphabet, merges, dict(content["special"]))


def _check_order(known: set[int], merges: dict[tuple[int, int], int]) -> None:
    """Raise IsogradError for a merge of a token not among the known ones, to which each merge adds its own."""
    for number, (pair, token) in enumerate(merges.items(), start=1):
        if late := [part for part in pair if part not in known]:
            raise IsogradError(
                f"merge {number}: expected a merge of bytes or of tokens merged before, got token {late[0]}: restore "
                "the order in which the merges were learned"
            )
        known.add(token)


def _learn_words(texts: Sequence[str], vocabulary_size: int | None) -> tuple[Words, str]:
    """The words that occur three times, or of those the most frequent ones."""
    words = Words(Words.train(texts).tokens[:vocabulary_size])
    return words, f"the most frequent words of the training text ({words.vocabulary_size:,} tokens)"


def _word_sizes(words: Words) -> list[tuple[int, int]]:
    written = {PAD: "", START: "", STOP: "\n"}
    return [(token, len(written.get(word, f"{word} ").encode())) for token, word in enumerate(words.tokens)]


KINDS: dict[str, Kind] = {
    "bpe": Kind(
        learn=_learn_bpe,
        encoder=lambda bpe: fast_bpe.FastBPE(bpe).encode,
        sizes=lambda bpe: [(token, len(text)) for token, text in bpe.tokens.items() if text != END.encode()],
        special=lambda bpe, name, word: bpe.special.get(name),
        to_content=_bpe_content,
        from_content=_bpe_of,
    ),
    "characters": Kind(
        learn=lambda texts, size: (Characters.train(texts), "the characters of the texts"),
        encoder=lambda characters: lambda texts: [characters.encode(text) for text in texts],
        sizes=lambda characters: [(token, len(text.encode())) for token, text in enumerate(characters.tokens)],
        special=lambda characters, name, word: None,
        to_content=lambda characters: {"tokens": characters.tokens},
        from_content=lambda content: Characters(tuple(content["tokens"])),
    ),
    "words": Kind(
        learn=_learn_words,
        encoder=lambda words: lambda texts: [words.encode(text)[:-1] for text in texts],
        sizes=_word_sizes,
        special=lambda words, name, word: words.tokens.index(word),
        to_content=lambda words: {"tokens": words.tokens},
        from_content=lambda content: Words(tuple(content["tokens"])),
    ),
}


def _kind_of(tokenizer: Tokenizer) -> str:
    return {BPE: "bpe", Characters: "characters", Words: "words"}[type(tokenizer)]
