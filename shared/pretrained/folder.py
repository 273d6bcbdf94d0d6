"""Folders in the layout of Hugging Face: config.json beside model.safetensors, in one file or in shards."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from shared.atomic import new_folder
from shared.configs.validation import check_choice
from shared.errors import IsogradError
from shared.foreign_layouts import written_out
from shared.json_text import parse_json, to_json
from shared.lazy.arrays import LazyArray, LazyArrays, cast_floats, open_safetensors, write_safetensors
from shared.lazy.layouts import lazily_from, lazily_to
from shared.lazy.msgpack_trees import open_msgpack, write_msgpack
from shared.pretrained.family import Family, find_family
from shared.pretrained.table import FAMILIES, family_of
from shared.weight_rules import FLOATS

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
LINEN, LINEN_INDEX = "flax_model.msgpack", "flax_model.msgpack.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
ReadPickled = Callable[[Path], LazyArrays]


class Pretrained:
    """What a folder holds: the twin, its arguments, its canonical arrays, and the tensors that were left out."""

    def __init__(self, folder: Path, twin: str | None = None, read_pickled: ReadPickled | None = None):
        config = read_config(folder)
        family = find_family(FAMILIES, config)
        self.twin = family.twin_of(config) if twin is None else twin
        check_choice(f"twin of {family.model_type}", self.twin, dict.fromkeys(family.architectures.values()))
        arrays = read_tensors(folder, read_pickled)
        self.arguments = family.arguments(config, self.twin, set(arrays))
        self.is_linen = is_linen(folder)
        rows = family.layout(self.twin, self.arguments, self.is_linen)
        _check_depth(folder, self.arguments, arrays)
        expected = {str(row.foreign) for row in written_out(rows, _numbered(rows, self.arguments), foreign=False)}
        tidy = partial(_tidied, family) if self.is_linen else family.tidied
        tidied, self.left_out = tidy(arrays, expected)
        _check_tied(folder, arrays, tidied, family.tied)
        _check_floats(folder, tidied)
        self.arrays = lazily_from(f"{self.twin} in {folder}", rows, tidied)


def is_linen(folder: Path) -> bool:
    """Whether the folder holds the weights of a Flax model alone, as transformers 4 wrote them."""
    others = (WEIGHTS, INDEX, PICKLED, PICKLED_INDEX)
    has_linen = any((folder / name).is_file() for name in (LINEN, LINEN_INDEX))
    return has_linen and not any((folder / name).is_file() for name in others)


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json; raises IsogradError if there is none, or if it is no JSON object."""
    if not folder.is_dir():
        raise IsogradError(f"{folder} is no folder: expected one with {CONFIG} and {WEIGHTS}")
    path = _inside(folder, CONFIG)
    if not path.is_file():
        raise IsogradError(f"{folder} has no {CONFIG}: expected a folder that `save_pretrained` of transformers wrote")
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise IsogradError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise IsogradError(f"{path} must be a JSON object, got {type(config).__name__}")
    return config


def read_tensors(folder: Path, read_pickled: ReadPickled | None = None) -> LazyArrays:
    """Every tensor of a folder by name, each read when needed.

    Raises IsogradError if a file is missing, damaged or outside of the folder, or a tensor is there twice.
    """
    if (folder / INDEX).is_file():
        return _sharded(folder, INDEX, open_safetensors)
    if (folder / WEIGHTS).is_file():
        return open_safetensors(_inside(folder, WEIGHTS))
    if is_linen(folder) and (folder / LINEN).is_file():
        return open_msgpack(_inside(folder, LINEN))
    if is_linen(folder):
        return _sharded(folder, LINEN_INDEX, open_msgpack)
    pickled = next((name for name in (PICKLED_INDEX, PICKLED) if (folder / name).is_file()), None)
    if pickled is None:
        raise IsogradError(f"{folder} has no weights: expected {WEIGHTS}, {INDEX}, {LINEN} or {PICKLED}")
    if read_pickled is None:
        raise IsogradError(f"{folder / pickled} is PyTorch's own format: `isograd port` makes {WEIGHTS} of it")
    if pickled == PICKLED_INDEX:
        return _sharded(folder, PICKLED_INDEX, read_pickled)
    return read_pickled(_inside(folder, PICKLED))


def write_folder(
    folder: Path, twin: str, arguments: Mapping[str, Any], arrays: Mapping[str, LazyArray], for_linen: bool = False
) -> None:
    """Write canonical arrays of a twin as a folder that transformers loads; atomic, one array at a time in memory.

    `for_linen` writes the tree of a Flax model, as transformers 4 loads it.
    """
    family = family_of(twin, arguments)
    dtypes = {str(array.dtype) for array in arrays.values()}
    config = family.config(twin, arguments, dtypes.pop() if len(dtypes) == 1 else "float32")
    theirs = lazily_to(f"a folder of {family.model_type}", family.layout(twin, arguments, for_linen), arrays)
    with new_folder(folder) as temporary:
        temporary.mkdir()
        (temporary / CONFIG).write_text(to_json(config, indent=2) + "\n", encoding="utf-8")
        if for_linen:
            write_msgpack(temporary / LINEN, theirs)
        else:
            write_safetensors(temporary / WEIGHTS, theirs, {"format": "pt"})


