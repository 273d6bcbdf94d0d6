"""The records of a run as its continuation and its report need them: complete, and with every number in place."""

import math
from collections.abc import Sequence
from pathlib import Path

from experiments.progress.display import Record
from shared.errors import IsogradError
from shared.metrics_log import FILE, read
from shared.tasks.task import Task

NUMBERS = {  # kind of a record -> what it must hold besides the step; a validation also has the task's figures
    "train": ("epoch", "loss", "gradient_norm"),
    "validation": ("loss", "evaluation_seconds"),
}
SAMPLES = "samples"  # the kind of a record with texts that a language model wrote
TEXTS = ("prompt", "text")  # of each of them, the second with the prompt at its start


def read_log(folder: Path, task: Task, until: float = math.inf) -> list[Record]:
    """The records of a run up to a step.

    Raises IsogradError for the first of them without its step, its kind or one of its numbers.
    """
    records = [record for record in read(folder) if record.get("step", 0) <= until]
    for number, record in enumerate(records, start=1):
        kind = record.get("kind")
        if not isinstance(kind, str):
            raise _malformed(folder, number, f"a kind ({' or '.join(NUMBERS)})", kind)
        figures = tuple(figure.name for figure in task.figures) if kind == "validation" else ()
        if kind == SAMPLES and not _are_texts(record.get("texts")):
            raise _malformed(folder, number, "texts with a prompt each", record.get("texts"))
        for name in ("step", *NUMBERS.get(kind, ()), *figures):
            if not _is_number(record.get(name)):
                raise _malformed(folder, number, f"a number as {name}", record.get(name))
    return records


def missing_steps(records: Sequence[Record], until: int) -> list[int]:
    """The steps up to this one without a training record: every step of a run has one."""
    there = {record.get("step") for record in records if record.get("kind") == "train"}
    return [step for step in range(1, until + 1) if step not in there]


def describe_missing(steps: Sequence[int]) -> str:
    """A few words on missing steps."""
    return f"{FILE} lacks the records of {len(steps):,} steps ({steps[0]} to {steps[-1]})" if steps else ""


def read_history(folder: Path, task: Task, step: int) -> list[Record]:
    """The records up to the step from which a run resumes; none if the log is lost."""
    return read_log(folder, task, step) if (folder / FILE).is_file() else []


def notes_on_history(folder: Path, records: Sequence[Record], step: int, patience: int | None) -> list[str]:
    """A note on records up to a step that are lost, without which a run can go on.

    Raises IsogradError if its early stopping needs them.
    """
    missing = missing_steps(records, step)
    if not missing:
        return []
    if patience is not None:
        raise IsogradError(
            f"{folder}: {describe_missing(missing)}, from which --patience counts its validations: restore the file"
        )
    return [f"{folder}: {describe_missing(missing)}: the run goes on, and its report will lack them"]


def _malformed(folder: Path, number: int, expected: str, got: object) -> IsogradError:
    shown = "nothing" if got is None else repr(got)[:60]
    return IsogradError(f"{folder / FILE}, record {number}: expected {expected}, got {shown}; was the file edited?")


def _are_texts(value: object) -> bool:
    parts = value if isinstance(value, list) and value else [None]
    return all(isinstance(part, dict) and {str} == {type(part.get(name)) for name in TEXTS} for part in parts)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
