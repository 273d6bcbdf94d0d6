"""The formats of weights: how a source is detected, read and written."""

import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from shared import checkpoint
from shared.backend import PACKAGES
from shared.configs.validation import check_choice
from shared.digests import DIGESTS, with_digests
from shared.errors import IsogradError
from shared.json_text import to_json
from shared.lazy.arrays import LazyArrays, lazy, write_safetensors
from shared.pretrained.folder import (
    CONFIG,
    LINEN,
    LINEN_INDEX,
    PICKLED,
    PICKLED_INDEX,
    Pretrained,
    is_linen,
    write_folder,
)
from shared.pretrained.folder import INDEX as SHARDS
from shared.pretrained.folder import WEIGHTS as THEIR_WEIGHTS
from shared.registry import Twin
from shared.run_folder import BEST, CHECKPOINTS, STATE, WEIGHTS, best_or_newest, read_state
from shared.weight_rules import check_names

# format -> the framework it belongs to; hf and linen are folders of transformers, with its own names in torch or Flax
FRAMEWORKS = {"torch": "torch", "safetensors": None, "orbax": "jax", "nnx": "jax", "hf": None, "linen": None}
FILES = {"torch": "weight_files", "orbax": "weight_files", "nnx": "nnx_states"}  # format -> the module that reads it
IN_ORBAX = ("orbax", "nnx")
PRETRAINED = ("hf", "linen")
SUFFIXES = {".safetensors": "safetensors", ".pt": "torch", ".pth": "torch", ".bin": "torch", ".orbax": "orbax"}
PRETRAINED_FILES = (THEIR_WEIGHTS, SHARDS, PICKLED, PICKLED_INDEX, LINEN, LINEN_INDEX)
TREE = ".msgpack"  # of Flax
ORBAX_FILES = ("_METADATA", "default/_METADATA")
IN_VARIABLE = re.compile(rb"'value'\)\"")  # the end of a path in Orbax's list


@dataclass(frozen=True)
class Source:
    """Weights on disk: their format, their path, and notes on what was skipped to find them."""

    format: str
    path: Path
    notes: list[str] = field(default_factory=list)


def recognise(path: Path) -> Source:
    """The weights in a file, an Orbax folder, a checkpoint or a run (its best checkpoint, else its newest)."""
    if path.is_dir():
        for is_kind, locate in FOLDERS:
            if is_kind(path):
                return locate(path)
        if found := [name for name in PRETRAINED_FILES if (path / name).is_file()]:
            raise IsogradError(
                f"{path} has {found[0]}, but no {CONFIG} beside it, which tells the model: copy it there"
            )
        raise IsogradError(
            f"no weights in the folder {path}: expected a folder of transformers ({CONFIG} and its weights), an Orbax "
            f"folder (_METADATA), a checkpoint ({WEIGHTS}) or a run ({BEST}/ or {CHECKPOINTS}/)"
        )
    if not path.is_file():
        got = "is not a regular file" if path.exists() else "does not exist"
        raise IsogradError(f"{path} {got}: expected a file or folder of weights")
    if path.suffix == TREE:
        return _tree(path)
    return Source("torch" if _is_torch(_first_bytes(path)) else "safetensors", path)


def format_of(path: Path, to: str | None) -> str:
    """The requested format, or else the one that the suffix implies."""
    if to is None and path.suffix not in SUFFIXES:
        raise IsogradError(f"can't tell the format from the name {path}: add --to {' or --to '.join(FRAMEWORKS)}")
    chosen = SUFFIXES[path.suffix] if to is None else to
    check_choice("format", chosen, FRAMEWORKS)
    return chosen


def check_writable(path: Path, chosen: str, source: Path) -> None:
    """Raise if writing would overwrite anything but a file or folder of that format, or a part of a run."""
    if path.exists() and path.resolve() == source.resolve():
        raise IsogradError(f"the source and the destination are both {path}: choose a different destination")
    if (path.parent / STATE).is_file():
        raise IsogradError(f"{path} would be a part of the checkpoint {path.parent}: choose a different destination")
    is_own = path.is_dir() and IS_FOLDER.get(chosen, lambda path: False)(path)
    if path.is_dir() and not (chosen in IS_FOLDER and (is_own or not any(path.iterdir()))):
        raise IsogradError(f"{path} is a folder with other contents: choose a different destination")
    if path.exists() and not path.is_dir() and chosen in IS_FOLDER:
        what = "an Orbax checkpoint" if chosen in IN_ORBAX else f"the format {chosen}"
        raise IsogradError(f"{path} is a file, and {what} is a folder: choose a different destination")
    if path.is_file() and path.stat().st_size and not _is_weights(path):
        raise IsogradError(f"{path} is a file that holds no weights: choose a different destination")


def read_metadata(source: Source) -> dict[str, Any]:
    """The source's metadata about its model; {} if there is none."""
    if source.format in PRETRAINED:
        return {}
    if source.format == "safetensors":
        return checkpoint.open_arrays(source.path)[1]
    metadata = framework_files(source.format).read_metadata(source.path)
    if source.format in IN_ORBAX and metadata.pop(DIGESTS, None) is None:
        source.notes.append(f"{source.path} has no digests of its arrays: a damaged number would not be noticed")
    return metadata