def names_of(twin: str, arguments: Mapping[str, Any], canonical: Iterable[str], for_linen: bool) -> dict[str, str]:
    """Every canonical name -> its name in a folder of transformers, with the part of a packed array in brackets."""
    rows = written_out(family_of(twin, arguments).layout(twin, arguments, for_linen), canonical, foreign=False)
    parts = {row.canonical: (row, f"[{row.foreign_block[0]}/{row.foreign_block[1]}]") for row in rows}
    return {name: f"{row.foreign}{part if row.foreign_block[1] > 1 else ''}" for name, (row, part) in parts.items()}


def cast(arrays: Mapping[str, LazyArray], dtype: str | None) -> LazyArrays:
    """The arrays in a dtype of the suite; None: as they are."""
    return cast_floats(arrays, None if dtype is None else np.dtype(dtype))


def _sharded(folder: Path, index: str, read: ReadPickled) -> LazyArrays:
    try:
        content = parse_json(_inside(folder, index).read_text(encoding="utf-8"))
        shards = content["weight_map"]
        names = [(str(name), PurePosixPath(shard)) for name, shard in shards.items()]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IsogradError(f"{folder / index} must hold a weight_map of file names by tensor: {error}") from error
    found: LazyArrays = {}
    for shard in dict.fromkeys(shard for _, shard in names):
        path = _inside(folder, str(shard))
        if not path.is_file():
            raise IsogradError(f"{folder} has no {str(shard)!r}, which {index} names: the download is not complete")
        opened = read(path)
        twice = sorted(found.keys() & opened.keys())
        if twice:
            raise IsogradError(f"{path} holds {', '.join(twice)}, as another shard does: expected each tensor once")
        found |= opened
    missing = [name for name, _ in names if name not in found]
    if missing:
        raise IsogradError(f"{folder}: the shards do not hold {', '.join(missing)}, which {index} names")
    return found


def _inside(folder: Path, name: str) -> Path:
    """The path of a member; raises IsogradError for one that is, or that a link leads, outside of the folder."""
    path = folder / name
    if Path(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise IsogradError(f"{folder}: {name!r} is not a file of the folder: expected a plain file name")
    try:
        target = path.resolve()  # whichever part of the path is a link
        path.is_file()  # which raises for names that no file can have
    except (ValueError, RuntimeError, OSError) as error:
        raise IsogradError(f"{folder}: {name!r} is not a file of the folder: {error}") from error
    if not target.is_relative_to(_allowed(folder)):
        raise IsogradError(f"{path} is a link to {target}, outside of the folder: copy the file there")
    return path


def _allowed(folder: Path) -> Path:
    """Where links may lead: into the folder, or into the cache of the hub that holds a snapshot's files."""
    resolved = folder.resolve()
    is_snapshot = resolved.parent.name == "snapshots" and resolved.parent.parent.name.startswith("models--")
    return resolved.parent.parent if is_snapshot else resolved


def _numbered(rows: Any, arguments: Mapping[str, Any]) -> list[str]:
    """The canonical names of as many layers as the arguments say."""
    counts = {"text": "text_num_layers", "vision": "vision_num_layers"}
    return [
        row.canonical.format(layer)
        for row in rows
        for layer in range(arguments.get(counts.get(row.canonical.split(".")[0], "num_layers"), 1))
    ]


def _check_depth(folder: Path, arguments: Mapping[str, Any], arrays: LazyArrays) -> None:
    """Raise before names are written out for more layers than there can be."""
    depths = {name: value for name, value in arguments.items() if name.endswith("num_layers") and value > len(arrays)}
    if depths:
        raise IsogradError(f"{folder}: {CONFIG} says {depths}, but there are only {len(arrays)} tensors")


def _check_floats(folder: Path, arrays: LazyArrays) -> None:
    others = [f"{name} ({array.dtype})" for name, array in arrays.items() if array.dtype not in FLOATS]
    if others:
        raise IsogradError(f"{folder}: weights are floats, got {', '.join(others)}")


def _tidied(family: Family, arrays: LazyArrays, expected: set[str]) -> tuple[LazyArrays, list[str]]:
    """The same for the paths of a tree, below "params" or not."""
    dotted = {name.removeprefix("params/").replace("/", "."): array for name, array in arrays.items()}
    tidied, left = family.tidied(dotted, {name.replace("/", ".") for name in expected})
    return {name.replace(".", "/"): array for name, array in tidied.items()}, left


def _check_tied(folder: Path, arrays: LazyArrays, tidied: LazyArrays, tied: Mapping[str, str]) -> None:
    for name, other in tied.items():
        if name in arrays and name not in tidied and other in tidied:
            ours, theirs = arrays[name].read(), tidied[other].read()
            if ours.shape != theirs.shape or ours.tobytes() != theirs.tobytes():
                raise IsogradError(f"{folder}: {name} must repeat {other}, to which it is tied, but differs from it")
