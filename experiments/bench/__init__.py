"""Every benchmark by name; each returns rows that compare sides timed in turn."""

from collections.abc import Callable

from experiments.bench.dropout import bench_dropout
from experiments.bench.gru import bench_gru
from experiments.bench.loading import bench_loading
from experiments.bench.options import Options
from experiments.bench.runner import bench_runner
from experiments.bench.steps import bench_steps
from experiments.bench.streaming import bench_streaming
from experiments.bench.timing import Row

BENCHMARKS: dict[str, Callable[[Options], list[Row]]] = {
    "steps": bench_steps,
    "runner": bench_runner,
    "dropout": bench_dropout,
    "gru": bench_gru,
    "loading": bench_loading,
    "streaming": bench_streaming,
}
ONLY_BY_NAME = ("streaming",)  # 12 GB of disk

__all__ = ["BENCHMARKS", "ONLY_BY_NAME", "Options"]
