"""Converts one side's values from the layouts of other libraries' layers, and of stacked layers, to ours."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from crosscheck import criterion
from crosscheck.pairing.by_table import by_table
from crosscheck.pairing.layout_conversions import LAYOUTS, STACKED, written
from crosscheck.pairing.renaming import Rules, renamed, with_parameters
from crosscheck.pairing.stacks import below, prefix_of, with_layers_apart
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
    values = renamed(by_table(found.values, rules or {}), rules or {}) if found.side == "jax" else found.values
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
            values = with_parameters(values, lambda arrays, _, p=path, f=convert: below(p, arrays, f))
            values = with_layers_apart(values, path, _layers(path, values.parameters)) if layout == STACKED else values
    for path, layout in _pairs(layouts):
        values = with_parameters(
            values,
            lambda arrays, weights, p=path, to=layout: below(p, arrays, lambda inside: _merged(to, inside, weights)),
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
            arrays = below(path, arrays, LAYOUTS[layout])
    for path, layout in _pairs(layouts):
        if layout.startswith("flax."):
            _check_path(path, layout, arrays)
            arrays = below(path, arrays, lambda inside, to=layout: written(to, _merged(to, inside, True)))
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
    if not any(name.startswith(prefix_of(path)) for name in arrays):
        raise IsogradError(
            f"layouts names {path!r} as {layout}, but that side has no parameter below it: got {', '.join(arrays)}"
        )


def _layers(path: str, arrays: Arrays) -> int:
    """The number of layers of a stack whose arrays are apart."""
    prefix = prefix_of(path)
    return 1 + max(int(name[len(prefix) :].partition(".")[0]) for name in arrays if name.startswith(prefix))


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
