"""Texts to token ids: WordPiece as in bert-base-uncased, or whole words; where the vocabulary is found or built."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from shared.atomic import new_file
from shared.data import wordpiece
from shared.data.cache import cache_folder
from shared.data.splits import Splits
from shared.data.stages import Report, silent
from shared.errors import IsogradError

HUB_TOKENIZER = "google-bert/bert-base-uncased"
LARGEST_SPREAD, FREE_IDS = 2, 1_000  # ids lie below so many times the number of tokens, plus so many
STRANGE_TEXT = "\U0001f9ff \U00013000"  # of characters that no vocabulary knows
PAD_TOKENS = ("[PAD]", "<pad>")
FILES: dict[str, Callable[[Path], Tokenizer]] = {  # the first that a folder has: a vocab.txt does not tell its case
    "tokenizer.json": wordpiece.from_tokenizer_file,
    "vocab.txt": wordpiece.from_vocabulary_file,
}


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer with what others need to know about it; `origin` is a sentence for the log."""

    tokenizer: Tokenizer
    vocabulary_size: int  # largest id + 1
    pad_id: int
    fingerprint: str
    origin: str

    def encode_batch(self, texts: Sequence[str], max_length: int | None = None) -> list[np.ndarray]:
        """int32 ids of each text, special tokens included; texts that are too long are truncated, but keep [SEP]."""
        if max_length is None:
            self.tokenizer.no_truncation()
        else:
            self.tokenizer.enable_truncation(max_length)
        encodings = _encoded(self.tokenizer, texts, self.origin)
        return [np.asarray(encoding.ids, np.int32) for encoding in encodings]

    def encode(self, text: str) -> list[int]:
        """The token ids of one text, special tokens included, regardless of length."""
        (ids,) = self.encode_batch([text])
        return [int(token) for token in ids]

    def special(self, token: str) -> int:
        """The id of a token such as [MASK]; raises IsogradError if there is none."""
        index = self.tokenizer.token_to_id(token)
        if index is None:
            raise IsogradError(f"{self.origin}: expected the token {token}, found none")
        return int(index)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids)))

    def save(self, path: Path) -> None:
        """Write a tokenizer.json, atomically: the same bytes whatever was encoded before."""
        self.tokenizer.no_truncation()
        with new_file(path) as temporary:
            temporary.write_text(self.tokenizer.to_str(), encoding="utf-8")

    @staticmethod
    def load(path: str | Path) -> TextTokenizer:
        """Read a tokenizer.json, a vocab.txt, or a folder with one; raises IsogradError if it is missing or damaged."""
        file = _file_at(Path(path))
        return _finish(_read(file), f"the vocabulary {file}")


def load_tokenizer(
    path: str | Path | None, splits: Splits, *, cache_dir: Path | None = None, report: Report = silent
) -> TextTokenizer:
    """The tokenizer for these texts, from the first of these places that has one.

    `path` (a tokenizer.json, a vocab.txt, or a folder with one); the data folder; `vocabs/bert-base-uncased` beside the
    data folder; the hub, for data from the hub; else it is built from the training texts: whole words for arithmetic,
    word pieces for reviews (trained once, then cached in `cache_dir`).
    Raises IsogradError for a vocabulary that is missing, damaged, or whose padding token is not id 0.
    """
    if path is not None:
        return TextTokenizer.load(path)
    if found := _file_beside(splits):
        return _finish(_read(found), f"the vocabulary {found}, found with the data")
    if splits.vocabulary == "words":
        return _finish(_words(splits.train.texts), "whole words of the training texts")
    if splits.source == "hub":
        return _finish(_from_hub(), f"the vocabulary of {HUB_TOKENIZER} from the Hugging Face hub")
    tokenizer = wordpiece.trained(splits.train.texts, cache_dir or cache_folder(), report)
    return _finish(tokenizer, "word pieces trained on the training texts, as no vocab.txt was found with the data")


def learn_tokenizer(texts: Sequence[str], report: Report = silent) -> TextTokenizer:
    """Word pieces trained on texts, once, then from the cache."""
    return _finish(wordpiece.trained(texts, cache_folder(), report), "word pieces trained on the training texts")


def _file_at(path: Path) -> Path:
    candidates = [path / name for name in FILES] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise IsogradError(f"vocabulary {path}: expected a vocab.txt or a tokenizer.json there, found neither")


def _file_beside(splits: Splits) -> Path | None:
    if splits.folder is None:
        return None
    folders = [splits.folder]
    if splits.vocabulary != "words":
        folders.append(splits.folder.resolve().parent / "vocabs" / "bert-base-uncased")
    return next((file for folder in folders for name in FILES if (file := folder / name).is_file()), None)


def _read(file: Path) -> Tokenizer:
    return FILES["tokenizer.json" if file.suffix == ".json" else "vocab.txt"](file)


def _words(texts: Sequence[str]) -> Tokenizer:
    words = ["[PAD]", "[UNK]", *sorted({word for text in texts for word in text.split()})]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def _from_hub() -> Tokenizer:
    try:
        return Tokenizer.from_pretrained(HUB_TOKENIZER)
    except Exception as error:  # the library raises bare Exceptions for every kind of failure
        raise IsogradError(
            f"could not load {HUB_TOKENIZER} from the Hugging Face hub ({error}); pass a vocab.txt with --vocab"
        ) from error


def _finish(tokenizer: Tokenizer, origin: str) -> TextTokenizer:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    pad_ids = {token: tokenizer.token_to_id(token) for token in PAD_TOKENS}
    if 0 not in pad_ids.values():
        found = {token: index for token, index in pad_ids.items() if index is not None} or "no such token"
        raise IsogradError(f"{origin}: expected the padding token {PAD_TOKENS[0]} at id 0, got {found}")
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    _check_ids(vocabulary, origin)
    _encoded(tokenizer, [STRANGE_TEXT], origin)
    fingerprint = hashlib.sha256(tokenizer.to_str().encode()).hexdigest()
    return TextTokenizer(
        tokenizer, max(vocabulary.values()) + 1, 0, fingerprint, f"{origin} ({len(vocabulary):,} tokens)"
    )


def _check_ids(vocabulary: Mapping[str, int], origin: str) -> None:
    """Raise IsogradError for ids far beyond the number of tokens: a model would have a row for every id."""
    token = max(vocabulary, key=vocabulary.__getitem__)
    limit = LARGEST_SPREAD * len(vocabulary) + FREE_IDS
    if vocabulary[token] >= limit:
        raise IsogradError(
            f"{origin}: expected ids below {limit:,} for {len(vocabulary):,} tokens, got {vocabulary[token]:,} for "
            f"{token[:40]!r}: number the tokens from 0"
        )


def _encoded(tokenizer: Tokenizer, texts: Sequence[str], origin: str) -> list[Any]:
    try:
        return list(tokenizer.encode_batch_fast(list(texts)))
    except Exception as error:  # the library raises bare Exceptions, such as for a missing [UNK]
        raise IsogradError(f"{origin}: expected a tokenizer that encodes any text, got: {error}") from error
