"""Text from files and arguments, made safe for where it is shown: a terminal, a file name, a Markdown table."""

import re
from collections.abc import Iterable, Sequence

UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
LONGEST = 80  # characters of a file name
OF_MARKDOWN = str.maketrans({"\\": "\\\\", "|": "\\|", "<": "&lt;", ">": "&gt;", "`": "\\`", "\n": " "})


def printable(text: str) -> str:
    """The same text with a mark for each character that can't be shown, such as the start of an escape sequence."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A file name for each name: safe characters only, and no two alike, even where upper case doesn't count."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        safe = UNSAFE.sub("_", name).strip("._")[:LONGEST] or "unnamed"
        free = next(each for each in (safe, *(f"{safe}-{n}" for n in range(2, 10**6))) if each.lower() not in taken)
        taken.add(free.lower())
        found[name] = free
    return found


def markdown(text: object) -> str:
    """One line of Markdown that shows this text as it is: no table cell ends in it, and no tag starts."""
    return printable(str(text)).translate(OF_MARKDOWN)


def listed(texts: Sequence[str]) -> str:
    """An enumeration of at least one text: "a, b and c"."""
    *most, last = texts
    return f"{', '.join(most)} and {last}" if most else last
