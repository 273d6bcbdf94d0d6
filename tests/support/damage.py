"""Ways to damage a file on disk, by name: functions of its path."""

import os
from pathlib import Path


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 2)


def flip_a_bit(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def flip_a_bit_in_a_number(path: Path) -> None:
    """Where the file keeps its format: in the digits of the step, or in the numbers of an array."""
    name = b'"step": '
    content = path.read_bytes()
    flip_a_bit(path, content.index(name) + len(name) if name in content else len(content) * 3 // 4)


HARMS = {
    "truncated": truncate,
    "removed": Path.unlink,
    "a flipped bit": flip_a_bit,
    "a number with a flipped bit": flip_a_bit_in_a_number,
    "emptied": lambda path: path.write_bytes(b""),
    "garbled": lambda path: path.write_bytes(bytes(byte ^ 0x5A for byte in path.read_bytes())),
}
