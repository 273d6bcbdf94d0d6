"""States of NNX in Orbax folders, as canonical arrays, and back, to the byte.

`StandardCheckpointer().restore(folder, nnx.state(module, nnx.Param))` reads what is written here; a whole state, with
the streams of random numbers of its dropout, is read as well. The other functions are those of weight_files.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from jax_impl.orbax_folders import VARIABLE, leaves_of, write_leaves
from jax_impl.weight_files import read_metadata, read_tensors, read_weights
from shared.digests import with_digests

__all__ = ["read_metadata", "read_tensors", "read_weights", "write_tensors", "write_weights"]


def write_weights(
    path: str | Path, arrays: Mapping[str, np.ndarray], module: nnx.Module, metadata: Mapping[str, Any]
) -> None:
    """Write the canonical arrays of `module` as a state of its parameters, with the folder's custom metadata.

    Raises WeightsError if the arrays do not fit, IsogradError if the disk is full.
    """
    leaves = {(*place, VARIABLE): leaf for place, leaf in leaves_of(arrays, module).items()}
    write_leaves(path, leaves, with_digests(arrays, metadata))


def write_tensors(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write any arrays as a state of parameters by their paths, joined by "/"."""
    write_leaves(path, {(*name.split("/"), VARIABLE): array for name, array in arrays.items()}, {})
