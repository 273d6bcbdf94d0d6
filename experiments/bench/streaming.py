"""A large checkpoint: `isograd port` of 2 GB between PyTorch's and Flax's layouts, and the memory that it takes."""

import filecmp
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from experiments.bench.memory import extra_memory
from experiments.bench.options import Options
from experiments.bench.timing import Row, in_turn, rows_of, timed
from experiments.bench.workload import shapes_of
from experiments.porting.port import port
from shared.configs.bert import BertConfig
from shared.errors import IsogradError
from shared.lazy.arrays import LazyArray, LazyArrays, cast_floats
from shared.pretrained.folder import WEIGHTS, write_folder

LAYERS = 67  # of BERT's width: 2.0 GB in float32
COPY, THERE, BACK = "copy of the file", "port to linen", "port to hf"
GOAL = 600.0  # MB beyond the process before


def bench_streaming(options: Options) -> list[Row]:
    """Rows of a copy of the file and of ports in both directions; every array is read, turned and written once."""
    with tempfile.TemporaryDirectory() as temporary:
        hf, linen, again = (Path(temporary) / name for name in ("hf", "linen", "again"))
        size = write_large(hf, LAYERS, options.dtype)
        sides: dict[str, Callable[[], object]] = {
            COPY: lambda: shutil.copyfile(hf / WEIGHTS, Path(temporary) / "copy"),
            THERE: lambda: port(hf, linen, to="linen"),
            BACK: lambda: port(linen, again, to="hf"),
        }
        costs = in_turn({name: partial(timed, side, 1) for name, side in sides.items()}, 1)
        extra = {
            THERE: extra_memory("port", str(hf), str(Path(temporary) / "there"), "linen"),
            BACK: extra_memory("port", str(linen), str(Path(temporary) / "back"), "hf"),
        }
        if not filecmp.cmp(hf / WEIGHTS, again / WEIGHTS, shallow=False):
            raise IsogradError("the file that came back is not the one that was ported")
    labels = {"case": f"BERT, {size / 1e6:,.0f} MB"}
    return [labels | row | _memory(extra.get(row["side"])) for row in rows_of(costs, COPY)]


def write_large(folder: Path, layers: int, dtype: str) -> int:
    """A BERT whose arrays repeat one block of numbers, written one at a time; the size of the file in bytes."""
    arguments = vars(BertConfig(num_layers=layers))
    block = np.random.default_rng(0).standard_normal(2**20, dtype=np.float32)
    shapes = shapes_of("BertModel", arguments)
    arrays: LazyArrays = {
        name: LazyArray(shape, block.dtype, partial(np.resize, block, shape)) for name, shape in shapes.items()
    }
    write_folder(folder, "BertModel", arguments, cast_floats(arrays, np.dtype(dtype)))
    return (folder / WEIGHTS).stat().st_size


def _memory(extra: int | None) -> Row:
    return {} if extra is None else {"extra_megabytes": extra / 1e6, "goal_megabytes": GOAL}
