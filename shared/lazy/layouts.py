"""Tables of foreign names applied to arrays that are read when needed: one array at a time is in memory."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from shared.errors import WeightsError
from shared.foreign_layouts import turned_view, written_out
from shared.foreign_tables import WHOLE, Block, Row
from shared.lazy.arrays import LazyArray, LazyArrays
from shared.weight_rules import KERNEL_AXES


class Piece(NamedTuple):
    """A block of a source, which may be turned before it is cut."""

    source: LazyArray
    block: Block
    is_turned: bool

    @property
    def is_whole(self) -> bool:
        return self.block == WHOLE and not self.is_turned

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.source.shape
        if self.is_turned and len(shape) in KERNEL_AXES:
            shape = tuple(shape[axis] for axis in KERNEL_AXES[len(shape)])
        return shape if self.block[1] == 1 else (shape[0] // self.block[1], *shape[1:])

    def read(self) -> np.ndarray:
        array = turned_view(self.source.read()) if self.is_turned else self.source.read()
        which, parts = self.block
        return array if parts == 1 else array[which * len(array) // parts : (which + 1) * len(array) // parts]


def lazily_from(owner: str, table: Iterable[Row], arrays: Mapping[str, LazyArray]) -> LazyArrays:
    """Canonical arrays of foreign ones; raises one WeightsError that lists every missing, unused and misshapen name."""
    rows = written_out(table, arrays, foreign=True)
    _check(owner, [(str(row.foreign), row.foreign_block, row.transposed) for row in rows], arrays)
    pieces: dict[str, dict[Block, Piece]] = {}
    for row in rows:
        piece = Piece(arrays[str(row.foreign)], row.foreign_block, row.transposed)
        pieces.setdefault(row.canonical, {})[row.canonical_block] = piece
    return {name: _joined(owner, name, blocks, turn=False) for name, blocks in pieces.items()}


def lazily_to(owner: str, table: Iterable[Row], arrays: Mapping[str, LazyArray]) -> LazyArrays:
    """Foreign arrays of canonical ones, the inverse of `lazily_from`, with the same errors."""
    rows = written_out(table, arrays, foreign=False)
    _check(owner, [(row.canonical, row.canonical_block, False) for row in rows], arrays)
    pieces: dict[str, dict[Block, Piece]] = {}
    for row in rows:
        piece = Piece(arrays[row.canonical], row.canonical_block, False)
        pieces.setdefault(str(row.foreign), {})[row.foreign_block] = piece
    turned_names = {row.foreign for row in rows if row.transposed}
    return {name: _joined(owner, name, blocks, name in turned_names) for name, blocks in pieces.items()}


def _joined(owner: str, name: str, blocks: Mapping[Block, Piece], turn: bool) -> LazyArray:
    parts = [blocks[block] for block in sorted(blocks)]
    if [*blocks] == [WHOLE] and parts[0].is_whole and not turn:
        return parts[0].source
    shapes, dtypes = {part.shape for part in parts}, {part.source.dtype for part in parts}
    expected = next(iter(blocks))[1]
    if len(shapes) > 1 or len(dtypes) > 1 or len(parts) != expected:
        raise WeightsError(
            f"weights do not fit {owner}: {name} needs {expected} parts of one shape and dtype, got "
            f"{', '.join(f'{part.source.dtype} {part.shape}' for part in parts)}"
        )
    shape = parts[0].shape if len(parts) == 1 else (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
    if turn:
        axes = np.argsort(KERNEL_AXES.get(len(shape), tuple(range(len(shape)))))
        shape = tuple(shape[axis] for axis in axes)
    return LazyArray(shape, parts[0].source.dtype, partial(_read, [part.read for part in parts], turn))


def _read(readers: list[Callable[[], np.ndarray]], turn: bool) -> np.ndarray:
    """A view of the source if it is one piece: whoever copies it puts it in order."""
    array = readers[0]() if len(readers) == 1 else np.concatenate([read() for read in readers])
    return turned_view(array, back=True) if turn else array


def _check(owner: str, expected: list[tuple[str, Block, bool]], arrays: Mapping[str, LazyArray]) -> None:
    cuts = {name: (parts, is_turned) for name, (_, parts), is_turned in expected}
    missing = [name for name in cuts if name not in arrays]
    unused = sorted(arrays.keys() - cuts)
    uneven = [
        f"{name} {arrays[name].shape}"
        for name, (parts, is_turned) in cuts.items()
        if name in arrays and parts > 1 and not _is_even(Piece(arrays[name], WHOLE, is_turned).shape, parts)
    ]
    if missing or unused or uneven:
        raise WeightsError(
            f"weights do not fit {owner}: missing {', '.join(missing) or 'none'}; unused {', '.join(unused) or 'none'}"
            + (f"; not of equal parts {', '.join(uneven)}" if uneven else "")
        )


def _is_even(shape: tuple[int, ...], parts: int) -> bool:
    return bool(shape) and shape[0] % parts == 0  # cut along the first axis
