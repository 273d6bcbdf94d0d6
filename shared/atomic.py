"""Atomic writes: a file or a folder appears whole under its name, or the old one stays unchanged."""

import glob
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import IsogradError

SETTLING_SECONDS = 0.2  # for the threads of a failed write to finish
TRIES = 25  # to remove what keeps reappearing


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` to write to; on success it is synced to disk and renamed to `path`.

    Missing parent folders are created. Raises IsogradError if the disk is full or the place is not writable.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a device, which a rename would replace
        raise IsogradError(f"could not write {path}: expected a file or a free name: choose a different place")
    with _temporary(path) as temporary:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` at which to create a folder; on success it replaces `path`.

    A folder can't be replaced in one step: for a moment the old one is at `set_aside(path)`, where `standing` finds it.
    """
    path = Path(path)
    with _temporary(path) as temporary:
        yield temporary
        for member in temporary.rglob("*"):
            _sync(member)
        _sync(temporary)
        if path.exists():
            _remove(set_aside(path))
            path.rename(set_aside(path))
        temporary.rename(path)
        _remove(set_aside(path))


def set_aside(path: Path) -> Path:
    """Where the old folder is kept while the new one takes its place."""
    return path.with_name(f".{path.name}.old")


def standing(path: Path) -> Path | None:
    """The folder, or the old one set aside by a process killed between two renames; None if there is neither."""
    return next((folder for folder in (path, set_aside(path)) if folder.is_dir()), None)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder with a single writer; call it before writing there."""
    for temporary in folder.glob(".*.tmp"):
        _remove(temporary)
    for old in folder.glob(".*.old"):
        name = folder / old.name.removeprefix(".").removesuffix(".old")
        if name.exists():
            _remove(old)
        else:
            old.rename(name)


def remove_folder(path: Path) -> None:
    """Remove a folder so that it is never seen half removed under its name."""
    hidden = _temporary_name(path)
    path.rename(hidden)
    _remove(hidden)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    temporary = _temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(path.parent)
    except BaseException as error:
        _remove_for_good(path.parent, f"{glob.escape(temporary.name)}*")  # and a library's own temporary next to it
        if not isinstance(error, OSError):
            raise
        raise IsogradError(
            f"could not write {_by_own_names(path)}: {error.strerror or error}; nothing was changed there: "
            "free some space or choose a different place, then try again"
        ) from error


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _by_own_names(path: Path) -> Path:
    """The final path of a member of a folder that is still temporary."""
    return Path(*(re.sub(r"^\.(.+)\.\d+\.tmp$", r"\1", part) for part in path.parts))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_for_good(folder: Path, pattern: str) -> None:
    """Remove what is there until it stays away: threads of a library that failed may still be writing to it."""
    for _ in range(TRIES):
        for leftover in folder.glob(pattern):
            _remove(leftover)
        time.sleep(SETTLING_SECONDS)
        if not any(folder.glob(pattern)):
            return


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
