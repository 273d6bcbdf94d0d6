"""The cache: a folder of files that can be rebuilt, so that no run fails for lack of it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from shared.atomic import new_file
from shared.errors import IsogradError

log = logging.getLogger("isograd")


def cache_folder() -> Path:
    """$ISOGRAD_CACHE, else this platform's cache folder for the user."""
    if chosen := os.environ.get("ISOGRAD_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "isograd"
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    return Path(os.environ.get(variable) or Path.home() / ".cache") / "isograd"


def store(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a cache file atomically; a failure is logged and does not stop the run."""
    try:
        with new_file(path) as temporary, temporary.open("wb") as file:
            write(file)
    except IsogradError as error:
        log.warning("not cached (%s): set ISOGRAD_CACHE to a writable folder", error)
