"""Arrays that a table of rules packs, stacks or reshapes: JAX's as torch has them, and torch's as JAX has them."""

import os
import re
from collections.abc import Iterable, Mapping

import numpy as np

from crosscheck.pairing.renaming import DONE, TableRules, with_parameters
from crosscheck.pairing.stacks import with_layers_apart
from crosscheck.recording.values import Values
from shared.arrays import Arrays
from shared.foreign_tables import Row
from shared.lazy.arrays import lazy
from shared.rules.moving import moved
from shared.rules.tables import STACK, Table
from shared.weight_rules import LAST_PART, Path, from_canonical

LAYER = r"(0|[1-9]\d*)"
OWNER = "the table of rules"


def by_table(values: Values, rules: Mapping[str, str | None]) -> Values:
    """JAX's values with the parameters that a table names as torch has them, weights, gradients and moments alike."""
    if not isinstance(rules, TableRules):
        return values
    own = {name: array for name, (_, array) in _own(values.parameters, rules).items()}
    values = with_parameters(values, lambda arrays, _: _as_torch(arrays, rules))
    for path, names in stacks_of(rules.table).items():
        layers = {len(own[name]) for name in names if name in own}
        if len(layers) == 1:
            values = with_layers_apart(values, path, layers.pop())
    return values


def as_jax(
    arrays: Arrays, paths: Iterable[Path], rules: Mapping[str, str | None]
) -> tuple[dict[Path, np.ndarray], Arrays]:
    """torch's arrays at those paths of JAX that a table names, in JAX's layout, and the arrays that are left."""
    if not isinstance(rules, TableRules):
        return {}, arrays
    names = {"/".join(map(str, path)): path for path in paths}
    table = _restricted(rules, names)
    sides = [_matching(_name(row, not rules.is_turned), arrays) for row in table.rows]
    used = {name for found in sides for name in found} | {name for tied in table.tied for name in tied}
    given = lazy({name: array for name, array in arrays.items() if name in used})
    made = moved(table, OWNER, given, forth=rules.is_turned)
    found = {names[name]: array.read() for name, array in made.items() if name in names}
    return found, {name: array for name, array in arrays.items() if name not in used}


def stacks_of(table: Table) -> dict[str, list[str]]:
    """The path of each stack of layers, and the arrays in it: what is around all arrays of one list of layers."""
    lists: dict[str, list[str]] = {}
    for row in table.rows:
        name = str(row.foreign).removesuffix(STACK)
        if name in table.stacked:
            lists.setdefault(row.canonical.partition("{}")[0], []).append(name)
    return {
        os.path.commonpath([os.path.dirname(name) or name for name in names]).replace("/", "."): names
        for names in lists.values()
    }


def _as_torch(arrays: Arrays, rules: TableRules) -> Arrays:
    own = _own(arrays, rules)
    table = _restricted(rules, own)._replace(tied=[])  # torch names a parameter once
    made = moved(table, OWNER, lazy({name: array for name, (_, array) in own.items()}), forth=not rules.is_turned)
    used = {name for name, _ in own.values()}
    kept = {name: array for name, array in arrays.items() if name not in used}
    return {**kept, **{DONE + name.replace("/", "."): array.read() for name, array in made.items()}}


def _own(arrays: Arrays, rules: TableRules) -> dict[str, tuple[str, np.ndarray]]:
    """JAX's arrays under the names of the table and in the layout of Flax, each with its canonical name."""
    found: dict[str, tuple[str, np.ndarray]] = {}
    for row in rules.table.rows:
        name = _name(row, rules.is_turned)
        path, leaf = os.path.split(name)
        for last in dict.fromkeys((leaf, LAST_PART.get(leaf, leaf))):
            for recorded, layer in _matching(os.path.join(path, last), arrays, rules.below).items():
                array = arrays[recorded]
                own = from_canonical((leaf,), array) if last != leaf else array
                found.setdefault(name.replace("{}", layer), (recorded, own))
    return found


def _name(row: Row, is_canonical: bool) -> str:
    """The name of one side of a row, with "/"; that of a stack without its layer."""
    return row.canonical if is_canonical else str(row.foreign).removesuffix(STACK)


def _matching(name: str, arrays: Iterable[str], below: str = "") -> dict[str, str]:
    """Those names of arrays, to which `below` is added, that this name of a table is, each with its layer."""
    pattern = re.compile(LAYER.join(map(re.escape, name.replace("/", ".").split("{}"))))
    matches = {each: pattern.fullmatch((below + each).replace("/", ".")) for each in arrays}
    return {each: match[1] if match.groups() else "" for each, match in matches.items() if match}


def _restricted(rules: TableRules, names: Iterable[str]) -> Table:
    """The rows whose JAX arrays are there."""
    rows = [row for row in rules.table.rows if _matching(_name(row, rules.is_turned), names)]
    kept = {str(row.foreign).removesuffix(STACK) for row in rows}
    table = rules.table
    return table._replace(rows=rows, stacked=table.stacked & kept, left_out=[])
