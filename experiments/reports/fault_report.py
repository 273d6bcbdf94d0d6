"""The results of planting faults: a table for the terminal, one in Markdown for the README, and a page."""

import platform
from pathlib import Path
from typing import Any

from shared.atomic import new_file
from shared.checkpoint import write_json

FILES = DATA, TABLE, PAGE, JOURNAL = "faults.json", "faults.md", "faults.html", "faults.jsonl"
SHOWN = 20  # names per list of failures
INTRODUCTION = """\
Faults are planted one at a time in one of two implementations that agree. A fault is caught if a comparison of the two
reports it, and located if the comparison names its module and phase; for those in the catalogue, the number named
correctly is given. Published criteria judge the same faults in the dtypes that they were published for, float32 and
float64. Equal implementations must raise no alarm: equivalent variants, and unchanged pairs with different weights and
inputs."""


def passed(scores: dict[str, Any]) -> bool:
    """True if the score meets every promise that the project makes about its checks."""
    from crosscheck.faults.promises import broken_promises

    return not broken_promises(scores)


def measured_here(scores: dict[str, Any]) -> dict[str, Any]:
    """The score with the device it was measured on, and the versions."""
    from crosscheck.recording.record import versions

    found = {"python": platform.python_version(), **versions("torch"), **versions("jax")}
    return {"device": "cpu", "versions": found, **scores}


def unfinished(scores: dict[str, Any]) -> str:
    """How many of the pairs are judged, if that is not all; else nothing."""
    judged, number = scores["judged"], scores["of"]
    return "" if judged == number else f"{judged} of {number} pairs are judged; the same command goes on"


def summary(scores: dict[str, Any]) -> str:
    """The score in sentences."""
    total, known, seeds, equal = scores["total"], scores["known"], scores["seeds"], scores["equivalents"]
    lines = [
        *filter(None, [unfinished(scores)]),
        f"{scores['killed']} of {total} faults are caught, {scores['located']} at the right module and phase",
        *([f"{scores['named']} of {known} faults that the catalogue knows are named right"] if known else []),
        f"{equal['alarms']} false alarms in {equal['checked']} equivalent variants, "
        f"{seeds['alarms']} in {seeds['checked']} unchanged pairs with different seeds",
    ]
    return "\n".join(lines)


def print_scores(scores: dict[str, Any]) -> None:
    """Tables by kind of fault and by published criterion, then the names of all failures."""
    from rich.console import Console
    from rich.table import Table

    from crosscheck.faults.promises import broken_promises

    console = Console()
    kinds = Table("kind of fault", "planted", "caught", "located", box=None, pad_edge=False)
    for row in scores["kinds"]:
        kinds.add_row(*(str(row[name]) for name in ("kind", "planted", "killed", "located")))
    criteria = Table("criterion", "rule", "caught", "false alarms", box=None, pad_edge=False)
    criteria.add_row("isograd", "float64 proof, measured noise", *_own(scores))
    for row in scores["criteria"]:
        criteria.add_row(
            row["name"], row["rule"], f"{row['caught']} of {row['of']}", f"{row['alarms']} of {row['honest']}"
        )
    dtypes = Table("dtype", "planted", "caught", "located", box=None, pad_edge=False)
    for row in scores["dtypes"]:
        dtypes.add_row(*(str(row[name]) for name in ("dtype", "planted", "killed", "located")))
    console.print(kinds, "", dtypes, "", criteria, "", summary(scores), sep="\n")
    if broken := broken_promises(scores):
        console.print(f"[bold red]not as promised: {'; '.join(broken)}", highlight=False, soft_wrap=True)
    for title, names in _wrong(scores):
        console.print(
            f"\n{title}:", *(f"  {name}" for name in names[:SHOWN]), sep="\n", highlight=False, soft_wrap=True
        )


def markdown(scores: dict[str, Any], command: str) -> str:
    """The same as Markdown."""
    criteria = [("isograd", "float64 proof, measured noise", *_own(scores))] + [
        (row["name"], row["rule"], f"{row['caught']} of {row['of']}", f"{row['alarms']} of {row['honest']}")
        for row in scores["criteria"]
    ]
    kinds = [tuple(str(row[name]) for name in ("kind", "planted", "killed", "located")) for row in scores["kinds"]]
    dtypes = [tuple(str(row[name]) for name in ("dtype", "planted", "killed", "located")) for row in scores["dtypes"]]
    versions = ", ".join(f"{name} {version}" for name, version in scores["versions"].items())
    return "\n".join([
        "# Planted faults", "", INTRODUCTION, "", *(f"- {line}" for line in summary(scores).split("\n")), "",
        *_table(("criterion", "rule", "faults caught", "false alarms"), criteria), "",
        *_table(("kind of fault", "planted", "caught", "located"), kinds), "",
        *_table(("dtype", "planted", "caught", "located"), dtypes), "",
        *(line for title, names in _wrong(scores) for line in (f"{title.capitalize()}:", "", *_items(names), "")),
        f"Measured on {scores['device']} with {versions}.", "", "```bash", command, "```", "",
    ])  # fmt: skip


def write_scores(scores: dict[str, Any], folder: Path, command: str) -> Path:
    """Write faults.json, faults.md and faults.html, which name the command, into the folder, each atomically.

    Returns the page to open; `scores` come from `measured_here`.
    """
    from crosscheck.pages.page import render

    texts = {TABLE: markdown(scores, command), PAGE: render([], faults=scores, command=command)}
    write_json(folder / DATA, scores)
    for name, text in texts.items():
        with new_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / PAGE


def _own(scores: dict[str, Any]) -> tuple[str, str]:
    alarms = scores["equivalents"]["alarms"] + scores["seeds"]["alarms"]
    honest = scores["equivalents"]["checked"] + scores["seeds"]["checked"]
    return f"{scores['killed']} of {scores['total']}", f"{alarms} of {honest}"


def _wrong(scores: dict[str, Any]) -> list[tuple[str, list[str]]]:
    found = [
        ("not caught", scores["survivors"]),
        ("caught, but located elsewhere", scores["misplaced"]),
        ("named wrong or not at all", scores["unnamed"]),
        ("false alarms", scores["equivalents"]["names"] + scores["seeds"]["names"]),
    ]
    return [(title, names) for title, names in found if names]


def _items(names: list[str]) -> list[str]:
    return [f"- {name}" for name in names]


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (heads, ("---",) * len(heads), *rows)]
