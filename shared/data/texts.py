"""Texts as tokenizers take them: files of valid UTF-8, no half of a surrogate pair, no unknown token id."""

import gzip
import zlib
from collections.abc import Container, Sequence
from pathlib import Path

from shared.errors import IsogradError


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, plain or gzipped, line ends as they are.

    Raises IsogradError for a file that can't be read, with the offset of the first byte that is not UTF-8.
    """
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise IsogradError(
            f"{path}: expected UTF-8 text, got the byte 0x{error.object[error.start]:02x} at offset {error.start}; "
            "convert the file to UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise IsogradError(f"{path}: expected a readable text file, got: {error}") from error


def encoded_text(text: str) -> bytes:
    """The text in UTF-8; raises IsogradError for half of a surrogate pair."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise IsogradError(
            f"expected a text that UTF-8 can hold, got {text[error.start]!r}, half of a surrogate pair, as character "
            f"{error.start}: remove it, or read the text with its right encoding"
        ) from error


def check_ids(ids: Sequence[int], known: Container[int]) -> None:
    """Raise IsogradError for the first token id that the vocabulary does not have."""
    for place, token in enumerate(ids):
        if token not in known:
            raise IsogradError(
                f"expected ids of the vocabulary, got {token} as number {place}: use the vocabulary that encoded them"
            )
