"""Orbax folders of trees of arrays, as numpy arrays: read without JAX's modes and devices, written atomically."""

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
from shared.errors import IsogradError, WeightsError
from shared.weight_rules import canonical_name, check_names, from_canonical

METADATA = "_METADATA"  # Orbax's own list of the leaves
ITEM = "default"  # where a CheckpointManager puts the tree of a step
VARIABLE = "value"  # the last part of a path where a state of NNX was saved, not its pure tree
STREAM = ("rngs", {"count", "key"})  # the paths of a stream of random numbers, which a whole state holds too

Place = tuple[str, ...]


def read_leaves(path: Path) -> dict[Place, np.ndarray]:
    """Every array by its path in the tree, without the streams of random numbers; a state's is like its pure tree's.

    Raises IsogradError if the folder is missing, damaged or foreign.
    """
    folder = _folder(path)
    with _readable(path), ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(folder).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        restored = checkpointer.restore(folder, restore_args=as_numpy)
    leaves = {tuple(map(str, place)): leaf for place, leaf in nnx.traversals.flatten_mapping(restored).items()}
    plain = {place[:-1] if place[-1] == VARIABLE else place: leaf for place, leaf in leaves.items()}
    return {place: leaf for place, leaf in plain.items() if not _is_stream(place)}


def read_metadata(path: Path) -> dict[str, Any]:
    """The custom metadata of a folder."""
    with _readable(path), ocp.PyTreeCheckpointer() as checkpointer:
        return dict(checkpointer.metadata(path.absolute()).custom_metadata or {})


def write_leaves(path: str | Path, leaves: Mapping[Place, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write a tree of arrays by their paths; raises IsogradError if the disk is full."""
    with new_folder(path) as temporary:
        try:
            with _quiet(), ocp.StandardCheckpointer() as checkpointer:
                tree = nnx.traversals.unflatten_mapping(leaves)
                checkpointer.save(temporary.absolute(), tree, custom_metadata=dict(metadata))
        except Exception as error:  # what Orbax makes of the system's error, such as a full disk
            raise _system_error(str(error)) from error


def leaves_of(arrays: Mapping[str, np.ndarray], module: nnx.Module) -> dict[Place, np.ndarray]:
    """The arrays of a module by their paths in its tree, in JAX's layout; raises WeightsError if they do not fit."""
    check_names(parameter_shapes(module), arrays, type(module).__name__)
    empty = [name for name, array in arrays.items() if array.size == 0]
    if empty or not arrays:
        raise WeightsError(f"Orbax can't hold empty arrays, got {', '.join(empty) or 'no arrays'}: use safetensors")
    turned = {place: from_canonical(path, arrays[canonical_name(path)]) for place, path in places_of(module).items()}
    return {place: np.asarray(array, order="C") for place, array in turned.items()}


def places_of(module: nnx.Module) -> dict[Place, tuple[str | int, ...]]:
    """Orbax's path of every parameter, whose parts are all texts -> its path in the module."""
    return {tuple(map(str, path)): path for path, _ in nnx.to_flat_state(nnx.state(module, nnx.Param))}


def _folder(path: Path) -> Path:
    folder = (path / ITEM if (path / ITEM).is_dir() else path).absolute()
    if not (folder / METADATA).is_file():
        raise IsogradError(f"can't read {path}: expected an Orbax folder (with {METADATA}), there is none")
    return folder


def _is_stream(place: Place) -> bool:
    return STREAM[0] in place and place[-1] in STREAM[1]


def _system_error(text: str) -> OSError:
    """The system's own error, which TensorStore tells in the middle of a long text."""
    found = re.search(r"os_error_code='(\d+)'", text)
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else OSError(text.partition("\n")[0][:200])


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
