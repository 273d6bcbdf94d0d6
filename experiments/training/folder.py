"""The folder of a run: whether it is writable and unused, and the lock that keeps a second process out."""

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from shared.errors import IsogradError

CONFIG, TOKENIZER, LOCK = "config.json", "tokenizer.json", ".lock"
REPORTS = ("report.html", "bounds.md")  # what tells a folder of reports
MARKS = (  # what a page, a table or a result of isograd's says at its start
    *('<meta name="generator" content="isograd">', "<title>isograd", "isograd train", "# Lockstep certificates"),
    *('"command": "isograd ', "# Planted faults", '"killed": ', "# How tight measured bounds"),
    *('"very_edits": ', '"is_very_edit": '),
)
START = BLOCK = 4096  # bytes
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # from file systems without locks, as on some clusters


def check_unused(folder: Path) -> None:
    """Raise unless a new run may start here."""
    if folder.exists() and not folder.is_dir():
        raise IsogradError(f"expected a folder for the run, got the file {folder}: choose a different one with --out")
    if folder.is_dir() and not _is_unused(folder):
        is_run = (folder / CONFIG).is_file()
        hint = f"resume its run with `isograd train --resume {folder}`, or " if is_run else ""
        raise IsogradError(f"{folder} is not empty: {hint}choose a different folder with --out")


def _is_unused(folder: Path) -> bool:
    """Empty, or left by a process that was killed before its run began: only such a folder has a lock and no config."""
    names = {entry.name for entry in folder.iterdir()}
    begun = {name for name in names if name in (LOCK, TOKENIZER) or name.endswith(".tmp")}
    return not names or (LOCK in names and names == begun)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the run folder; the system releases it when the process exits, however it exits."""
    if os.name == "nt":
        yield
        return
    import fcntl

    with _opened(folder / LOCK) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise IsogradError(
                f"{folder} is in use by another isograd process: wait for it, or choose a different folder with --out"
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield


def _opened(lock: Path) -> TextIO:
    try:
        return lock.open("w")
    except OSError as error:
        raise IsogradError(
            f"the run folder {lock.parent} can't be written to ({error.strerror}): make it writable, or copy the run"
        ) from error


def check_replaceable(path: Path, option: str = "--out") -> None:
    """Raise IsogradError unless a report may be written here: into an empty folder, or over a report of isograd's."""
    found = [path / name for name in REPORTS if (path / name).exists()]
    if path.is_dir() and any(path.iterdir()) and not (found and all(map(_is_ours, found))):
        raise IsogradError(
            f"{option} {path}: the folder is not empty and holds no report of isograd's, so nothing there is "
            "overwritten: choose a different folder with --out"
        )


def check_files(folder: Path, names: Sequence[str]) -> None:
    """Raise IsogradError unless these files may be written into the folder: new ones, or over results of isograd's."""
    foreign = [name for name in names if (folder / name).exists() and not _is_ours(folder / name)]
    if foreign:
        raise IsogradError(
            f"--out {folder}: {' and '.join(foreign)} there is not isograd's, so nothing is overwritten: "
            "choose a different folder with --out"
        )


def check_table(path: Path) -> None:
    """Raise IsogradError unless a table may be written to this file: a new one, or a table of isograd's."""
    if path.is_dir():
        raise IsogradError(f"--table {path}: expected a file to write, got a folder")
    if path.exists() and not _is_ours(path):
        raise IsogradError(f"--table {path}: the file was not written by isograd: choose a different one")


def _is_ours(file: Path) -> bool:
    try:
        start = file.read_bytes()[:START].decode("utf-8", "replace")
    except OSError:
        return False
    return any(mark in start for mark in MARKS)


def check_folder(path: Path) -> None:
    """Raise IsogradError unless files can be written into the folder, which may not exist yet."""
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise IsogradError(f"--out {path}: expected a folder to write to, got the file {existing}")
    try:
        with tempfile.TemporaryFile(dir=existing) as file:  # permissions alone don't tell: a file system may refuse
            file.write(bytes(BLOCK))  # and a full one still holds empty files
            file.flush()
    except OSError as error:
        raise IsogradError(
            f"--out {path}: the folder {existing} can't be written to ({error.strerror}): choose a different one"
        ) from error
