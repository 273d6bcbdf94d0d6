"""Trees of arrays in the msgpack files of Flax Linen, read and written one array at a time."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from shared.atomic import new_file
from shared.errors import IsogradError
from shared.lazy.arrays import LazyArray, LazyArrays, contiguous_bytes

ARRAY, SCALAR = 1, 3  # Flax's codes of extension types: (shape, dtype, bytes)
CHUNKED = "__msgpack_chunked_array__"  # the mark of an array in several pieces, as msgpack's limits need it
CHUNK = 2**30  # bytes
LONGEST = 2**32 - 1  # of one value in msgpack
HEADER = 512  # bytes that hold the headers of an array
EXTENSIONS = {0xC7: 3, 0xC8: 4, 0xC9: 6}  # the first byte of an extension -> the length of its header
BINARIES = {0xC4: 2, 0xC5: 3, 0xC6: 5, 0xD9: 2, 0xDA: 3, 0xDB: 5}  # the same of bytes, also in old files
OTHER_DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}


def open_msgpack(path: Path) -> LazyArrays:
    """The arrays of a tree by their paths, joined with "/", each read from disk when needed; no code is ever run.

    Raises IsogradError if the file is truncated or no tree of arrays.
    """
    msgpack = _library()
    try:
        with path.open("rb") as file:
            unpacker = msgpack.Unpacker(file, max_buffer_size=2 * LONGEST, max_ext_len=LONGEST, max_bin_len=LONGEST)
            return dict(_leaves(path, unpacker, ""))
    except IsogradError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError, msgpack.UnpackException, OSError) as error:
        raise IsogradError(
            f"can't read {path} as a msgpack tree of Flax, it is truncated or foreign: {error or type(error).__name__}"
        ) from error


def write_msgpack(path: Path, arrays: Mapping[str, LazyArray]) -> None:
    """Write arrays by their paths, joined with "/", as Flax's `msgpack_restore` reads them; atomic."""
    packer = _library().Packer(use_bin_type=True)
    with new_file(path) as temporary, temporary.open("wb") as file:
        _write_tree(file, packer, _nested(arrays))


def _leaves(path: Path, unpacker: Any, prefix: str) -> Iterator[tuple[str, LazyArray]]:
    for _ in range(unpacker.read_map_header()):
        key = unpacker.unpack()
        if not isinstance(key, str):
            raise IsogradError(f"can't read {path}: expected names as the keys of a tree, got {key!r}")
        place, start = f"{prefix}{key}", unpacker.tell()
        kind = _kind(path, start)
        if kind == "map" and not _is_chunked(path, start):
            yield from _leaves(path, unpacker, f"{place}/")
            continue
        if kind not in ("map", "array"):
            raise IsogradError(f"can't read {path}: expected an array at {place}, got something else")
        unpacker.skip()
        yield place, _chunked(path, start, unpacker.tell()) if kind == "map" else _whole(path, start)


def _kind(path: Path, start: int) -> str:
    with path.open("rb") as file:
        file.seek(start)
        first = file.read(1)[0]
    if first in (0xDE, 0xDF) or 0x80 <= first <= 0x8F:
        return "map"
    return "array" if 0xC7 <= first <= 0xC9 or 0xD4 <= first <= 0xD8 else "other"


def _is_chunked(path: Path, start: int) -> bool:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(len(CHUNKED) + 3).find(CHUNKED.encode()) in (2, 3)  # the first key of the map itself


def _whole(path: Path, start: int) -> LazyArray:
    """An array in one piece, whose numbers lie behind the headers of the extension and of its parts."""
    with path.open("rb") as file:
        file.seek(start)
        header = file.read(HEADER)
    extension = 2 if header[0] >= 0xD4 else EXTENSIONS[header[0]]
    if header[extension - 1] not in (ARRAY, SCALAR):
        raise ValueError(f"an extension of type {header[extension - 1]} is no array")
    unpacker = _library().Unpacker()
    unpacker.feed(header[extension:])
    unpacker.read_array_header()
    shape, dtype = tuple(unpacker.unpack()), _dtype(unpacker.unpack())
    offset = extension + unpacker.tell()
    offset = start + offset + BINARIES.get(header[offset], 1)
    return LazyArray(shape, dtype, partial(_numbers, path, offset, shape, dtype))


