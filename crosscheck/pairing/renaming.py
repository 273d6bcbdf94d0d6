"""Renames one side's values to the names of the other, by regular expression."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from crosscheck.recording.tracing import Slot, call_of
from crosscheck.recording.values import Values
from shared.arrays import Arrays
from shared.errors import IsogradError
from shared.rules.tables import Table
from shared.weight_rules import from_canonical

# regular expression on a canonical JAX name -> replacement in torch's name; None: parameters of such names, on either
# side, are left out
Rules = Mapping[str, str | None]
DONE = "\0"  # before a new name, so that no rule changes it again


class TableRules(dict[str, str | None]):
    """The renames of a table whose rows pack, stack or reshape arrays, and the table itself.

    `is_turned` tables name JAX's arrays as targets; `below` is put before JAX's names, which are relative to it.
    """

    def __init__(self, renames: Rules, table: Table, is_turned: bool, below: str = ""):
        super().__init__(renames)
        self.table, self.is_turned, self.below = table, is_turned, below


def renamed(values: Values, rules: Rules) -> Values:
    """The values with the rules applied to parameter names and module paths."""
    if not rules:
        return values
    paths = {name: module_path(call.path, rules) for name, call in values.calls.items()}
    names = {name: paths[name] + name[len(call.path) :] for name, call in values.calls.items()}
    values = with_parameters(values, lambda arrays, _: _renamed(arrays, rules))
    values = replace(values, statistics=_renamed(values.statistics, rules))
    return replace(with_calls(values, names, paths), hidden=[module_path(path, rules) for path in values.hidden])


def with_calls(values: Values, names: Mapping[str, str], paths: Mapping[str, str]) -> Values:
    """The calls with new names and module paths, both given by the call's old name."""

    def tap(name: str) -> str:
        call = call_of(name)
        return names[call] + name[len(call) :]

    return replace(
        values,
        calls={
            names[name]: call._replace(
                path=paths[name], caller=paths.get(call.inside, call.caller), inside=names.get(call.inside, "")
            )
            for name, call in values.calls.items()
        },
        intermediates={tap(name): array for name, array in values.intermediates.items()},
        intermediate_gradients={tap(name): array for name, array in values.intermediate_gradients.items()},
        captured={
            names[name]: call._replace(arguments=call.filled(lambda of: Slot(tap(of))))
            for name, call in values.captured.items()
        },
    )


def inside(rules: Rules, jax_path: str, torch_path: str) -> Rules:
    """The rules as they apply inside the submodule at these two paths."""
    if not rules:
        return {}
    found = {rf"\A(?!{DONE})": f"{jax_path}.", **rules, rf"\A{re.escape(torch_path)}\.": ""}
    if isinstance(rules, TableRules):
        return TableRules(found, rules.table, rules.is_turned, f"{jax_path}.")
    return found


def with_parameters(values: Values, change: Callable[[Arrays, bool], Arrays]) -> Values:
    """Apply change(arrays, whether they are weights) to weights, their gradients and all training state."""
    groups: dict[str, Arrays] = {}
    for key, array in values.updates.items():
        step, group, name = key.split("/", 2)
        groups.setdefault(f"{step}/{group}", {})[name] = array
    return replace(
        values,
        parameters=change(values.parameters, True),
        parameter_gradients=change(values.parameter_gradients, False) if values.parameter_gradients else {},
        updates={
            f"{group}/{name}": array
            for group, arrays in groups.items()
            for name, array in change(arrays, group.endswith("/weights")).items()
        },
    )


def in_shapes_of(values: Values, like: Arrays) -> Values:
    """The values with every parameter in the shape of its counterpart in `like`, if they differ only by axes of length
    1, (1, 9, 5) and (9, 5), or because torch merges several axes, (heads * size, in) for (in, heads, size).

    If several readings are possible, the one that reproduces `like` is used, for gradients and moments too.
    """
    read = {name: _reading(array, like[name]) for name, array in values.parameters.items() if name in like}

    def change(arrays: Arrays, _: bool) -> Arrays:
        return {name: read[name](array, like[name].shape) if name in read else array for name, array in arrays.items()}

    return with_parameters(values, change)


