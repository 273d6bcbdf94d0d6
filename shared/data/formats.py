"""Folders of published review files: a table of formats, detecting a folder's, and reading its parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.data import splits
from shared.data.records import read_records, short
from shared.data.splits import Reviews
from shared.data.stages import Report, counted, silent
from shared.errors import IsogradError


@dataclass(frozen=True)
class Format:
    """A published dataset's layout on disk. Patterns of a part are tried in order, each also with `.gz` appended."""

    name: str
    files: Mapping[str, tuple[str, ...]]  # part -> file name patterns
    required: tuple[str, ...]  # parts that must exist
    delimiter: str
    header: tuple[str, ...] | None  # names may have alternatives, as in "sentence|content"
    columns: int
    text_column: int
    label_column: int
    labels: Mapping[str, int]
    clean: Callable[[str], str]
    validation: splits.ValidationRule
    quoted: bool = True  # as in CSV; otherwise a quote is a letter


def _any_of(part: str, ending: str) -> tuple[str, ...]:
    return (f"orig_{part}.{ending}", f"{part}.{ending}", f"*{part}.{ending}")


FORMATS = (
    Format(
        name="verbal arithmetic CSV (header `,input,label`)",
        files={part: _any_of(part, "csv") for part in ("train", "test")},
        required=("train", "test"),
        delimiter=",",
        header=("", "input", "label"),
        columns=3,
        text_column=1,
        label_column=2,
        labels={"0": 0, "1": 1, "2": 2},
        clean=str,
        validation=splits.validate_on_test,
    ),
    Format(
        name="SST-2 TSV (header `label<tab>sentence`)",
        files={part: _any_of(part, "tsv") for part in ("train", "dev", "test")},
        required=("train",),
        delimiter="\t",
        header=("label", "sentence|content"),
        columns=2,
        text_column=1,
        label_column=0,
        labels={"0": 0, "1": 1},
        clean=str,
        validation=splits.validate_on_dev_or_held_out,
        quoted=False,
    ),
    Format(
        name="SST-2 TSV of GLUE (header `sentence<tab>label`)",
        files={part: _any_of(part, "tsv") for part in ("train", "dev")},
        required=("train",),
        delimiter="\t",
        header=("sentence", "label"),
        columns=2,
        text_column=0,
        label_column=1,
        labels={"0": 0, "1": 1},
        clean=str,
        validation=splits.validate_on_dev_or_held_out,
        quoted=False,
    ),
    Format(
        name="IMDb TSV (header `Sentiment<tab>Text`)",
        files={part: _any_of(part, "tsv") for part in ("train", "dev", "test")},
        required=("train",),
        delimiter="\t",
        header=("Sentiment", "Text"),
        columns=2,
        text_column=1,
        label_column=0,
        labels={"Negative": 0, "Positive": 1},
        clean=lambda text: re.sub(r"<br\s*/?>", "\n", text),
        validation=splits.validate_on_dev_or_held_out,
    ),
    Format(
        name='Yelp CSV (no header, `"1|2","text"`)',
        files={part: (f"{part}.csv",) for part in ("train", "test")},
        required=("train", "test"),
        delimiter=",",
        header=None,
        columns=2,
        text_column=1,
        label_column=0,
        labels={"1": 0, "2": 1},
        clean=lambda text: text.replace("\\n", "\n"),
        validation=splits.share_test_split,
    ),
)


def read_folder(folder: Path, report: Report = silent) -> tuple[Format, dict[str, Reviews]]:
    """The format of a folder and the reviews of each of its parts.

    Raises IsogradError for a missing folder or file (naming what was looked for) and for a malformed line.
    """
    if not folder.is_dir():
        got = "a file; pass the folder that contains it" if folder.exists() else "no such folder"
        raise IsogradError(f"data folder {folder}: expected a folder with {_looked_for()}; got {got}")
    format = recognise(folder)
    paths = {part: _find(folder, patterns) for part, patterns in format.files.items()}
    missing = [" or ".join(format.files[part]) for part in format.required if paths[part] is None]
    if missing:
        raise IsogradError(f"data folder {folder} in the format {format.name} lacks {', '.join(missing)} (or .gz)")
    return format, {part: _read(path, format, report) for part, path in paths.items() if path is not None}


