"""Conversions of the parameters below one path, from the layouts of other libraries' layers into ours, by name."""

import re
from collections.abc import Callable

import numpy as np

from shared import foreign_layouts
from shared.arrays import Arrays
from shared.errors import IsogradError

STACKED = "flax.stacked"


def _table(layout: str) -> Callable[[Arrays], Arrays]:
    """The conversion of one of the invertible tables."""
    if layout.startswith("torch."):
        return lambda arrays: foreign_layouts.from_foreign(layout, arrays)
    return lambda arrays: foreign_layouts.from_foreign(layout, _as_flax(arrays))


def _as_flax(arrays: Arrays) -> Arrays:
    """Flax's own paths and axes: "hn.weight" -> "hn/kernel"."""
    return {
        re.sub(r"weight$", "kernel", name).replace(".", "/"): array.T if name.endswith("weight") else array
        for name, array in arrays.items()
    }


def _as_torch(arrays: Arrays) -> Arrays:
    """The inverse: "hn/kernel" -> "hn.weight"."""
    return {
        re.sub(r"kernel$", "weight", name).replace("/", "."): array.T if name.endswith("kernel") else array
        for name, array in arrays.items()
    }


def _flax_attention(arrays: Arrays) -> Arrays:
    """Heads side by side: (in, heads, size) -> (heads * size, in)."""
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
    converted = {}
    for name, array in _as_flax(arrays).items():
        part, _, kind = name.partition("/")
        if kind == "kernel":
            array = (array.reshape(-1, array.shape[-1]) if part == "out" else array.reshape(len(array), -1)).T
        array = array.reshape(-1) if kind == "bias" else array
        converted[f"{names.get(part, part)}.{kind.replace('kernel', 'weight')}"] = array
    return converted


def _flax_conv_transpose(arrays: Arrays) -> Arrays:
    """A kernel as an image slides under it, not over it: flipped, in and out swapped. Its own inverse."""
    return {
        name: np.flip(array.swapaxes(0, 1), tuple(range(2, array.ndim))).copy() if name == "weight" else array
        for name, array in arrays.items()
    }


def unstacked(arrays: Arrays) -> Arrays:
    """One array for each layer; a kernel's axis of layers is the third by now, the first of any other array."""
    layers = {}
    for name, array in arrays.items():
        is_kernel = name.endswith("weight") and array.ndim > 2
        for layer, part in enumerate(np.moveaxis(array, 2 if is_kernel else 0, 0)):
            layers[f"{layer}.{name}"] = part
    return layers


def _stacked(arrays: Arrays) -> Arrays:
    layers: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        layers.setdefault(name.partition(".")[2], []).append(array)
    return {
        name: np.stack(parts, 2 if name.endswith("weight") and parts[0].ndim > 1 else 0)
        for name, parts in layers.items()
    }


def _inverse_table(layout: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: _as_torch(foreign_layouts.to_foreign(layout, arrays))


def written(layout: str, arrays: Arrays) -> Arrays:
    """The inverse of a conversion into Flax's layout; raises IsogradError if it has none."""
    if layout not in INVERSES:
        raise IsogradError(f"weights can be read from the layout {layout}, but not written to it: fill these by hand")
    return INVERSES[layout](arrays)


LAYOUTS: dict[str, Callable[[Arrays], Arrays]] = {
    **{layout: _table(layout) for layout in foreign_layouts.LAYOUTS},
    "flax.linen.MultiHeadDotProductAttention": _flax_attention,
    "flax.nnx.MultiHeadAttention": _flax_attention,
    "flax.linen.ConvTranspose": _flax_conv_transpose,
    "flax.nnx.ConvTranspose": _flax_conv_transpose,
    STACKED: unstacked,
}
INVERSES: dict[str, Callable[[Arrays], Arrays]] = {
    **{layout: _inverse_table(layout) for layout in foreign_layouts.LAYOUTS},
    "flax.linen.ConvTranspose": _flax_conv_transpose,
    "flax.nnx.ConvTranspose": _flax_conv_transpose,
    STACKED: _stacked,
}
