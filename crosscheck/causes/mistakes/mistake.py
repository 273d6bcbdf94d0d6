"""A known mistake as data, and the edits of a file that make it, one place at a time or throughout a function."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from crosscheck.causes.mistakes.patterns import filled, match, nodes, parse, places

Steps = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Mistake:
    """One mistake: the catalogue row, the mistake in words, and its `steps`, patterns with their replacements.

    A single step is applied at one place in a function at a time, or at all places if `throughout`; several steps are
    always applied together. `files` and `inside` say in which files and functions the mistake makes sense (regular
    expressions), `phases` where it shows.
    """

    row: str
    what: str
    steps: Steps
    files: str = ""
    inside: str = ""
    phases: tuple[str, ...] = ("forward",)
    throughout: bool = False
    is_narrowing: bool = False


class Edit(NamedTuple):
    """A mistake made in a file: the place and the new source."""

    mistake: Mistake
    place: str
    source: str


Change = tuple[int, int, str]


def edits_of(mistake: Mistake, file: str, source: str) -> Iterator[Edit]:
    """All ways to make a mistake in a file."""
    if not re.search(mistake.files, file):
        return
    patterns = [(parse(old), new) for old, new in mistake.steps]
    starts = [0, *(found.end() for found in re.finditer(rb"\n", source.encode()))]
    for place, tree in places(ast.parse(source)):
        if not re.search(mistake.inside, place):
            continue
        changes = [_changes(pattern, new, tree, source, starts) for pattern, new in patterns]
        if not all(changes):
            continue
        together = mistake.throughout or len(changes) > 1
        for chosen in [[c for step in changes for c in step]] if together else ([c] for c in changes[0]):
            yield Edit(mistake, place, _made(source, chosen))


def _changes(pattern: ast.AST, new: str, tree: ast.AST, source: str, starts: list[int]) -> list[Change]:
    found = ((node, match(pattern, node)) for node in nodes(tree))
    return [(*_span(node, starts), filled(new, bound, source)) for node, bound in found if bound is not None]


def _span(node: Any, starts: list[int]) -> tuple[int, int]:
    """The byte range of an expression or a statement."""
    return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset


def _made(source: str, changes: list[Change]) -> str:
    """The source with non-overlapping changes applied, from last to first."""
    text = source.encode()
    begin = len(text)
    for first, last, new in sorted(changes, reverse=True):
        if last <= begin:
            text, begin = text[:first] + new.encode() + text[last:], first
    return text.decode()