def check_fit(arrays: LazyArrays, twin: Twin, arguments: Mapping[str, Any]) -> None:
    """Raise WeightsError unless these weights fit the model; a safetensors file alone does not tell."""
    own = [chosen for chosen, framework in FRAMEWORKS.items() if framework and importlib.util.find_spec(framework)]
    for chosen in own[:1]:
        shapes = framework_files(chosen).parameter_shapes(_abstract(chosen, twin, arguments))
        check_names(shapes, arrays, twin.public_name)


def pretrained(source: Source, twin: str | None = None) -> Pretrained:
    """What a folder of transformers holds; `twin` chooses another model than its config does."""
    return Pretrained(source.path, twin, lambda path: lazy(framework_files("torch").read_tensors(path)))


def read(source: Source, twin: Twin, arguments: Mapping[str, Any]) -> LazyArrays:
    """The canonical arrays of a source, checked against the model if the format says how."""
    if source.format in PRETRAINED:
        return pretrained(source, twin.name).arrays
    if source.format == "safetensors":
        return checkpoint.open_arrays(source.path)[0]
    return lazy(framework_files(source.format).read_weights(source.path, _abstract(source.format, twin, arguments)))


def write(
    chosen: str, path: Path, arrays: LazyArrays, twin: Twin, arguments: Mapping[str, Any], metadata: Mapping[str, Any]
) -> None:
    """Write the canonical arrays in a format, atomically, with metadata if the format can hold it."""
    if chosen in PRETRAINED:
        write_folder(path, twin.name, complete(twin, arguments), arrays, chosen == "linen")
    elif chosen == "safetensors":
        write_safetensors(path, arrays, {checkpoint.HEADER_ENTRY: to_json(with_digests(arrays, metadata))})
    else:
        whole = {name: np.asarray(array) for name, array in arrays.items()}
        framework_files(chosen).write_weights(path, whole, _abstract(chosen, twin, arguments), metadata)


def complete(twin: Twin, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a model with a config, the defaults too."""
    return dict(arguments) if twin.config is None else vars(twin.config(**arguments))


def framework_files(chosen: str) -> ModuleType:
    """The module that reads and writes a format; IsogradError if its framework is not installed."""
    framework = FRAMEWORKS[chosen]
    try:
        return importlib.import_module(f"{framework}_impl.{FILES[chosen]}")
    except ModuleNotFoundError as error:
        needed = (*PACKAGES[str(framework)], "orbax")
        if error.name is None or error.name.split(".")[0] not in needed:
            raise
        raise IsogradError(
            f"the format {chosen} needs {error.name!r}, which is not installed: pip install 'isograd[{framework}]'"
        ) from error


def _abstract(chosen: str, twin: Twin, arguments: Mapping[str, Any]) -> Any:
    build = importlib.import_module(f"{FRAMEWORKS[chosen]}_impl.build")
    return build.build_twin(twin, arguments, abstract=True)


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(9)


def _is_torch(start: bytes) -> bool:
    return start.startswith((b"PK", b"\x80")) and start[8:] != b"{"  # a zip, or an old-style pickle


def _is_weights(path: Path) -> bool:
    start = _first_bytes(path)
    return _is_torch(start) or start[8:] == b"{"


def _is_orbax(path: Path) -> bool:
    return any((path / name).is_file() for name in ORBAX_FILES)


def _orbax(path: Path) -> Source:
    """A state of NNX, whose arrays lie in variables, or a plain tree of arrays."""
    listed = next((path / name).read_bytes() for name in ORBAX_FILES if (path / name).is_file())
    return Source("nnx" if IN_VARIABLE.search(listed) else "orbax", path)


def _is_pretrained(path: Path) -> bool:
    return (path / CONFIG).is_file() and any((path / name).is_file() for name in PRETRAINED_FILES)


def _is_checkpoint(path: Path) -> bool:
    return (path / WEIGHTS).is_file()


def _is_run(path: Path) -> bool:
    return (path / BEST).is_dir() or (path / CHECKPOINTS).is_dir()


def _tree(path: Path) -> Source:
    """The folder of a Flax model's file; a tree alone does not tell its model."""
    if path.name == LINEN and _is_pretrained(path.parent):
        return recognise(path.parent)
    raise IsogradError(
        f"{path} is a tree of Flax, which does not tell its model: put it as {LINEN} beside its {CONFIG}, or name a "
        "table with --rules"
    )


def _checkpoint(path: Path) -> Source:
    read_state(path, (WEIGHTS,))
    return Source("safetensors", path / WEIGHTS)


def _run(path: Path) -> Source:
    found, notes = best_or_newest(path, (WEIGHTS,), lambda newest: f"you can port {newest} instead")
    return Source("safetensors", found / WEIGHTS, notes)


IS_FOLDER = {"orbax": _is_orbax, "nnx": _is_orbax, "hf": _is_pretrained, "linen": _is_pretrained}
FOLDERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Source]], ...] = (
    (_is_pretrained, lambda path: Source("linen" if is_linen(path) else "hf", path)),
    (_is_orbax, _orbax),
    (_is_checkpoint, _checkpoint),
    (_is_run, _run),
)
