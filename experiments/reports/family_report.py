"""The faults that are named without the mistakes of their own row, as sentences and as Markdown."""

from pathlib import Path
from typing import Any

from experiments.reports.fault_report import unfinished
from shared.atomic import new_file
from shared.checkpoint import write_json

FILES = DATA, TABLE, JOURNAL = "families.json", "families.md", "families.jsonl"
INTRODUCTION = """\
The faults that the catalogue knows are planted and explained once more, each without all mistakes in source that are
written for its own row. A name that is right then comes from changes of torch's functions or from weight layouts.
Faults that need a training run are left out."""


def summary(found: dict[str, Any]) -> str:
    """The counts in sentences, then the wrong names."""
    known = found["known"]
    lines = [
        *filter(None, [unfinished(found)]),
        f"{found['very_edits']} of {known} faults that the catalogue knows are the very edit of a mistake of their row",
        f"{found['right']} of {known} are named right without the mistakes of their row, {found['wrong']} wrong, "
        f"{found['unnamed']} not at all",
        *(f"named wrong: {name}" for name in found["wrong_names"]),
    ]
    return "\n".join(lines)


def write(found: dict[str, Any], folder: Path, command: str) -> None:
    """Write families.json and families.md, which name the command, into the folder, each atomically."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        "# Planted faults, named without their families", "", INTRODUCTION, "",
        *(f"- {line}" for line in summary(found).split("\n")), "",
        f"Measured on {found['device']} with {versions}.", "", "```bash", command, "```", "",
    ]  # fmt: skip
    write_json(folder / DATA, found)
    with new_file(folder / TABLE) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
