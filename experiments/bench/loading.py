"""Loading a folder of Hugging Face: `from_pretrained` beside safetensors' own load of its file and transformers."""

import importlib
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from experiments.bench.memory import extra_memory, release
from experiments.bench.options import Options
from experiments.bench.timing import Cost, Row, in_turn, rows_of, timed
from experiments.bench.workload import write_model
from shared.configs.bert import BertConfig
from shared.configs.gpt import PRESETS
from shared.pretrained.folder import WEIGHTS

LAYERS = {"cpu": 6, "cuda": 12}
CASES: dict[str, tuple[str, Any]] = {"BERT": ("BertModel", BertConfig()), "GPT-2": ("GPT", PRESETS["gpt2"])}
GOALS = {"torch": 1.2, "jax": 2.0}  # of the ratio; JAX's kernels are transposed
OWN, OURS, THEIRS = "safetensors", "from_pretrained", "transformers"
LOADERS = {"torch": "safetensors.torch", "jax": "safetensors.flax"}


def bench_loading(options: Options) -> list[Row]:
    """One row per model, side, backend and state of readiness; weights are random, files are in the system's cache.

    Files of GPT-2 hold kernels as JAX does, so that PyTorch's are turned, and those of BERT the other way round.
    PyTorch's sides map the file: they are timed until the module is there ("mapped"), and until all of its numbers have
    been added up ("read"), which the goal is for. Each load begins without memory of those before it, as the first of a
    process does.
    """
    with tempfile.TemporaryDirectory() as temporary:
        for name, (twin, config) in CASES.items():
            sizes = asdict(replace(config, num_layers=LAYERS[options.device]))
            write_model(Path(temporary) / name, twin, sizes, options.dtype)
        return [row for name in CASES for state in READY for row in _rows(state, Path(temporary) / name, options)]


def _rows(state: tuple[str, str], folder: Path, options: Options) -> list[Row]:
    backend, readiness = state
    size = (folder / WEIGHTS).stat().st_size
    load = importlib.import_module(LOADERS[backend]).load_file
    loads = {OWN: lambda: load(folder / WEIGHTS), **SIDES[backend](folder)}
    sides: dict[str, Callable[[], Cost]] = {name: partial(_timed, READY[state], side) for name, side in loads.items()}
    for side in sides.values():  # what is imported and compiled once
        side()
    rows = rows_of(in_turn(sides, options.rounds), OWN)
    labels = {"case": f"{folder.name}, {size / 1e6:.0f} MB, {readiness}", "backend": backend}
    judged = _judged(backend, folder) if readiness == "read" else {}
    return [labels | row | (judged if row["side"] == OURS else {}) for row in rows]


def _judged(backend: str, folder: Path) -> dict[str, float]:
    """The goal, and the memory that a process needs beyond its own, where the system tells."""
    extra = extra_memory("load", backend, str(folder))
    return {"goal": GOALS[backend], **({} if extra is None else {"extra_megabytes": extra / 1e6})}


def _timed(ready: Callable[[Iterable[Any]], object], load: Callable[[], Any]) -> Cost:
    """What is loaded is there to the end: giving it back is not part of loading."""
    release()
    kept = []

    def work() -> None:
        kept.append(load())
        ready(_tensors(kept[0]))

    return timed(work, 1)


def _tensors(loaded: Any) -> Iterable[Any]:
    """Of a state dict, or of a module of either framework."""
    if isinstance(loaded, dict):
        return loaded.values()
    if hasattr(loaded, "parameters"):
        return loaded.parameters()
    jax, nnx = importlib.import_module("jax"), importlib.import_module("flax.nnx")
    return jax.tree.leaves(nnx.state(loaded, nnx.Param))


def _of_torch(folder: Path) -> dict[str, Callable[[], Any]]:
    ours, theirs = importlib.import_module("torch_impl"), importlib.import_module("transformers")
    theirs.utils.logging.disable_progress_bar()
    return {
        OURS: partial(ours.from_pretrained, folder, dtype=None),
        THEIRS: partial(theirs.AutoModel.from_pretrained, folder),
    }


def _of_jax(folder: Path) -> dict[str, Callable[[], Any]]:
    return {OURS: partial(importlib.import_module("jax_impl").from_pretrained, folder, dtype=None)}


def _added_up(tensors: Iterable[Any]) -> object:
    return sum(float(tensor.detach().sum()) for tensor in tensors)


def _waited_for(arrays: Iterable[Any]) -> object:
    return importlib.import_module("jax").block_until_ready(list(arrays))


SIDES = {"torch": _of_torch, "jax": _of_jax}
READY: dict[tuple[str, str], Callable[[Iterable[Any]], object]] = {
    ("torch", "mapped"): list,
    ("torch", "read"): _added_up,
    ("jax", "read"): _waited_for,
}
