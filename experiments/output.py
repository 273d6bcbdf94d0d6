"""Whether results can be written: asked before the work, which may take hours."""

import os
from pathlib import Path

from shared.errors import IsogradError


def check_folder(path: Path) -> None:
    """Raise IsogradError unless files can be written into the folder, which may not exist yet."""
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise IsogradError(f"--out {path}: expected a folder to write to, got the file {existing}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise IsogradError(f"--out {path}: the folder {existing} can't be written to: choose another one")
