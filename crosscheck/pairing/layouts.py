"""Converts one side's values from the layouts of other libraries' layers, and of stacked layers, to ours."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from crosscheck import criterion
from crosscheck.pairing.layout_conversions import LAYOUTS, STACKED, unstacked, written
from crosscheck.pairing.renaming import Rules, renamed, with_calls, with_parameters
from crosscheck.recording.noise import Movement, Noise
from crosscheck.recording.recording import Recording
from crosscheck.recording.values import Values
from shared import foreign_layouts
from shared.arrays import Arrays
from shared.configs.validation import check_choice
from shared.errors import IsogradError

# module path in torch's names -> the layout of its parameters, such as "torch.nn.GRU"; a tuple names one for each side
Layouts = Mapping[str, str | Sequence[str]]


def canonical(found: Recording, layouts: Layouts, rules: Rules | None = None) -> Recording:
    """The recording, including its noise, in our names and layouts; `rules` rename JAX's names."""
    values = renamed(found.values, rules or {}) if found.side == "jax" else found.values
    values = in_canonical_layout(values, found.side, layouts)
    return replace(found, values=values, noise=found.noise and noise_in_canonical_layout(found.noise, layouts))


def in_canonical_layout(values: Values, side: str, layouts: Layouts) -> Values:
    """The values with the parameters below each path converted from their layout to ours, in the order given.

    A layout belongs to the framework that its name begins with. Where a layout has one bias for two, both sides compare
    their sum. Raises IsogradError for an unknown layout or path, WeightsError if the parameters do not fit the layout.
    """
    for path, layout in _pairs(layouts):
        _check_layout(layout)
        if layout.startswith("torch." if side == "torch" else "flax."):
            _check_path(path, layout, values.parameters)
            convert = LAYOUTS[layout]
            values = with_parameters(values, lambda arrays, _, p=path, f=convert: _below(p, arrays, f))
            values = _with_layers_apart(values, path) if layout == STACKED else values
    for path, layout in _pairs(layouts):
        values = with_parameters(
            values,
            lambda arrays, weights, p=path, to=layout: _below(p, arrays, lambda inside: _merged(to, inside, weights)),
        )
    return values


def in_jax_layout(arrays: Arrays, layouts: Layouts) -> Arrays:
    """torch's weights under the names and in the layout of the JAX side: the inverse of `in_canonical_layout`.

    Raises IsogradError for a layout that can't be written.
    """
    for path, layout in _pairs(layouts):
        _check_layout(layout)
        if layout.startswith("torch."):
            _check_path(path, layout, arrays)
            arrays = _below(path, arrays, LAYOUTS[layout])
    for path, layout in _pairs(layouts):
        if layout.startswith("flax."):
            _check_path(path, layout, arrays)
            arrays = _below(path, arrays, lambda inside, to=layout: written(to, _merged(to, inside, True)))
    return arrays


def _pairs(layouts: Layouts) -> list[tuple[str, str]]:
    return [(path, layout) for path, of in layouts.items() for layout in ([of] if isinstance(of, str) else of)]


def noise_in_canonical_layout(noise: Noise, layouts: Layouts) -> Noise:
    """The same for the oracle and its movement, which is treated as spread evenly over each tensor."""
    if not layouts:
        return noise
    spread = Values(
        **{field: _spread(getattr(noise.oracle, field), moved) for field, moved in noise.movement.items()},
        calls=noise.oracle.calls,
    )
    moved = in_canonical_layout(spread, "torch", layouts)
    movement: Movement = {
        field: {name: criterion.norm(array) for name, array in getattr(moved, field).items()}
        for field in noise.movement
    }
    return Noise(in_canonical_layout(noise.oracle, "torch", layouts), movement)


def _spread(arrays: Arrays, moved: Mapping[str, float]) -> Arrays:
    return {
        name: np.full(array.shape, moved.get(name, 0.0) / max(array.size, 1) ** 0.5) for name, array in arrays.items()
    }


def _check_layout(layout: str) -> None:
    if layout in foreign_layouts.REFUSED:
        raise IsogradError(f"{layout} can't be converted: {foreign_layouts.REFUSED[layout]}")
    check_choice("layout", layout, LAYOUTS)


def _check_path(path: str, layout: str, arrays: Arrays) -> None:
    if not any(name.startswith(_prefix(path)) for name in arrays):
        raise IsogradError(
            f"layouts names {path!r} as {layout}, but that side has no parameter below it: got {', '.join(arrays)}"
        )


def _prefix(path: str) -> str:
    return f"{path}." if path else ""


def _below(path: str, arrays: Arrays, convert: Callable[[Arrays], Arrays]) -> Arrays:
    """The arrays, with those below a path converted under their names relative to it."""
    prefix = _prefix(path)
    inside = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
    outside = {name: array for name, array in arrays.items() if not name.startswith(prefix)}
    return {**outside, **{prefix + name: array for name, array in convert(inside).items()}}


def _merged(layout: str, arrays: Arrays, weights: bool) -> Arrays:
    """Add arrays that the layout has no place for to those that absorb them.

    Gradients and moments of the two (`weights` false) are equal, so one of them is dropped.
    """
    merged = {name: array.copy() for name, array in arrays.items()}
    for row in foreign_layouts.LAYOUTS.get(layout, ()):
        if row.merged_into in merged and row.canonical in merged:
            which, parts = row.canonical_block
            part, whole = (np.split(merged[name], parts)[which] for name in (row.canonical, row.merged_into))
            whole += part * weights
            part[...] = 0
    return merged


def _with_layers_apart(values: Values, path: str) -> Values:
    """Running statistics and calls inside a stack, by layer: an unrolled loop repeats each call once per layer, or
    several times."""
    prefix = _prefix(path)
    inside = (name[len(prefix) :] for name in values.parameters if name.startswith(prefix))
    layers = 1 + max(int(name.partition(".")[0]) for name in inside)
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
    values = replace(values, statistics=_below(path, values.statistics, unstacked))
    return replace(with_calls(values, names, paths), hidden=hidden)


def _in_layer(name: str, path: str, layer: int) -> str:
    """ "layers.norm" -> "layers.2.norm"."""
    return f"{path}.{layer}{name[len(path) :]}"
