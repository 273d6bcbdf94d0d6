"""Which way every `if` of some files went while a function ran, by Python's own tracing of lines."""

import ast
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

Steps = dict[str, set[tuple[int, int]]]  # file -> pairs of lines that ran one after the other; 0 is before and behind


@contextmanager
def steps_taken(files: Iterable[Path]) -> Iterator[Steps]:
    """The steps from line to line inside the functions of these files, filled in while the context lasts."""
    found: Steps = {str(file): set() for file in files}
    latest: dict[int, int] = {}

    def step(frame: FrameType, event: str, arg: Any) -> Any:
        if event in ("line", "return"):
            line = frame.f_lineno if event == "line" else 0
            found[frame.f_code.co_filename].add((latest.get(id(frame), 0), line))
            latest[id(frame)] = line
        return step

    before = sys.gettrace()
    sys.settrace(lambda frame, event, arg: step if frame.f_code.co_filename in found else None)
    try:
        yield found
    finally:
        sys.settrace(before)


def one_way(source: str, steps: set[tuple[int, int]]) -> list[str]:
    """The functions that never ran, by name, and what an `if` never was, such as "GPT.forward: not (mask is None)"."""
    return [said for name, function in _functions(ast.parse(source)) for said in _of_function(name, function, steps)]


def _functions(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from [(inside + node.name, node)] if isinstance(node, ast.FunctionDef) else []
            yield from _functions(node, f"{inside}{node.name}.")


def _of_function(name: str, function: ast.FunctionDef, steps: set[tuple[int, int]]) -> Iterator[str]:
    ran = {line for _, line in steps}
    body = function.body[bool(ast.get_docstring(function)) :]
    if body and not any(statement.lineno in ran for statement in body):
        yield name
        return
    for node in _own(function):
        if isinstance(node, ast.If):
            test = range(node.lineno, (node.test.end_lineno or 0) + 1)
            inside = range(node.body[0].lineno, (node.body[-1].end_lineno or 0) + 1)
            next_lines = {line for before, line in steps if before in test and line not in test}
            ways = {line in inside for line in next_lines}
            words = ast.unparse(node.test)
            yield from (f"{name}: {words}" for _ in [0] if True not in ways)
            yield from (f"{name}: not ({words})" for _ in [0] if False not in ways)


def _own(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions inside."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            yield node
            yield from _own(node)  # type: ignore[arg-type]
