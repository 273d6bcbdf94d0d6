"""Foreign layouts: how other libraries name, stack and transpose the weights of our layers, as two-way tables.

A row says that one block of a foreign array is one block of a canonical array, so a table only renames, slices and
transposes, and its inverse is free. What a layout can't hold is rejected with the reason, never approximated.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from shared.arrays import Arrays
from shared.configs.validation import check_choice
from shared.errors import IsogradError, WeightsError
from shared.foreign_tables import LAYOUTS, REFUSED, WHOLE, Block, Row
from shared.weight_rules import KERNEL_AXES

RESET_BEFORE = "hidden_candidate"  # a parameter of a ResetBeforeGRUCell alone


def from_foreign(layout: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Canonical arrays of foreign ones (names of nested trees joined by "/"); unsupported layouts raise IsogradError.

    Raises one WeightsError that lists every missing and unused name.
    """
    rows = _rows(layout, arrays, foreign=True)
    _check_names(layout, [row.foreign for row in rows if row.foreign], arrays, foreign=True)
    blocks: dict[str, dict[Block, np.ndarray]] = {}
    for row in rows:
        if row.foreign is not None:
            array = arrays[row.foreign]
            piece = _cut(layout, row.foreign, turned(array) if row.transposed else array, row.foreign_block)
            blocks.setdefault(row.canonical, {})[row.canonical_block] = piece
    for row in rows:
        if row.foreign is None:  # the layout's missing bias is zero
            like = blocks[str(row.merged_into)][row.canonical_block]
            blocks.setdefault(row.canonical, {})[row.canonical_block] = np.zeros_like(like)
    return _joined(layout, blocks)


def to_foreign(layout: str, canonical: Mapping[str, np.ndarray]) -> Arrays:
    """The inverse of `from_foreign`; raises IsogradError where the layout can't hold the numbers."""
    rows = _rows(layout, canonical, foreign=False)
    _check_names(layout, [row.canonical for row in rows], canonical, foreign=False)
    blocks: dict[str, dict[Block, np.ndarray]] = {}
    for row in rows:
        piece = _cut(layout, row.canonical, canonical[row.canonical], row.canonical_block)
        if row.foreign is not None:
            blocks.setdefault(row.foreign, {})[row.foreign_block] = piece
        elif any(piece.tobytes()):
            raise IsogradError(
                f"{layout} can't hold these weights: it has no place for part {row.canonical_block[0] + 1} of "
                f"{row.canonical_block[1]} of {row.canonical}, which must be zero, but is not"
            )
    transposed = {row.foreign for row in rows if row.transposed}
    joined = _joined(layout, blocks)
    return {name: turned(array, back=True) if name in transposed else array for name, array in joined.items()}


def turned(array: np.ndarray, back: bool = False) -> np.ndarray:
    """A kernel of Flax with its outputs first, or such an array as a kernel again; contiguous."""
    return np.array(turned_view(array, back), order="C")


def turned_view(array: np.ndarray, back: bool = False) -> np.ndarray:
    """The same in the array's own memory."""
    axes = KERNEL_AXES.get(array.ndim, tuple(range(array.ndim)))
    return array.transpose(np.argsort(axes) if back else axes)


def _rows(layout: str, arrays: Mapping[str, np.ndarray], foreign: bool) -> list[Row]:
    """The table with its layers written out, as many as the arrays have; a row outside of them appears once."""
    if layout in REFUSED:
        raise IsogradError(f"{layout} can't be converted: {REFUSED[layout]}")
    check_choice("layout", layout, [*LAYOUTS, *REFUSED])
    return written_out(LAYOUTS[layout], arrays, foreign)


def written_out(table: Iterable[Row], arrays: Iterable[str], foreign: bool) -> list[Row]:
    """The rows of a table with its layers written out, as many as the names of the arrays have."""
    table, names = tuple(table), set(arrays)
    depths: dict[str | None, int] = {}
    for row in table:
        depth = _depth(row.foreign if foreign else row.canonical, names)
        depths[_owner(row)] = max(depths.get(_owner(row), 1), depth)
    return [
        row._replace(
            foreign=None if row.foreign is None else row.foreign.format(layer),
            canonical=row.canonical.format(layer),
        )
        for layer in range(max(depths.values()))
        for row in table
        if layer < depths[_owner(row)]
    ]


def _owner(row: Row) -> str | None:
    """The path of the module whose list of layers a row belongs to; None for a row outside of the layers."""
    path, layer, _ = row.canonical.partition("{}")
    return path.rstrip(".").rpartition(".")[0] if layer else None


def _depth(name: str | None, arrays: set[str]) -> int:
    """The number of layers of a row; at least one, so that a row without any is reported as missing."""
    layers = 1
    while name is not None and "{}" in name and name.format(layers) in arrays:
        layers += 1
    return layers


def _check_names(layout: str, expected: list[str], arrays: Mapping[str, np.ndarray], foreign: bool) -> None:
    if any(name.endswith(RESET_BEFORE) for name in arrays):
        raise IsogradError(
            f"{layout} can't hold these weights: their cell resets its state before the product, which no weights of "
            "another cell do: build a ResetBeforeGRUCell"
        )
    missing = [name for name in dict.fromkeys(expected) if name not in arrays]
    unused = [name for name in arrays if name not in expected]
    if missing or unused:
        raise WeightsError(
            f"weights do not fit the layout {layout}: missing {', '.join(missing) or 'none'}; "
            f"unused {', '.join(unused) or 'none'}{_other_form(layout, arrays, foreign)}"
        )


def _other_form(layout: str, arrays: Mapping[str, np.ndarray], foreign: bool) -> str:
    """A hint at another form of the layout, of both directions or of an untied head, if the names fit it."""
    for other in LAYOUTS:
        if other != layout and other.partition("(")[0] == layout.partition("(")[0]:
            rows = _rows(other, arrays, foreign)
            if {row.foreign if foreign else row.canonical for row in rows} == arrays.keys():
                return f"; these are the names of {other}"
    return ""


def _cut(layout: str, name: str, array: np.ndarray, block: Block) -> np.ndarray:
    which, parts = block
    if parts > 1 and (array.ndim == 0 or array.shape[0] % parts):
        raise WeightsError(
            f"weights do not fit the layout {layout}: expected the first axis of {name} to be a multiple of {parts}, "
            f"got shape {array.shape}"
        )
    return array if block == WHOLE else array[which * len(array) // parts : (which + 1) * len(array) // parts]


def _joined(layout: str, blocks: Mapping[str, Mapping[Block, np.ndarray]]) -> Arrays:
    joined = {}
    for name, pieces in blocks.items():
        parts = [pieces[block] for block in sorted(pieces)]
        kinds = {(part.dtype, part.shape) for part in parts}
        if len(kinds) > 1:
            described = ", ".join(f"{dtype} {shape}" for dtype, shape in sorted(kinds, key=str))
            raise WeightsError(
                f"weights do not fit the layout {layout}: the parts of {name} differ in shape or dtype, got {described}"
            )
        joined[name] = np.array(parts[0] if len(parts) == 1 else np.concatenate(parts), order="C")
    return joined
