"""Tables of rules in TOML files: how the names and the axes of a user's own weights become those of another model."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from shared.errors import IsogradError, WeightsError
from shared.foreign_layouts import written_out
from shared.foreign_tables import WHOLE, Block, Row
from shared.lazy.arrays import LazyArray, LazyArrays
from shared.lazy.layouts import lazily_from, lazily_to
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
STACK = "#{}"  # the name of one layer of a stacked array
READY = Path(__file__).parent


class Table(NamedTuple):
    """The rows; the names of the source's arrays whose first axis is the layer; the axes of those that have names."""

    rows: list[Row]
    stacked: set[str]
    axes: dict[str, Axes]


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
    if not isinstance(rows, list) or not rows or content.keys() != {"row"}:
        raise IsogradError(f"{path}: expected [[row]] tables alone, got {', '.join(content) or 'none'}")
    wrong = [f"row {number}: {reason}" for number, row in enumerate(rows, 1) if (reason := _wrong(row))]
    wrong = wrong or [f"axes of {name} differ from row to row" for name in _with_different_axes(rows)]
    if wrong:
        raise IsogradError(f"{path}: {'; '.join(wrong)}")
    stacked = {row["source"] for row in rows if row.get("stacked")}
    return Table([_row(row) for row in rows], stacked, {_foreign(row): _axes(row) for row in rows if "axes" in row})


def ready() -> list[str]:
    """The names of the tables that come with isograd."""
    return sorted(path.stem for path in READY.glob("*.toml"))


def apply(path: Path, arrays: Mapping[str, LazyArray]) -> LazyArrays:
    """The arrays under the names of the targets; or under those of the sources, if they have those of the targets.

    Raises WeightsError unless every array is used, each part once.
    """
    rows, stacked, axes = read_table(path)
    owner = f"the rules of {path}"
    pieces = dict(_unstacked(arrays, stacked))
    if _are_sources(rows, pieces, arrays):
        named = _axes_by_name(axes, pieces)
        turned = {name: named[name].forth(name, array) for name, array in pieces.items() if name in named}
        return lazily_from(owner, rows, {**pieces, **turned})
    moved = lazily_to(owner, rows, arrays)
    turned = {name: each.back(name, moved[name]) for name, each in _axes_by_name(axes, moved).items()}
    return dict(_stacked({**moved, **turned}, stacked))


def _axes_by_name(axes: Mapping[str, Axes], names: Iterable[str]) -> dict[str, Axes]:
    """The axes of the arrays of every layer."""
    layers = {name: re.compile(r"\d+".join(map(re.escape, name.split("{}")))) for name in axes}
    return {name: axes[row] for name in names for row, pattern in layers.items() if pattern.fullmatch(name)}


def names_of(path: Path, arrays: Mapping[str, LazyArray]) -> list[tuple[str, str]]:
    """Every name of the arrays and what becomes of it, layer by layer, with the part of an array in brackets."""
    rows, stacked, _ = read_table(path)
    pieces = dict(_unstacked(arrays, stacked))
    forth = _are_sources(rows, pieces, arrays)
    pairs = [
        (_told(row.foreign, row.foreign_block), _told(row.canonical, row.canonical_block))
        for row in written_out(rows, pieces if forth else arrays, forth)
    ]
    return pairs if forth else [(ours, theirs) for theirs, ours in pairs]


def _told(name: str | None, block: Block) -> str:
    layer = re.sub(r"#(\d+)$", r"[\1]", str(name))
    return layer if block == WHOLE else f"{layer}[{block[0]}/{block[1]}]"


def _are_sources(rows: list[Row], pieces: Iterable[str], names: Iterable[str]) -> bool:
    """Whether the names are those of the sources rather than of the targets."""
    return _fitting(rows, pieces, foreign=True) >= _fitting(rows, names, foreign=False)


def _fitting(rows: list[Row], names: Iterable[str], foreign: bool) -> int:
    known = set(names)
    written = written_out(rows, known, foreign)
    return sum((row.foreign if foreign else row.canonical) in known for row in written)


def _with_different_axes(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    told: dict[str, set[str]] = {}
    for row in rows:
        told.setdefault(row["source"], set()).add(f"{row.get('axes')} {row.get('sizes')}")
    return [name for name, each in told.items() if len(each) > 1]


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
        if name not in FIELDS:
            return f"there is no {name}, only {', '.join(FIELDS)}"
        if not isinstance(value, FIELDS[name]):
            return f"{name} must be of type {FIELDS[name].__name__}, got {value!r}"
        if name.endswith("_part") and not _is_part(value):
            return f"{name} must be [which, of how many], counted from 0, got {value!r}"
    layers = (row["source"] + ("{}" if row.get("stacked") else "")).count("{}"), row["target"].count("{}")
    if layers not in ((0, 0), (1, 1)):
        return "the layer {} must stand once in source and target, or in neither; a stacked source has none"
    return _wrong_axes(row)


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


def _unstacked(arrays: Mapping[str, LazyArray], stacked: Iterable[str]) -> Iterable[tuple[str, LazyArray]]:
    for name, array in arrays.items():
        if name not in stacked:
            yield name, array
            continue
        if not array.shape:
            raise WeightsError(f"{name} must have the layer as its first axis, but has no axes")
        for layer in range(array.shape[0]):
            read = partial(_layer, array, layer)
            yield name + STACK.format(layer), LazyArray(array.shape[1:], array.dtype, read)


def _layer(array: LazyArray, layer: int) -> np.ndarray:
    return np.asarray(array.read()[layer], order="C")


def _stacked(arrays: LazyArrays, stacked: Iterable[str]) -> Iterable[tuple[str, LazyArray]]:
    for name in stacked:
        layers = [arrays.pop(name + STACK.format(layer)) for layer in range(_depth(name, arrays))]
        if len({(array.shape, array.dtype) for array in layers}) != 1:
            raise WeightsError(f"{name} needs layers of one shape and dtype to be stacked")
        read = partial(_together, layers)
        yield name, LazyArray((len(layers), *layers[0].shape), layers[0].dtype, read)
    yield from arrays.items()


def _depth(name: str, arrays: LazyArrays) -> int:
    return next(layer for layer in range(len(arrays) + 1) if name + STACK.format(layer) not in arrays)


def _together(layers: list[LazyArray]) -> np.ndarray:
    return np.stack([layer.read() for layer in layers])
