"""Conversions, by layout name, of the parameters below a path from other libraries' layouts to ours."""

import re
from collections.abc import Callable

import numpy as np

from shared import foreign_layouts
from shared.arrays import Arrays
from shared.errors import IsogradError

STACKED = "flax.stacked"


def _table(layout: str) -> Callable[[Arrays], Arrays]:
    """The conversion for one of the invertible tables."""
    if layout.startswith("torch."):
        return lambda arrays: foreign_layouts.from_foreign(layout, arrays)
    return lambda arrays: foreign_layouts.from_foreign(layout, _as_flax(arrays))


def _as_flax(arrays: Arrays) -> Arrays:
    """To Flax's own paths and axes: "hn.weight" -> "hn/kernel"."""
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
    """Flatten the heads: (in, heads, size) -> (heads * size, in)."""
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
    """A kernel stored without transpose_kernel: flip it, and swap its in and out axes. Its own inverse."""
    return {
        name: np.flip(array.swapaxes(0, 1), tuple(range(2, array.ndim))).copy() if name == "weight" else array
        for name, array in arrays.items()
    }


def unstacked(arrays: Arrays) -> Arrays:
    """One array per layer; the layer axis is by now the third of a kernel, and the first of any other array."""
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
    """The inverse of a conversion to a Flax layout; raises IsogradError if there is none."""
    if layout not in INVERSES:
        raise IsogradError(f"layout {layout} can be read but not written: fill these weights by hand")
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
