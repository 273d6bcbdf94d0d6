"""Arrays moved by a table of rules, in the direction that their names fit; each is read when it is needed."""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from shared.errors import WeightsError
from shared.foreign_tables import WHOLE, Block, Row
from shared.lazy.arrays import LazyArray, LazyArrays
from shared.lazy.layouts import lazily_from, lazily_to
from shared.rules.axes import Axes
from shared.rules.tables import STACK, Table, read_table


def apply(path: Path, arrays: Mapping[str, LazyArray]) -> LazyArrays:
    """The arrays under the names of the targets; or under those of the sources, if they have those of the targets.

    Raises WeightsError unless every part of every array is used once.
    """
    return moved(read_table(path), f"the rules of {path}", arrays)


def moved(table: Table, owner: str, arrays: Mapping[str, LazyArray], forth: bool | None = None) -> LazyArrays:
    """The same by a table that was read; `forth` says whether the arrays are its sources, which names else tell."""
    single = _once(_kept(arrays, table), table)
    rows, is_source, pieces = _written_out(table, single, forth)
    if is_source:
        named = _axes_by_name(table.axes, pieces)
        turned = {name: named[name].forth(name, array) for name, array in pieces.items() if name in named}
        _check(owner, rows, pieces, is_source)
        return _tied(lazily_from(owner, rows, {**pieces, **turned}), table)
    _check(owner, rows, single, is_source)
    found = lazily_to(owner, rows, single)
    turned = {name: each.back(name, found[name]) for name, each in _axes_by_name(table.axes, found).items()}
    return _tied(dict(_stacked({**found, **turned}, table.stacked)), table)


def names_of(path: Path, arrays: Mapping[str, LazyArray]) -> list[tuple[str, str]]:
    """Every name of the arrays and what becomes of it, layer by layer, with the part of an array in brackets."""
    table = read_table(path)
    kept = _kept(arrays, table)
    rows, is_source, _ = _written_out(table, _once(kept, table))
    sides = [(_told(row.foreign, row.foreign_block), _told(row.canonical, row.canonical_block)) for row in rows]
    pairs = sides if is_source else [(theirs, ours) for ours, theirs in sides]
    tied = [(name, f"the same as {first}") for first, *others in table.tied for name in others if name in kept]
    return pairs + tied + [(name, "left out") for name in arrays if name not in kept]


def _kept(arrays: Mapping[str, LazyArray], table: Table) -> dict[str, LazyArray]:
    """The arrays without those that the table leaves out."""
    patterns = [_pattern(name) for name in table.left_out]
    return {name: array for name, array in arrays.items() if not any(each.fullmatch(name) for each in patterns)}


def _once(arrays: Mapping[str, LazyArray], table: Table) -> LazyArrays:
    """The arrays with each that is tied once, under its first name; raises WeightsError if tied arrays differ."""
    single = dict(arrays)
    for names in table.tied:
        found = {name: single.pop(name) for name in names if name in single}
        if found:
            first, *others = found
            if different := [name for name in others if not _are_equal(found[first], found[name])]:
                raise WeightsError(f"the table ties {', '.join(different)} to {first}, but their numbers differ")
            single[names[0]] = found[first]
    return single


def _are_equal(ours: LazyArray, theirs: LazyArray) -> bool:
    is_alike = ours.shape == theirs.shape and ours.dtype == theirs.dtype
    return is_alike and ours.read().tobytes() == theirs.read().tobytes()


def _tied(arrays: LazyArrays, table: Table) -> LazyArrays:
    """The arrays with those that are tied under all of their names."""
    others = {name: arrays[first] for first, *names in table.tied if first in arrays for name in names}
    return {**arrays, **others}


def _written_out(table: Table, arrays: LazyArrays, is_source: bool | None = None) -> tuple[list[Row], bool, LazyArrays]:
    """The rows with their layers, whether the arrays are the sources, and the arrays with stacks as layers."""
    pieces = dict(_unstacked(arrays, table.stacked))
    forth, back = _layered(table.rows, pieces, forth=True), _layered(table.rows, arrays, forth=False)
    if is_source is None:
        is_source = sum(row.foreign in pieces for row in forth) >= sum(row.canonical in arrays for row in back)
    return (forth if is_source else back), is_source, pieces


def _layered(rows: Iterable[Row], names: Iterable[str], forth: bool) -> list[Row]:
    """The rows with the numbers of their layers, as the names have them; all rows of one list have the same."""
    rows, numbers = tuple(rows), dict[str, set[int]]()
    for row in rows:
        name = _pattern(str(row.foreign if forth else row.canonical))
        found = {int(match[1]) for each in names if (match := name.fullmatch(each)) and match.groups()}
        if str(row.foreign).endswith(STACK):  # the layers of a stack are counted from 0 without a gap
            found = set(range(max(found, default=0) + 1))
        numbers.setdefault(_list_of(row), set()).update(found)
    layers = {of: found or {0} for of, found in numbers.items()}
    return [
        row._replace(foreign=str(row.foreign).format(layer), canonical=row.canonical.format(layer))
        for layer in sorted(set().union(*layers.values()))
        for row in rows
        if layer in layers[_list_of(row)]
    ]


def _list_of(row: Row) -> str:
    """What stands before the number of a layer; the name of a row outside of the layers."""
    return row.canonical.partition("{}")[0]


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(r"(0|[1-9]\d*)".join(map(re.escape, name.split("{}"))))


def _check(owner: str, rows: list[Row], arrays: LazyArrays, forth: bool) -> None:
    """Raise WeightsError unless the rows use every part of every array once, and make every part of every other."""
    parts: dict[tuple[bool, str], list[Block]] = {}
    for row in rows:
        parts.setdefault((forth, str(row.foreign)), []).append(row.foreign_block)
        parts.setdefault((not forth, row.canonical), []).append(row.canonical_block)
    read = [name for is_read, name in parts if is_read]
    missing, unused = (
        ", ".join(sorted({_told(name, WHOLE) for name in names}))
        for names in (set(read) - arrays.keys(), arrays.keys() - set(read))
    )
    if missing or unused:
        hint = ", which a row, tied or left_out must name" if unused else ""
        raise WeightsError(f"weights do not fit {owner}: missing {missing or 'none'}; unused {unused or 'none'}{hint}")
    whole = {key: [(part, len(found)) for part in range(len(found))] for key, found in parts.items()}
    if wrong := [_told(name, WHOLE) for (at, name), found in parts.items() if sorted(found) != whole[at, name]]:
        raise WeightsError(
            f"{owner} must use every part of {', '.join(wrong)} once: name the parts that go elsewhere, and the other "
            "names of one array in tied"
        )


def _told(name: str | None, block: Block) -> str:
    layer = re.sub(r"#(\d+)$", r"[\1]", str(name))
    return layer if block == WHOLE else f"{layer}[{block[0]}/{block[1]}]"


def _axes_by_name(axes: Mapping[str, Axes], names: Iterable[str]) -> dict[str, Axes]:
    """The axes of the arrays of every layer."""
    layers = {name: _pattern(name) for name in axes}
    return {name: axes[row] for name in names for row, pattern in layers.items() if pattern.fullmatch(name)}


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
