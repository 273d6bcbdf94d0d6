"""Reviews and corpora from the Hugging Face hub, through the `datasets` library, which is imported only on demand."""

from __future__ import annotations

from typing import Any

from shared.data.splits import Reviews
from shared.errors import IsogradError

UNLABELLED = -1
PARTS = {"train": "train", "validation": "dev", "test": "test"}  # the hub's names -> ours


def load_parts(hub_id: str, text_column: str, label_column: str, number_of_labels: int) -> dict[str, Reviews]:
    """The labelled parts of a hub dataset; any failure becomes one IsogradError."""
    published = _published(hub_id)
    return {
        ours: _reviews(published[theirs], text_column, label_column, number_of_labels, f"{hub_id}, split {theirs}")
        for theirs, ours in PARTS.items()
        if theirs in published and not (theirs == "test" and _is_unlabelled(published[theirs], label_column))
    }


def load_texts(hub_id: str, configuration: str) -> dict[str, str]:
    """The parts of a corpus, whose rows are lines that end with a newline; any failure becomes one IsogradError."""
    published = _published(hub_id, configuration)
    return {ours: "".join(published[theirs]["text"]) for theirs, ours in PARTS.items()}


def _published(*name: str) -> Any:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise IsogradError("--data hub needs the `datasets` library: pip install datasets") from error
    try:
        return load_dataset(*name)
    except Exception as error:  # the library raises dozens of types: network, cache, authorisation, scripts
        raise IsogradError(
            f"could not load {name[0]} from the Hugging Face hub ({type(error).__name__}: {error}); "
            "check the network, or pass a local folder with --data FOLDER"
        ) from error


def _is_unlabelled(rows: Any, label_column: str) -> bool:
    """Whether every label is -1, as in the test parts of GLUE."""
    return label_column in rows.column_names and set(rows[label_column]) == {UNLABELLED}


def _reviews(rows: Any, text_column: str, label_column: str, number_of_labels: int, where: str) -> Reviews:
    missing = {text_column, label_column} - set(rows.column_names)
    if missing:
        raise IsogradError(f"{where}: expected columns {text_column} and {label_column}, got {rows.column_names}")
    texts, labels = tuple(map(str, rows[text_column])), tuple(map(int, rows[label_column]))
    wrong = sorted({label for label in labels if not 0 <= label < number_of_labels})
    if wrong:
        raise IsogradError(f"{where}: expected labels 0 to {number_of_labels - 1}, also got {wrong}")
    return Reviews(texts, labels)
