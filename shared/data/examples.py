"""Tokenised examples as flat arrays: built once from texts, cached on disk, read back without pickle."""

from __future__ import annotations

import hashlib
import logging
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.data.cache import cache_folder, store
from shared.data.splits import Reviews, Splits
from shared.data.vocabulary import TextTokenizer
from shared.errors import IsogradError

CACHE_FORMAT = 1  # increment when the arrays or their meaning change
CHUNK = 2_000  # texts tokenised between two reports of progress
ARRAYS = {"ids": np.int32, "offsets": np.int64, "labels": np.int32}
Progress = Callable[[int, int], None]  # (texts done, texts in total)

log = logging.getLogger("isograd")


@dataclass(frozen=True, eq=False)
class Examples:
    """Example i has the token ids `ids[offsets[i] : offsets[i + 1]]` and the label `labels[i]`."""

    ids: np.ndarray  # int32, all examples concatenated
    offsets: np.ndarray  # int64, one more than there are examples
    labels: np.ndarray  # int32

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each example."""
        return np.diff(self.offsets).astype(np.int32)


def tokenise(
    splits: Splits,
    tokenizer: TextTokenizer,
    max_length: int,
    cache_dir: Path | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Examples]:
    """The examples of each split ("train", "validation", "test" if there is one), cut to `max_length` tokens.

    Cached in `cache_dir` under a name derived from texts, tokenizer and length; a damaged file is rebuilt.
    """
    key = f"{CACHE_FORMAT} {splits.fingerprint} {tokenizer.fingerprint} {max_length}"
    name = f"examples-{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
    file = (cache_dir or cache_folder()) / name
    parts = splits.parts()
    cached = _read(file, {part: len(reviews) for part, reviews in parts.items()})
    if cached is not None:
        return cached
    report = _totalling(progress, sum(map(len, parts.values())))
    examples = {part: _tokenised(part, reviews, tokenizer, max_length, report) for part, reviews in parts.items()}
    arrays: dict[str, Any] = {
        f"{part}.{name}": getattr(made, name) for part, made in examples.items() for name in ARRAYS
    }
    store(file, lambda opened: np.savez(opened, **arrays))
    return examples


def _totalling(progress: Progress | None, total: int) -> Callable[[int], None]:
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    return report


def _tokenised(
    part: str, reviews: Reviews, tokenizer: TextTokenizer, max_length: int, report: Callable[[int], None]
) -> Examples:
    rows: list[np.ndarray] = []
    for start in range(0, len(reviews), CHUNK):
        rows += tokenizer.encode_batch(reviews.texts[start : start + CHUNK], max_length)
        report(len(rows) - start)
    lengths = np.array([len(row) for row in rows], np.int64)
    if not lengths.all():
        first = int(lengths.argmin())
        raise IsogradError(
            f"{part} text {first} has no tokens in {tokenizer.origin}: {reviews.texts[first][:60]!r}; remove it"
        )
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Examples(np.concatenate(rows).astype(np.int32), offsets, np.array(reviews.labels, np.int32))


def _read(file: Path, expected: Mapping[str, int]) -> dict[str, Examples] | None:
    if not file.exists():
        return None
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            examples = {part: Examples(*(arrays[f"{part}.{name}"] for name in ARRAYS)) for part in expected}
        if all(_is_sound(examples[part], number) for part, number in expected.items()):
            return examples
        problem: object = "its arrays do not fit together"
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        problem = error
    log.warning("the cache file %s is damaged (%s): rebuilding it", file, problem)
    return None


def _is_sound(examples: Examples, number: int) -> bool:
    typed = all(getattr(examples, name).dtype == dtype for name, dtype in ARRAYS.items())
    sized = examples.offsets.shape == (number + 1,) and examples.labels.shape == (number,) and examples.ids.ndim == 1
    return typed and sized and examples.offsets[-1] == len(examples.ids) and bool((examples.lengths > 0).all())
