"""Digests of arrays beside them, in the metadata of formats whose readers notice no changed number."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.arrays import ArrayMapping
from shared.checkpoint import to_json
from shared.errors import IsogradError

DIGESTS = "digests"  # in the metadata: by array, and of the rest of the metadata
METADATA = ""  # the rest of the metadata among the digests; no array has this name


def with_digests(arrays: ArrayMapping, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata and, beside it, a digest of every array and of the metadata itself."""
    rest = {name: value for name, value in metadata.items() if name != DIGESTS}
    return {**rest, DIGESTS: _digests(arrays, rest)}


def check_digests(path: str | Path, arrays: ArrayMapping, metadata: Mapping[str, Any]) -> None:
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


def _digests(arrays: ArrayMapping, rest: Mapping[str, Any]) -> dict[str, str]:
    of_arrays = {
        name: _digest(f"{array.dtype.name} {array.shape}".encode(), array.tobytes()) for name, array in arrays.items()
    }
    return {METADATA: _digest(to_json(rest).encode()), **of_arrays}


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
