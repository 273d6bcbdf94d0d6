"""The renames of a table in TOML, which `isograd port --rules` reads as well, for `compare`."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from crosscheck.pairing.renaming import Rules
from shared.errors import IsogradError
from shared.foreign_tables import WHOLE, Row
from shared.rules.tables import read_table

FLAX = {"kernel": "weight", "scale": "weight", "embedding": "weight"}  # the last part of a name -> torch's
LAYER = r"(\d+)"
DONE = "\0"  # before a new name, so that no other rule changes it again


def as_rules(rules: Rules | str | Path) -> Rules:
    """Rules as they are; those of a table of JAX names and torch names, in either order, as regular expressions.

    Raises IsogradError for rows that pack, split or stack arrays: both modules must have the same parameters.
    """
    if not isinstance(rules, str | Path):
        return rules
    rows, stacked, axes, *_ = read_table(Path(rules))
    packed = [row.canonical for row in rows if (row.foreign_block, row.canonical_block) != (WHOLE, WHOLE)]
    if packed or stacked or axes:
        names = ", ".join(dict.fromkeys([*packed, *sorted(stacked), *axes]))
        raise IsogradError(
            f"{rules} packs, stacks or reshapes {names}: compare needs the same parameters on both sides; port the "
            "weights by the table, or name the layout with layouts="
        )
    pairs = list(_pairs(rows))
    renames = dict(_of_parameters(pairs)) | dict(sorted(_of_modules(pairs), key=lambda rule: -len(rule[0])))
    return {**renames, rf"\A{DONE}": ""}


def _pairs(rows: Iterable[Row]) -> Iterator[tuple[str, str]]:
    """(JAX name, torch name) of every row, with dots."""
    both = [(str(row.foreign).replace("/", "."), row.canonical.replace("/", ".")) for row in rows]
    is_turned = any(_leaf(target) in FLAX for _, target in both) and not any(_leaf(name) in FLAX for name, _ in both)
    return ((target, source) if is_turned else (source, target) for source, target in both)


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


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _pattern(name: str) -> str:
    return LAYER.join(map(re.escape, name.split("{}")))


def _filled(name: str) -> str:
    return DONE + name.replace("{}", r"\1")
