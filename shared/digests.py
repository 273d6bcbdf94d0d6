"""Digests of arrays and of JSON beside them, in files whose own readers notice no changed number."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shared.arrays import ArrayMapping
from shared.errors import IsogradError
from shared.json_text import parse_json, to_json
from shared.lazy.arrays import LazyArray, LazyArrays

DIGESTS = "digests"  # in the metadata: by array, and of the rest of the metadata
METADATA = ""  # the rest of the metadata among the digests; no array has this name


def digest_of_json(content: Any) -> str:
    """Of what a reader of its JSON text finds, which has texts as keys and lists for tuples."""
    return hashlib.sha256(to_json(parse_json(to_json(content)), sort_keys=True).encode()).hexdigest()


def with_digests(arrays: ArrayMapping | LazyArrays, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata and, beside it, a digest of every array and of the metadata itself."""
    rest = {name: value for name, value in metadata.items() if name != DIGESTS}
    return {**rest, DIGESTS: _digests(arrays, rest)}


def check_digests(path: str | Path, arrays: ArrayMapping | LazyArrays, metadata: Mapping[str, Any]) -> None:
    """Raise one IsogradError that names everything that was changed since its digest was written, if there are any."""
    if DIGESTS not in metadata:
        return
    rest = {name: value for name, value in metadata.items() if name != DIGESTS}
    found, written = _digests(arrays, rest), metadata[DIGESTS]
    if found == written:
        return
    known = written if isinstance(written, Mapping) else {}
    changed = [name or "its metadata" for name in found if found[name] != known.get(name)]
    raise IsogradError(
        f"{path} is damaged: {', '.join(changed) or 'its list of digests'} changed since it was written: "
        "write it again from its source"
    )


def _digests(arrays: ArrayMapping | LazyArrays, rest: Mapping[str, Any]) -> dict[str, str]:
    return {METADATA: digest_of_json(rest), **{name: _digest(array) for name, array in arrays.items()}}


def _digest(array: np.ndarray | LazyArray) -> str:
    """Of the dtype, the shape and the bytes, whatever the order of the array's own bytes and elements in memory."""
    digest = hashlib.sha256(f"{array.dtype.name} {array.shape}".encode())
    digest.update(np.asarray(array, array.dtype.newbyteorder("<"), order="C").reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