def recognise(folder: Path) -> Format:
    """The first format whose training file exists with its header; else the last whose training file exists at all."""
    found = [(format, path) for format in FORMATS if (path := _find(folder, format.files["train"]))]
    if not found:
        present = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "an empty folder"
        raise IsogradError(f"data folder {folder}: expected {_looked_for()}; got {short(present, 200)}")
    return next((format for format, path in found if _has_header(path, format)), found[-1][0])


def _has_header(path: Path, format: Format) -> bool:
    first = next(read_records(path, format.delimiter, format.quoted), (1, []))[1]
    return format.header is None or _is_header(first, format.header)


def _is_header(fields: list[str], header: tuple[str, ...]) -> bool:
    return len(fields) == len(header) and all(map(_is_named, fields, header))


def _is_named(field: str, names: str) -> bool:
    return field in names.split("|")


def _find(folder: Path, patterns: tuple[str, ...]) -> Path | None:
    for pattern in patterns:
        found = sorted(path for ending in ("", ".gz") for path in folder.glob(pattern + ending))
        matches = [path for path in found if path.is_file()]
        if found and not matches:
            raise IsogradError(f"data folder {folder}: expected a file {found[0].name}, got a folder of that name")
        if len(matches) > 1:
            names = ", ".join(path.name for path in matches)
            raise IsogradError(f"data folder {folder}: expected one file {pattern}, got {names}; keep one of them")
        if matches:
            return matches[0]
    return None


def _looked_for() -> str:
    return "; or ".join(
        f"{format.name}: {', '.join(format.files[part][-1] for part in format.files)} (or .gz)" for format in FORMATS
    )


def _read(path: Path, format: Format, report: Report) -> Reviews:
    texts, labels, header, wrong = [], [], format.header, Labels(path, format)
    records = read_records(path, format.delimiter, format.quoted)
    for line, fields in counted(records, report, f"{path.name}: read"):
        if header is not None:
            _check_header(path, line, fields, header)
            header = None
            continue
        if wrong.sees(line, fields):
            continue
        text, label = _parse(path, line, fields, format)
        texts.append(text)
        labels.append(label)
    wrong.check(len(texts))
    if not texts:
        raise IsogradError(f"{path}: expected reviews in the format {format.name}, got none; is the file complete?")
    return Reviews(tuple(texts), tuple(labels))


class Labels:
    """The rows of a file whose labels the format does not have, reported together."""

    def __init__(self, path: Path, format: Format) -> None:
        self.path, self.format = path, format
        self.first, self.found, self.rows = 0, dict[str, int](), 0

    def sees(self, line: int, fields: list[str]) -> bool:
        """Whether this row's label is unknown; its first line and their number are kept."""
        if len(fields) != self.format.columns or fields[self.format.label_column] in self.format.labels:
            return False
        self.first, self.rows = self.first or line, self.rows + 1
        self.found.setdefault(fields[self.format.label_column], line)
        return True

    def check(self, good: int) -> None:
        """Raise IsogradError if there were such rows: how many, the first of them, and what to do."""
        if self.rows:
            raise IsogradError(
                f"{self.path}, line {self.first}: expected a label out of {', '.join(self.format.labels)}, got "
                f"{short(repr(next(iter(self.found))))} ({self.rows} of {good + self.rows} rows have such a label); "
                f"{self._remedy()}"
            )

    def _remedy(self) -> str:
        labels = list(self.format.labels)
        if self.rows == self.first == 1:
            return "line 1 looks like a header: remove it"
        if labels[0] == "1" and set(self.found) == {"0"}:
            return "the labels seem to start at 0: add 1 to every label"
        return "correct or remove these records"


def _check_header(path: Path, line: int, fields: list[str], header: tuple[str, ...]) -> None:
    if not _is_header(fields, header):
        raise IsogradError(
            f"{path}, line {line}: expected the header {list(header)}, got {short(fields)}; "
            f"the known formats are {'; '.join(format.name for format in FORMATS)}"
        )


def _parse(path: Path, line: int, fields: list[str], format: Format) -> tuple[str, int]:
    def malformed(expected: str, got: object) -> IsogradError:
        return IsogradError(
            f"{path}, line {line}: expected {expected}, got {short(got)}; correct or remove this record"
        )

    if len(fields) != format.columns:
        raise malformed(f"{format.columns} columns ({format.name})", f"{len(fields)}: {short(fields)}")
    label, text = fields[format.label_column], format.clean(fields[format.text_column])
    if label not in format.labels:
        raise malformed(f"a label out of {', '.join(format.labels)}", repr(label))
    if not text.strip():
        raise malformed("a text", "an empty one")
    return text, format.labels[label]
