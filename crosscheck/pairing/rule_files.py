"""A table in TOML as rules, which `isograd port --rules` reads as well, for `compare`."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from crosscheck.pairing.by_table import stacks_of
from crosscheck.pairing.renaming import DONE, Rules, TableRules
from shared.foreign_tables import WHOLE, Row
from shared.rules.tables import STACK, Table, read_table

FLAX = {"kernel": "weight", "scale": "weight", "embedding": "weight"}  # the last part of a name -> torch's
LAYER = r"(\d+)"


def as_rules(rules: Rules | str | Path) -> Rules:
    """Rules as they are; those of a table of JAX names and torch names, in either order, as regular expressions, with
    the table where its rows pack, stack or reshape arrays."""
    if not isinstance(rules, str | Path):
        return rules
    table = read_table(Path(rules))
    is_turned, pairs = _pairs(table)
    left_out = {rf"\A{_pattern(_usual(name))}\Z": None for name in table.left_out}
    modules = sorted(_of_modules(pairs), key=lambda rule: -len(rule[0]))
    renames = {**left_out, **dict(_of_parameters(pairs)), **dict(modules), rf"\A{DONE}": ""}
    is_packed = any((row.foreign_block, row.canonical_block) != (WHOLE, WHOLE) for row in table.rows)
    return TableRules(renames, table, is_turned) if is_packed or table.stacked or table.axes else renames


def _pairs(table: Table) -> tuple[bool, list[tuple[str, str]]]:
    """Whether the targets are JAX's, and (JAX name, torch name) of every row that names one array on each side."""
    both = [_named(row, table) for row in table.rows]
    is_turned = any(_leaf(target) in FLAX for _, target in both) and not any(_leaf(name) in FLAX for name, _ in both)
    whole = [
        pair for row, pair in zip(table.rows, both, strict=True) if row.foreign_block == row.canonical_block == WHOLE
    ]
    return is_turned, [(target, source) if is_turned else (source, target) for source, target in whole]


def _named(row: Row, table: Table) -> tuple[str, str]:
    """The source and the target of a row with dots; the layers of a stack stand behind its path."""
    source = str(row.foreign).removesuffix(STACK)
    for path, names in stacks_of(table).items():
        if source in names:
            source = f"{path}.{{}}{source[len(path) :]}"
    return source.replace("/", "."), row.canonical.replace("/", ".")


def _of_parameters(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Rules for parameters whose last part changes beyond Flax's own names, or that stand in no module."""
    for ours, theirs in pairs:
        leaf = FLAX.get(_leaf(ours), _leaf(ours))
        if leaf != _leaf(theirs) or "." not in ours or "." not in theirs:
            path = ours.rpartition(".")[0]
            yield rf"\A{_pattern(f'{path}.{leaf}' if path else leaf)}\Z", _filled(theirs)


def _of_modules(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Rules for the modules that hold parameters, and for those around them as far as their last parts are equal."""
    for ours, theirs in pairs:
        ours, theirs = ours.rpartition(".")[0], theirs.rpartition(".")[0]
        while ours and theirs:
            yield rf"\A{_pattern(ours)}\.", _filled(f"{theirs}.")
            if _leaf(ours) != _leaf(theirs):
                break
            ours, theirs = ours.rpartition(".")[0], theirs.rpartition(".")[0]


def _usual(name: str) -> str:
    """A name as torch's, whatever side has it."""
    path, dot, leaf = name.replace("/", ".").rpartition(".")
    return f"{path}{dot}{FLAX.get(leaf, leaf)}"


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _pattern(name: str) -> str:
    return LAYER.join(map(re.escape, name.split("{}")))


def _filled(name: str) -> str:
    return DONE + name.replace("{}", r"\1")
