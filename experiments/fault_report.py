"""What planting faults found: a table for the terminal, and one in Markdown for the README."""

from pathlib import Path
from typing import Any

from shared.atomic import new_file
from shared.checkpoint import write_json

SHOWN = 20  # names of a list that went wrong


def passed(scores: dict[str, Any]) -> bool:
    """True if every fault is caught and nothing honest raises an alarm."""
    return not (scores["survivors"] or scores["equivalents"]["alarms"] or scores["seeds"]["alarms"])


def summary(scores: dict[str, Any]) -> str:
    """The score in sentences."""
    total, seeds, equal = scores["total"], scores["seeds"], scores["equivalents"]
    lines = [
        f"{scores['killed']} of {total} faults are caught, {scores['located']} at the right module and phase",
        f"{scores['named']} of {scores['known']} faults that the catalogue knows are named right",
        f"{equal['alarms']} false alarms in {equal['checked']} equivalent variants, "
        f"{seeds['alarms']} in {seeds['checked']} unchanged pairs with other seeds",
    ]
    return "\n".join(lines)


def print_scores(scores: dict[str, Any]) -> None:
    """Tables by kind of fault and by published criterion, then every name that went wrong."""
    from rich.console import Console
    from rich.table import Table

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
    console.print(kinds, "", criteria, "", summary(scores), sep="\n")
    for title, names in _wrong(scores):
        console.print(
            f"\n{title}:", *(f"  {name}" for name in names[:SHOWN]), sep="\n", highlight=False, soft_wrap=True
        )


def markdown(scores: dict[str, Any], command: str) -> str:
    """The same as a page of Markdown."""
    criteria = [("isograd", "float64 proof, measured noise", *_own(scores))] + [
        (row["name"], row["rule"], f"{row['caught']} of {row['of']}", f"{row['alarms']} of {row['honest']}")
        for row in scores["criteria"]
    ]
    kinds = [tuple(str(row[name]) for name in ("kind", "planted", "killed", "located")) for row in scores["kinds"]]
    return "\n".join([
        "# Planted faults", "", f"Written by `{command}`.", "", *summary(scores).split("\n"), "",
        *_table(("criterion", "rule", "faults caught", "false alarms"), criteria), "",
        *_table(("kind of fault", "planted", "caught", "located"), kinds), "",
    ])  # fmt: skip


def write_scores(scores: dict[str, Any], folder: Path, command: str) -> None:
    """Write faults.json and faults.md, which names the command, into the folder, each whole or not at all."""
    write_json(folder / "faults.json", scores)
    with new_file(folder / "faults.md") as temporary:
        temporary.write_text(markdown(scores, command), encoding="utf-8")


def _own(scores: dict[str, Any]) -> tuple[str, str]:
    alarms = scores["equivalents"]["alarms"] + scores["seeds"]["alarms"]
    honest = scores["equivalents"]["checked"] + scores["seeds"]["checked"]
    return f"{scores['killed']} of {scores['total']}", f"{alarms} of {honest}"


def _wrong(scores: dict[str, Any]) -> list[tuple[str, list[str]]]:
    found = [
        ("not caught", scores["survivors"]),
        ("caught, but found elsewhere", scores["misplaced"]),
        ("named wrong or not at all", scores["unnamed"]),
        ("false alarms", scores["equivalents"]["names"] + scores["seeds"]["names"]),
    ]
    return [(title, names) for title, names in found if names]


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (heads, ("---",) * len(heads), *rows)]
