"""Weights in JAX's own files, as canonical arrays, and back, to the byte. Twin: torch_impl/weight_files.py.

A file is an Orbax folder of the module's pure tree: `nnx.to_pure_dict(nnx.state(module, nnx.Param))`.
"""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx

from jax_impl.weights import parameter_shapes
from shared.atomic import new_folder
from shared.digests import check_digests, with_digests
from shared.errors import IsogradError, WeightsError
from shared.weight_rules import canonical_name, check_names, from_canonical, to_canonical

METADATA = "_METADATA"  # Orbax's own list of the leaves
ITEM = "default"  # where a CheckpointManager puts the tree of a step
VARIABLE = "value"  # the last part of a path where a state of variables was saved instead of the pure tree


def read_weights(path: str | Path, module: nnx.Module) -> dict[str, np.ndarray]:
    """The canonical arrays of a file that fits `module` (an abstract one will do); float64 needs no x64 mode.

    Raises IsogradError if the folder is missing, damaged or foreign, WeightsError if its weights do not fit.
    """
    places = _places(module)
    arrays = dict(_canonical(place, leaf, places) for place, leaf in _leaves(Path(path)).items())
    check_names(parameter_shapes(module), arrays, type(module).__name__)
    check_digests(path, arrays, read_metadata(path))
    return {name: arrays[name] for name in parameter_shapes(module)}


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Every array of a file under its own name, the parts of its path joined by dots, in the layout of the file."""
    return {".".join(place): leaf for place, leaf in _leaves(Path(path)).items()}


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What the file says of its model: the custom metadata of the Orbax folder."""
    with _readable(Path(path)), ocp.PyTreeCheckpointer() as checkpointer:
        return dict(checkpointer.metadata(Path(path).absolute()).custom_metadata or {})


def write_weights(
    path: str | Path, arrays: Mapping[str, np.ndarray], module: nnx.Module, metadata: Mapping[str, Any]
) -> None:
    """Write the canonical arrays of `module` atomically, with the metadata as the folder's custom metadata.

    Raises WeightsError if the arrays do not fit, IsogradError if the disk is full.
    """
    check_names(parameter_shapes(module), arrays, type(module).__name__)
    empty = [name for name, array in arrays.items() if array.size == 0]
    if empty or not arrays:
        raise WeightsError(f"Orbax can't hold empty arrays, got {', '.join(empty) or 'no arrays'}: use safetensors")
    tree = nnx.traversals.unflatten_mapping(
        {place: from_canonical(path, arrays[canonical_name(path)]) for place, path in _places(module).items()}
    )
    with new_folder(path) as temporary:
        try:
            with _quiet(), ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save(temporary.absolute(), tree, custom_metadata=with_digests(arrays, metadata))
        except Exception as error:  # what Orbax makes of the system's error, such as a full disk
            raise _system_error(str(error)) from error


def _system_error(text: str) -> OSError:
    """The system's own error, which TensorStore tells in the middle of a long text."""
    found = re.search(r"os_error_code='(\d+)'", text)
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else OSError(text.partition("\n")[0][:200])


def _places(module: nnx.Module) -> dict[tuple[str, ...], tuple[str | int, ...]]:
    """Orbax's path of every parameter, whose parts are all texts -> its path in the module."""
    return {tuple(map(str, path)): path for path, _ in nnx.to_flat_state(nnx.state(module, nnx.Param))}


def _canonical(place: tuple[str, ...], leaf: np.ndarray, places: Mapping) -> tuple[str, np.ndarray]:
    """Name and array in canonical form; a leaf that the module does not know keeps its path, and is then refused."""
    if place not in places:
        return "/".join(place), leaf
    return canonical_name(places[place]), to_canonical(places[place], leaf)


def _leaves(path: Path) -> dict[tuple[str, ...], np.ndarray]:
    """Every leaf as a numpy array, so that nothing depends on JAX's modes and devices."""
    folder = (path / ITEM if (path / ITEM).is_dir() else path).absolute()
    if not (folder / METADATA).is_file():
        raise IsogradError(f"can't read {path}: expected an Orbax folder (with {METADATA}), there is none")
    with _readable(path), ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(folder).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        restored = checkpointer.restore(folder, restore_args=as_numpy)
    leaves = {tuple(map(str, place)): leaf for place, leaf in nnx.traversals.flatten_mapping(restored).items()}
    return {place[:-1] if place[-1] == VARIABLE else place: leaf for place, leaf in leaves.items()}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say in one sentence what Orbax and TensorStore say with errors of many kinds, none of which is ours."""
    try:
        with _quiet():
            yield
    except Exception as error:
        reason = str(error).partition("\n")[0][:200]
        raise IsogradError(f"can't read {path} as an Orbax folder, it is damaged or foreign: {reason}") from error


def _unless_late(report: Callable[[Any], None], unraisable: Any) -> None:
    """Pass over what TensorStore's threads can't tell a loop that Orbax closed at the first failure."""
    if str(unraisable.exc_value) != "Event loop is closed":
        report(unraisable)


def _is_news(record: logging.LogRecord) -> bool:
    """False for a failed read or write of Orbax that nobody waited for: the first failure has been told."""
    if not record.exc_info or record.exc_info[1] is None:
        return True
    error, trace = record.exc_info[1:]
    return not ("tensorstore" in str(error) or (trace and _module_of(trace).startswith("orbax.")))


def _module_of(trace: TracebackType) -> str:
    return str(trace.tb_frame.f_globals.get("__name__"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Orbax's log lines, and what its threads can't deliver, from the user's terminal."""
    if getattr(sys.unraisablehook, "func", None) is not _unless_late:
        sys.unraisablehook = partial(_unless_late, sys.unraisablehook)  # it stays: a thread may end later
    logging.getLogger("asyncio").addFilter(_is_news)  # it stays, once: a task may be collected later
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
