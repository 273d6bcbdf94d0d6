"""Arrays that are read when they are needed, so that weights larger than memory can pass through."""

import functools
import json
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from shared.atomic import new_file
from shared.errors import IsogradError

DTYPES = {  # safetensors' names
    **{f"F{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    **{f"I{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BOOL": np.dtype(bool),
}
SIZE_BYTES = 8  # at the start of a file: the length of the header
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class LazyArray:
    """The shape and dtype of an array, and how to read it; `np.asarray` does so.

    `mapped`, where there is one, gives the numbers without a copy, as memory of one's own: pages of a file that the
    system copies when they are written to.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]
    mapped: Callable[[], np.ndarray] | None = None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.read()
        return array if dtype is None else array.astype(dtype, copy=False)

    def astype(self, dtype: np.dtype) -> "LazyArray":
        """The array in another dtype; itself if it has that dtype already."""
        return self if dtype == self.dtype else LazyArray(self.shape, dtype, lambda: self.read().astype(dtype))


LazyArrays = dict[str, LazyArray]


def lazy(arrays: Mapping[str, np.ndarray]) -> LazyArrays:
    """Arrays in memory, as lazy ones."""
    return {name: LazyArray(array.shape, array.dtype, partial(np.asarray, array)) for name, array in arrays.items()}


def open_safetensors(path: Path) -> LazyArrays:
    """The arrays of a safetensors file, each a read-only view of the file, whose pages come from disk when needed.

    Raises IsogradError if the file is missing, truncated or in another format.
    """
    try:
        safetensors.safe_open(path, framework="np")  # checks that the arrays fill the file
        pages = np.memmap(path, np.uint8, mode="r")
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise IsogradError(f"can't read {path}: it is truncated, or no safetensors file ({error})") from error
    content, give_back = np.asarray(pages), _giving_back(pages)
    start, header = _header(content)
    strange = [f"{name} ({row['dtype']})" for name, row in header.items() if row["dtype"] not in DTYPES]
    if strange:
        raise IsogradError(f"can't read {path}: numpy has no dtype for {', '.join(strange)}")
    private = functools.cache(lambda: np.asarray(np.memmap(path, np.uint8, mode="c")))
    found: LazyArrays = {}
    for name, row in header.items():
        form, place = (DTYPES[row["dtype"]], tuple(row["shape"])), slice(*(start + at for at in row["data_offsets"]))
        is_aligned = place.start % form[0].itemsize == 0
        mapped = partial(_mapped, private, place, *form) if is_aligned else None
        found[name] = LazyArray(form[1], form[0], partial(_view, content[place], *form, give_back), mapped)
    return found


def _header(content: np.ndarray) -> tuple[int, dict[str, Any]]:
    """Where the arrays begin in a file that `safe_open` has found sound, and what it says of each."""
    start = SIZE_BYTES + int.from_bytes(content[:SIZE_BYTES].tobytes(), "little")
    header = json.loads(content[SIZE_BYTES:start].tobytes())
    header.pop("__metadata__", None)
    return start, header


def _giving_back(mapped: np.memmap) -> Callable[[], object]:
    """Takes the pages of a file out of the process; what is still read comes back from the system's cache."""
    pages, advice = mapped._mmap, getattr(mmap, "MADV_DONTNEED", None)  # type: ignore[attr-defined]
    return (lambda: None) if advice is None else partial(pages.madvise, advice)


def _view(content: np.ndarray, dtype: np.dtype, shape: tuple[int, ...], give_back: Callable[[], object]) -> np.ndarray:
    """The numbers of one array; those that were read before it leave the memory of the process."""
    give_back()
    return content.view(dtype).reshape(shape)


def _mapped(private: Callable[[], np.ndarray], place: slice, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    return private()[place].view(dtype).reshape(shape)


def write_safetensors(path: Path, arrays: Mapping[str, LazyArray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, atomically, with one array at a time in memory."""
    strange = [f"{name} ({array.dtype})" for name, array in arrays.items() if array.dtype not in NAMES]
    if strange:
        raise IsogradError(f"can't write {path}: safetensors has no dtype for {', '.join(strange)}")
    ordered = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # wide ones first: aligned
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in ordered:
        array, start = arrays[name], end
        end += array.nbytes
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with new_file(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(SIZE_BYTES, "little") + text)
        for name in ordered:
            file.write(contiguous_bytes(arrays[name]))


def contiguous_bytes(array: LazyArray) -> memoryview:
    """The bytes of an array in C order, little-endian."""
    found = np.asarray(array.read(), order="C")
    little = found.astype(found.dtype.newbyteorder("<"), copy=False)
    return little.reshape(-1).view(np.uint8).data


def cast_floats(arrays: Mapping[str, LazyArray], dtype: np.dtype | None) -> LazyArrays:
    """Float arrays in this dtype, the others as they are; all as they are if it is None."""
    if dtype is None:
        return dict(arrays)
    floats = {DTYPES[name] for name in ("F16", "F32", "F64", "BF16")}
    return {name: array.astype(dtype) if array.dtype in floats else array for name, array in arrays.items()}
