"""Every benchmark by name; each returns or yields rows that compare sides timed in turn, and may have a figure."""

from collections.abc import Callable, Iterable, Sequence

from experiments.bench.compiling import bench_compiling
from experiments.bench.dropout import bench_dropout
from experiments.bench.generation import bench_generation
from experiments.bench.gru import bench_gru
from experiments.bench.gru_cuts import bench_gru_cuts
from experiments.bench.gru_figure import gru_figure
from experiments.bench.gru_parts import bench_gru_parts
from experiments.bench.loading import bench_loading
from experiments.bench.options import Options
from experiments.bench.runner import bench_runner
from experiments.bench.steps import bench_steps
from experiments.bench.streaming import bench_streaming
from experiments.bench.timing import Row
from experiments.bench.two_layers import bench_two_layers
from experiments.reports.drawing import Drawn

BENCHMARKS: dict[str, Callable[[Options], Iterable[Row]]] = {
    "steps": bench_steps,
    "runner": bench_runner,
    "dropout": bench_dropout,
    "gru": bench_gru,
    "gru-parts": bench_gru_parts,
    "gru-cuts": bench_gru_cuts,
    "two-layers": bench_two_layers,
    "loading": bench_loading,
    "generation": bench_generation,
    "compiling": bench_compiling,
    "streaming": bench_streaming,
}
ONLY_BY_NAME = ("gru-parts", "gru-cuts", "two-layers", "compiling", "streaming")  # a GPU, twice; minutes; 12 GB of disk
FIGURES: dict[str, Callable[[Sequence[Row]], Drawn | None]] = {"gru": gru_figure}

__all__ = ["BENCHMARKS", "FIGURES", "ONLY_BY_NAME", "Options"]
