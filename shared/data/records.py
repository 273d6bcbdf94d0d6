"""Delimited text files, plain or gzipped, as records with the line on which each begins; damage is reported by line."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.errors import IsogradError

LONGEST_FIELD = 2**31 - 1
NO_QUOTES: dict[str, Any] = {"quoting": csv.QUOTE_NONE}


def read_records(path: Path, delimiter: str, quoted: bool = True) -> Iterator[tuple[int, list[str]]]:
    """Yield (line of the record's start, fields); blank lines are skipped. Without quoting, a quote is a letter.

    Raises IsogradError, with file and line, for wrong quoting, for bytes that are not UTF-8 and for damaged gzip files.
    """
    reader = csv.reader(_lines(path), delimiter=delimiter, strict=True, **({} if quoted else NO_QUOTES))
    while True:
        start = reader.line_num + 1
        try:
            fields = _next_with_long_fields(reader)
        except csv.Error as error:
            raise IsogradError(
                f"{path}, line {start}: expected fields separated by {delimiter!r}, quotes doubled in quoted fields; "
                f"got a record that can't be read ({error})"
            ) from error
        if fields is None:
            return
        if fields:
            yield start, fields


def _next_with_long_fields(reader: Iterator[list[str]]) -> list[str] | None:
    previous = csv.field_size_limit(LONGEST_FIELD)  # a process-wide setting: restored at once
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(previous)


def _lines(path: Path) -> Iterator[str]:
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):  # noqa: B007  (the handlers below read it)
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        got = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
        raise IsogradError(
            f"{path}, line {number}: expected UTF-8 text, got {got}; convert the file to UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise IsogradError(
            f"{path}, after line {number}: expected a complete file, got: {error}; download it again"
        ) from error


def short(value: object, limit: int = 80) -> str:
    """The value as text, shortened to fit into a sentence."""
    text = str(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
