"""Weights in JAX's own files, as canonical arrays, and back, to the byte. Twin: torch_impl/weight_files.py.

A file is an Orbax folder of the module's pure tree: `nnx.to_pure_dict(nnx.state(module, nnx.Param))`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from jax_impl import orbax_folders
from jax_impl.orbax_folders import Place
from jax_impl.weights import parameter_shapes
from shared.digests import check_digests, with_digests
from shared.weight_rules import canonical_name, check_names, to_canonical


def read_weights(path: str | Path, module: nnx.Module) -> dict[str, np.ndarray]:
    """The canonical arrays of a file that fits `module` (an abstract one will do); float64 needs no x64 mode.

    Raises IsogradError if the folder is missing, damaged or foreign, WeightsError if its weights do not fit.
    """
    places = orbax_folders.places_of(module)
    arrays = dict(_canonical(place, leaf, places) for place, leaf in orbax_folders.read_leaves(Path(path)).items())
    check_names(parameter_shapes(module), arrays, type(module).__name__)
    check_digests(path, arrays, read_metadata(path))
    return {name: arrays[name] for name in parameter_shapes(module)}


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Every array of a file under its own name, the parts of its path joined by "/", in the layout of the file."""
    return {"/".join(place): leaf for place, leaf in orbax_folders.read_leaves(Path(path)).items()}


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What the file says of its model: the custom metadata of the Orbax folder."""
    return orbax_folders.read_metadata(Path(path))


def write_weights(
    path: str | Path, arrays: Mapping[str, np.ndarray], module: nnx.Module, metadata: Mapping[str, Any]
) -> None:
    """Write the canonical arrays of `module` atomically, with the metadata as the folder's custom metadata.

    Raises WeightsError if the arrays do not fit, IsogradError if the disk is full.
    """
    leaves = orbax_folders.leaves_of(arrays, module)
    orbax_folders.write_leaves(path, leaves, with_digests(arrays, metadata))


def write_tensors(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write any arrays as a tree by their paths, joined by "/", atomically; raises IsogradError if the disk is full."""
    orbax_folders.write_leaves(path, {tuple(name.split("/")): array for name, array in arrays.items()}, {})


def _canonical(place: Place, leaf: np.ndarray, places: Mapping) -> tuple[str, np.ndarray]:
    """Name and array in canonical form; a leaf that the module does not know keeps its path, and is then refused."""
    if place not in places:
        return "/".join(place), leaf
    return canonical_name(places[place]), to_canonical(places[place], leaf)
