"""The records of a run as its continuation and its report need them: complete, and with every number in place."""

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


def read_log(folder: Path, task: Task) -> list[Record]:
    """The records of a run; raises IsogradError for the first without its step, its kind or one of its numbers."""
    records = read(folder)
    for number, record in enumerate(records, start=1):
        kind = record.get("kind")
        if not isinstance(kind, str):
            raise _malformed(folder, number, f"a kind ({' or '.join(NUMBERS)})", kind)
        figures = tuple(figure.name for figure in task.figures) if kind == "validation" else ()
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


def notes_on_log(folder: Path, step: int, patience: int | None) -> list[str]:
    """A note on records that are lost, without which a run can go on.

    Raises IsogradError if its early stopping needs them.
    """
    records = read(folder) if (folder / FILE).is_file() else []
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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
