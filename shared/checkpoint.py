"""Checkpoint files: named arrays and JSON metadata in one safetensors file, byte-exact, written atomically."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from shared.arrays import ArrayMapping
from shared.atomic import new_file
from shared.digests import DIGESTS, check_digests, with_digests
from shared.errors import IsogradError
from shared.json_text import parse_object, to_json
from shared.lazy.arrays import LazyArrays, open_safetensors

Metadata = dict[str, Any]

HEADER_ENTRY = "isograd"  # metadata and digests as JSON text; alone, since safetensors writes two in a random order
DTYPES = {
    np.dtype(dtype)
    for dtype in (
        *("float64", "float32", "float16", "complex64", "bool"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
        ml_dtypes.bfloat16,
    )
}


def save(path: str | Path, arrays: ArrayMapping, metadata: Mapping[str, Any]) -> None:
    """Write arrays and JSON-serialisable metadata, with `digests` of all; a failed write leaves the old file unchanged.

    Raises IsogradError if the format does not support a dtype, or the disk is full.
    """
    _check_dtypes(path, arrays)
    # safetensors writes raw memory: only contiguous arrays survive the round trip
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    header = {HEADER_ENTRY: to_json(with_digests(arrays, metadata))}
    with new_file(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # as the umask allows: safetensors creates files that only their owner can read
        try:
            safetensors.numpy.save_file(contiguous, temporary, metadata=header)
        except safetensors.SafetensorError as error:
            raise OSError(str(error)) from error
        temporary.chmod(mode)


def open_arrays(path: str | Path) -> tuple[LazyArrays, Metadata]:
    """The same as `load`, with arrays that are read when needed; their digests are checked one by one."""
    with _readable(path), safetensors.safe_open(path, framework="np") as file:
        header = file.metadata() or {}
        metadata = parse_object(header[HEADER_ENTRY]) if HEADER_ENTRY in header else None
    arrays = open_safetensors(Path(path))
    if metadata is None:
        return arrays, dict(header)
    check_digests(path, arrays, metadata)
    return arrays, {name: value for name, value in metadata.items() if name != DIGESTS}


def load(path: str | Path) -> tuple[dict[str, np.ndarray], Metadata]:
    """The arrays in their own dtypes, and the metadata; for a foreign file, the texts of its header.

    Raises IsogradError if the file is missing, empty, truncated, in a different format, or changed since its writing.
    """
    with _readable(path), safetensors.safe_open(path, framework="np") as file:
        header = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
        metadata = parse_object(header[HEADER_ENTRY]) if HEADER_ENTRY in header else None
    if metadata is None:
        return arrays, dict(header)
    check_digests(path, arrays, metadata)
    return arrays, {name: value for name, value in metadata.items() if name != DIGESTS}


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; numpy scalars become plain numbers."""
    with new_file(path) as temporary:
        temporary.write_text(to_json(content, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise IsogradError(f"can't read {path}: {_reason(Path(path), error)}") from error


def _check_dtypes(path: str | Path, arrays: ArrayMapping) -> None:
    foreign = [
        f"{name} ({array.dtype})" for name, array in arrays.items() if array.dtype.newbyteorder("=") not in DTYPES
    ]
    if foreign:
        raise IsogradError(
            f"can't write {path}: safetensors does not support {', '.join(foreign)}: "
            "cast them to float64, float32, bfloat16 or an integer type"
        )


def _reason(path: Path, error: Exception) -> str:
    if not path.exists():
        return "there is no such file: expected a safetensors file"
    if path.is_dir():
        return "this is a folder: expected a safetensors file"
    if path.stat().st_size == 0:
        return "the file is empty: expected a safetensors file; use an earlier checkpoint"
    with path.open("rb") as file:
        if file.read(2) in (b"PK", b"\x80\x02"):
            return "this is a torch or zip file, not safetensors: `isograd port` can convert a torch state dict"
    return (
        f"not a valid safetensors file ({error}): it is truncated or in a different format; use an earlier checkpoint"
    )