def _reading(theirs: np.ndarray, ours: np.ndarray) -> Callable[[np.ndarray, tuple[int, ...]], np.ndarray]:
    possible = [read for read in READINGS if read(theirs, ours.shape).shape == ours.shape]
    return next((read for read in possible if np.array_equal(read(theirs, ours.shape), ours)), (*possible, fitted)[0])


def fitted(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array in a shape that differs by axes of length 1; unchanged otherwise."""
    same = [size for size in array.shape if size != 1] == [size for size in shape if size != 1]
    return array.reshape(shape) if same else array


def _joined(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Merge adjacent axes: a bias (heads, size), or a weight (in, heads, size) as stored."""
    if array.ndim <= len(shape) or array.size != math.prod(shape):
        return array
    splits = [math.prod(array.shape[:number]) for number in range(1, array.ndim)]
    if len(shape) == 2 and shape[1] in splits:
        return array.reshape(shape[::-1]).T
    return array.reshape(shape) if len(shape) == 1 else array


def _joined_kernel(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The same for a kernel, whose axes were reversed before."""
    return _joined(from_canonical(("kernel",), array), shape) if array.ndim > len(shape) == 2 else array


def _heads_first(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A weight (heads, in, size), as einsums have it, as torch's (heads * size, in); also with its axes reversed."""
    if array.ndim != 3 or len(shape) != 2:
        return array
    for each in (array, from_canonical(("kernel",), array)):
        if (each.shape[0] * each.shape[2], each.shape[1]) == shape:
            return each.transpose(0, 2, 1).reshape(shape)
    return array


READINGS = (fitted, _joined_kernel, _joined, _heads_first)


def spread(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """torch's array in a shape of JAX's that splits its axes, the inverse of what `in_shapes_of` reads: a weight
    (heads * size, in) as (in, heads, size), (heads, size, out) or (heads, in, size); None if it does not fit."""
    if array.size != math.prod(shape):
        return None
    if array.ndim == 1:
        return array.reshape(shape)
    if array.ndim != 2 or len(shape) < 3:
        return None
    out, inside = array.shape
    if any(math.prod(shape[:number]) == inside for number in range(1, len(shape))):
        return array.T.reshape(shape)
    if len(shape) == 3 and shape[1] == inside:
        return array.reshape(shape[0], shape[2], inside).transpose(0, 2, 1)
    return None


def _renamed(arrays: Arrays, rules: Rules) -> Arrays:
    names = {name: new_name(name, rules) for name in arrays}
    twice = [name for name, new in names.items() if list(names.values()).count(new) > 1]
    if twice:
        raise IsogradError(f"rules map several parameters of the JAX module to the same name: {', '.join(twice)}")
    return {names[name]: array for name, array in arrays.items()}


def new_name(name: str, rules: Rules) -> str:
    """A parameter's name after applying the rules in order."""
    for pattern, replacement in rules.items():
        name = name if replacement is None else re.sub(pattern, replacement, name)
    return name


def is_left_out(name: str, rules: Rules) -> bool:
    """True for a parameter that a rule leaves out, by torch's name."""
    return any(replacement is None and re.search(pattern, name) for pattern, replacement in rules.items())


def without_left_out(values: Values, rules: Rules) -> Values:
    """The values without the parameters that rules leave out."""
    if None not in rules.values():
        return values
    return with_parameters(
        values, lambda arrays, _: {name: array for name, array in arrays.items() if not is_left_out(name, rules)}
    )


def module_path(path: str, rules: Rules) -> str:
    """A module's path after applying the rules, which match the names inside it."""
    return new_name(f"{path}.", rules).removesuffix(".") if path else path