def _numbers(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    content = np.fromfile(path, np.uint8, count, offset=offset)
    if content.size != count:
        raise IsogradError(f"can't read {path}: it is truncated")
    return content.view(dtype).reshape(shape)


def _chunked(path: Path, start: int, end: int) -> LazyArray:
    """An array in several pieces."""
    read = partial(_read, path, start, end)
    array = read()
    return LazyArray(array.shape, array.dtype, read)


def _read(path: Path, start: int, end: int) -> np.ndarray:
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(end - start)
    limits = {"max_ext_len": LONGEST, "max_bin_len": LONGEST}
    return _array(_library().unpackb(content, ext_hook=_extension, **limits))


def _array(value: Any) -> np.ndarray:
    shape = [value["shape"][str(axis)] for axis in range(len(value["shape"]))]
    chunks = [value["chunks"][str(index)] for index in range(len(value["chunks"]))]
    return np.concatenate(chunks).reshape(shape)


def _extension(code: int, data: bytes) -> np.ndarray:
    shape, dtype, content = _library().unpackb(data, max_bin_len=LONGEST)
    return np.frombuffer(content, _dtype(dtype)).reshape(shape)


def _dtype(name: str | bytes) -> np.dtype:
    text = name.decode() if isinstance(name, bytes) else name
    return OTHER_DTYPES.get(text) or np.dtype(text)


def _nested(arrays: Mapping[str, LazyArray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, last = name.split("/")
        inner = tree
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = array
    return tree


def _write_tree(file: BinaryIO, packer: Any, tree: Mapping[str, Any]) -> None:
    file.write(packer.pack_map_header(len(tree)))
    for name, value in tree.items():
        file.write(packer.pack(name))
        if isinstance(value, Mapping):
            _write_tree(file, packer, value)
        elif value.nbytes > CHUNK:
            _write_chunks(file, packer, value)
        else:
            _write_array(file, packer, value.shape, value.dtype, contiguous_bytes(value))


def _write_chunks(file: BinaryIO, packer: Any, array: LazyArray) -> None:
    content, size = contiguous_bytes(array), CHUNK // array.dtype.itemsize * array.dtype.itemsize
    starts = range(0, len(content), size)
    file.write(packer.pack_map_header(3) + packer.pack(CHUNKED) + packer.pack(True))
    file.write(packer.pack("shape") + packer.pack({str(axis): length for axis, length in enumerate(array.shape)}))
    file.write(packer.pack("chunks") + packer.pack_map_header(len(starts)))
    for index, start in enumerate(starts):
        part = content[start : start + size]
        file.write(packer.pack(str(index)))
        _write_array(file, packer, (len(part) // array.dtype.itemsize,), array.dtype, part)


def _write_array(file: BinaryIO, packer: Any, shape: tuple[int, ...], dtype: np.dtype, content: memoryview) -> None:
    """An extension of shape, name and bytes, with headers of four bytes for the lengths, so that nothing is copied."""
    inner = packer.pack_array_header(3) + packer.pack(shape) + packer.pack(dtype.name)
    inner += b"\xc6" + len(content).to_bytes(4, "big")
    file.write(b"\xc9" + (len(inner) + len(content)).to_bytes(4, "big") + bytes([ARRAY]) + inner)
    file.write(content)


def _library() -> ModuleType:
    try:
        import msgpack
    except ModuleNotFoundError as error:
        raise IsogradError("files of Flax Linen need msgpack, which is not installed: pip install msgpack") from error
    return msgpack
