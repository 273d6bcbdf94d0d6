"""Tables of rules in TOML files: how the names and the axes of a user's own weights become those of another model."""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from shared.errors import IsogradError
from shared.foreign_tables import Row
from shared.rules.axes import Axes, parsed

FIELDS = {
    "source": str,
    "target": str,
    "source_part": list,
    "target_part": list,
    "transposed": bool,
    "stacked": bool,
    "axes": str,
    "sizes": dict,
}
ABOVE = ("tied", "left_out")  # of the rows
AROUND = {"source": "target", "target": "source", "source_part": "target_part", "target_part": "source_part"}
STACK = "#{}"  # the name of one layer of a stacked array
READY = Path(__file__).parent


class Table(NamedTuple):
    """The rows; the names of the source's arrays whose first axis is the layer; the axes of those that have names.

    `tied` are names of one array each, of which rows name the first; arrays that are `left_out` are not ported.
    """

    rows: list[Row]
    stacked: set[str]
    axes: dict[str, Axes]
    tied: list[list[str]]
    left_out: list[str]


def read_table(path: Path) -> Table:
    """The table in a file; raises one IsogradError that lists every row that is none."""
    found = READY / f"{path}.toml" if not path.is_file() and (READY / f"{path}.toml").is_file() else path
    if not found.is_file():
        raise IsogradError(f"no table of rules at {path}: expected a TOML file, or one of {', '.join(ready())}")
    try:
        content = tomllib.loads(found.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IsogradError(f"{path} is not valid TOML: {error}") from error
    rows = content.get("row")
    if not isinstance(rows, list) or not rows or not content.keys() <= {"row", *ABOVE}:
        raise IsogradError(
            f"{path}: expected [[row]] tables, and {' or '.join(ABOVE)} above them, got {', '.join(content) or 'none'}"
        )
    wrong = [f"row {number}: {reason}" for number, row in enumerate(rows, 1) if (reason := _wrong(row))]
    wrong = wrong or [f"axes of {name} differ from row to row" for name in _with_different_axes(rows)]
    wrong = wrong or _wrong_above(content)
    if wrong:
        raise IsogradError(f"{path}: {'; '.join(wrong)}")
    rows = _from_flax(path, rows)
    stacked = {row["source"] for row in rows if row.get("stacked")}
    axes = {_foreign(row): _axes(row) for row in rows if "axes" in row}
    return Table([_row(row) for row in rows], stacked, axes, *(content.get(name, []) for name in ABOVE))


def ready() -> list[str]:
    """The names of the tables that come with isograd."""
    return sorted(path.stem for path in READY.glob("*.toml"))


def _with_different_axes(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    told: dict[str, set[str]] = {}
    for row in rows:
        told.setdefault(row["source"], set()).add(f"{row.get('axes')} {row.get('sizes')}")
    return [name for name, each in told.items() if len(each) > 1]


def _from_flax(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows from Flax to PyTorch, which transposed kernels tell; parts of a packed kernel lie along its outputs."""
    kernels = [[_leaf(row[side]) == "kernel" for side in ("source", "target")] for row in rows if row.get("transposed")]
    if [False, True] not in kernels:
        return rows
    if [True, False] in kernels or any(row.get("stacked") for row in rows):
        raise IsogradError(f"{path}: write all rows from Flax to PyTorch: some have kernels or stacks as sources")
    return [{AROUND.get(name, name): _around(name, value) for name, value in row.items()} for row in rows]


def _leaf(name: str) -> str:
    return re.split(r"[./]", name)[-1]


def _around(name: str, value: Any) -> Any:
    return " -> ".join(reversed(value.split("->"))) if name == "axes" else value


def _foreign(row: Mapping[str, Any]) -> str:
    """The name of a row's source, or of one layer of it."""
    return str(row["source"]) + (STACK if row.get("stacked") else "")


def _axes(row: Mapping[str, Any]) -> Axes:
    return parsed(row["axes"], row.get("sizes", {}))


def _row(row: Mapping[str, Any]) -> Row:
    return Row(
        _foreign(row),
        row["target"],
        foreign_block=tuple(row.get("source_part", (0, 1))),
        canonical_block=tuple(row.get("target_part", (0, 1))),
        transposed=row.get("transposed", False),
    )


def _wrong(row: Any) -> str:
    """Why a row is none; empty if it is one."""
    if not isinstance(row, Mapping) or not {"source", "target"} <= row.keys():
        return "expected source and target"
    for name, value in row.items():
        if name in ABOVE:
            return f"{name} stands above the first row"
        if name not in FIELDS:
            return f"there is no {name}, only {', '.join(FIELDS)}"
        if not isinstance(value, FIELDS[name]):
            return f"{name} must be of type {FIELDS[name].__name__}, got {value!r}"
        if name.endswith("_part") and not _is_part(value):
            return f"{name} must be [which, of how many], counted from 0, got {value!r}"
    layers = (row["source"] + ("{}" if row.get("stacked") else "")).count("{}"), row["target"].count("{}")
    if layers not in ((0, 0), (1, 1)):
        return (
            "the layer {} must stand once in source and target, or in neither; where layers are stacked, in the target "
            "alone: tables are read both ways, so write the side with the stack as the source"
        )
    return _wrong_axes(row)


def _wrong_above(content: Mapping[str, Any]) -> list[str]:
    """What is wrong with `tied` and `left_out`."""
    tied, left_out = (content.get(name, []) for name in ABOVE)
    if not _is_list(tied, of=lambda names: _is_list(names, of=_is_name) and len(names) > 1):
        return [f"tied must be lists of the names of one array, got {tied!r}"]
    if not _is_list(left_out, of=_is_name):
        return [f"left_out must be a list of names, got {left_out!r}"]
    moved = {row[side] for row in content["row"] for side in ("source", "target")}
    first, others = [names[0] for names in tied], [name for names in tied for name in names[1:]] + left_out
    problems = {
        "in no row, though the first of tied names": [name for name in first if name not in moved],
        "in a row, and tied to another or left out": [name for name in others if name in moved],
        "more than once in tied and left_out": [name for name in others if (first + others).count(name) > 1],
    }
    return [f"{', '.join(dict.fromkeys(names))}: {what}" for what, names in problems.items() if names]


def _is_list(value: Any, of: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(of, value))


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _wrong_axes(row: Mapping[str, Any]) -> str:
    sizes = row.get("sizes", {})
    if "axes" not in row:
        return "sizes are those of axes, which it does not have" if sizes else ""
    if row.get("transposed"):
        return "axes say how it is transposed: leave transposed out"
    if not all(type(size) is int and size > 0 for size in sizes.values()):
        return f"sizes must be whole numbers above 0, got {sizes!r}"
    try:
        _axes(row)
    except IsogradError as error:
        return str(error)
    return ""


def _is_part(value: Any) -> bool:
    return len(value) == 2 and all(type(number) is int for number in value) and 0 <= value[0] < value[1]
