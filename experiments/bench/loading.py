"""Loading a folder of Hugging Face: `from_pretrained` against safetensors' own load of the same file."""

import importlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from experiments.bench.memory import extra_memory, release
from experiments.bench.options import Options
from experiments.bench.timing import Cost, Row, in_turn, rows_of, timed
from experiments.bench.workload import write_model
from shared.backend import PACKAGES
from shared.configs.bert import BertConfig
from shared.pretrained.folder import WEIGHTS

LAYERS = {"cpu": 6, "cuda": 12}  # of BERT's width: 267 and 438 MB in float32
GOALS = {"torch": 1.2, "jax": 2.0}  # of the ratio; JAX's kernels are transposed
OWN, OURS = "safetensors", "from_pretrained"
LOADERS = {"torch": "safetensors.torch", "jax": "safetensors.flax"}


def bench_loading(options: Options) -> list[Row]:
    """One row per side and backend, for a BERT with random weights, whose file is in the system's cache.

    safetensors only maps the file for PyTorch: its side copies the tensors, so that every byte is read. Each load
    begins without memory of those before it, as the first of a process does.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bert"
        write_model(folder, "BertModel", vars(BertConfig(num_layers=LAYERS[options.device])), options.dtype)
        size = (folder / WEIGHTS).stat().st_size
        return [row for backend in PACKAGES for row in _rows(backend, folder, size, options)]


def _rows(backend: str, folder: Path, size: int, options: Options) -> list[Row]:
    package: Any = importlib.import_module(f"{backend}_impl")
    load = importlib.import_module(LOADERS[backend]).load_file
    sides: dict[str, Callable[[], object]] = {
        OWN: lambda: _ready(backend, load(folder / WEIGHTS)),
        OURS: lambda: package.from_pretrained(folder, dtype=None),
    }
    for side in sides.values():  # what is imported and compiled once
        side()
    costs = in_turn({name: partial(_timed, side) for name, side in sides.items()}, options.rounds)
    extra = extra_memory("load", backend, str(folder))
    ours = {"goal": GOALS[backend], **({} if extra is None else {"extra_megabytes": extra / 1e6})}
    labels = {"case": f"BERT, {size / 1e6:.0f} MB", "backend": backend}
    return [labels | row | (ours if row["side"] == OURS else {}) for row in rows_of(costs, OWN)]


def _timed(side: Callable[[], object]) -> Cost:
    release()
    return timed(side, 1)


def _ready(backend: str, arrays: Any) -> object:
    """Wait for arrays that JAX makes in the background; read those that safetensors only maps for PyTorch."""
    if backend == "jax":
        return importlib.import_module("jax").block_until_ready(arrays)
    return [tensor.clone() for tensor in arrays.values()]
