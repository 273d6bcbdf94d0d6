"""The folder of things that can be made again, and files written so that nobody ever sees half of one."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

log = logging.getLogger("isograd")


def cache_folder() -> Path:
    """$ISOGRAD_CACHE, else the user's cache folder of this platform."""
    if chosen := os.environ.get("ISOGRAD_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "isograd"
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    return Path(os.environ.get(variable) or Path.home() / ".cache") / "isograd"


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write through a temporary file beside `path`, fsync, rename: the old file or the whole new one is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def store(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Like `write_atomically`, but a cache that can't be written costs a line in the log, not the run."""
    try:
        write_atomically(path, write)
    except OSError as error:
        log.warning("could not write the cache file %s (%s); set ISOGRAD_CACHE to a writable folder", path, error)
