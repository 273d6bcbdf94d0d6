"""Layers that are stacked, told apart: a loop over them calls each module once per layer."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from crosscheck.pairing.layout_conversions import unstacked
from crosscheck.pairing.renaming import with_calls
from crosscheck.recording.values import Values
from shared.arrays import Arrays


def prefix_of(path: str) -> str:
    """What the names below a path begin with."""
    return f"{path}." if path else ""


def below(path: str, arrays: Arrays, convert: Callable[[Arrays], Arrays]) -> Arrays:
    """The arrays, with those below a path converted under their names relative to it."""
    prefix = prefix_of(path)
    inside = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
    outside = {name: array for name, array in arrays.items() if not name.startswith(prefix)}
    return {**outside, **{prefix + name: array for name, array in convert(inside).items()}}


def with_layers_apart(values: Values, path: str, layers: int) -> Values:
    """Running statistics and calls inside a stack, by layer: an unrolled loop repeats each call once per layer, or
    several times."""
    prefix = prefix_of(path)
    times = Counter(name.partition("#")[0] for name in values.calls)
    names, paths = {}, {}
    for name, call in values.calls.items():
        names[name], paths[name] = name, call.path
        if f"{call.path}.".startswith(prefix):
            base, _, number = name.partition("#")
            layer, again = divmod(int(number or 0), max(times[base] // layers, 1))
            paths[name] = _in_layer(call.path, path, layer)
            names[name] = _in_layer(base, path, layer) + (f"#{again}" if again else "")
    hidden = [_in_layer(p, path, n) for p in values.hidden for n in range(layers) if f"{p}.".startswith(prefix)]
    hidden += [p for p in values.hidden if not f"{p}.".startswith(prefix)]
    values = replace(values, statistics=below(path, values.statistics, unstacked))
    return replace(with_calls(values, names, paths), hidden=hidden)


def _in_layer(name: str, path: str, layer: int) -> str:
    """ "layers.norm" -> "layers.2.norm"."""
    return f"{path}.{layer}{name[len(path) :]}"
