"""Benchmark results: a JSON document that records what they were measured on, and a table."""

import os
import platform
from collections.abc import Callable
from typing import Any

from experiments.bench.options import Options
from experiments.bench.timing import Row
from experiments.bench.workload import experiment_for
from experiments.training.launch import backend_for
from shared.backend import PACKAGES

ENVIRONMENT = ("OMP_NUM_THREADS", "XLA_FLAGS")  # they affect times; the thread count is torch's: JAX uses all cores
WIDTH = 140  # of the table, with or without a terminal
COLUMNS: dict[str, Callable[[Row], str]] = {
    "case": lambda row: row["case"],
    "backend": lambda row: row.get("backend", ""),
    "side": lambda row: row["side"],
    "ms": lambda row: f"{row['milliseconds']:.3f}",
    "ratio": lambda row: f"{row['ratio']:.3f}",
    "from - to": lambda row: f"{row['lowest_ratio']:.3f} - {row['highest_ratio']:.3f}",
    "CPU ms": lambda row: f"{row['cpu_milliseconds']:.3f}",
    "CPU ratio": lambda row: f"{row['cpu_ratio']:.3f}",
    "goal": lambda row: f"{row['goal']}" if "goal" in row else "",
    "extra MB": lambda row: f"{row['extra_megabytes']:,.0f}" if "extra_megabytes" in row else "",
    "goal MB": lambda row: f"{row['goal_megabytes']:,.0f}" if "goal_megabytes" in row else "",
    "examples/s": lambda row: f"{row['examples_per_second']:,.0f}" if "examples_per_second" in row else "",
    "tokens/s": lambda row: f"{row['tokens_per_second']:,.0f}" if "tokens_per_second" in row else "",
    "error": lambda row: f"{row['error']:.1e}" if "error" in row else "",
    "of gradient": lambda row: f"{row['gradient_error']:.1e}" if "gradient_error" in row else "",
    "compiled in s": lambda row: f"{row['compile_seconds']:.1f}" if "compile_seconds" in row else "",
}


def document(options: Options, command: str) -> dict[str, Any]:
    """What a measurement began with; rows by benchmark are still to come, and "finished" tells that all are there.

    Milliseconds are medians over the rounds, ratios are medians of those within a round.
    """
    smallest = experiment_for("reviews-1-small", options)
    return {
        "command": command,
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            **{name: os.environ.get(name) for name in ENVIRONMENT},
        },
        "backends": {name: backend_for(smallest, name, options.dtype, options.device).describe() for name in PACKAGES},
        "rounds": options.rounds,
        "finished": False,
        "benchmarks": {},
    }


def print_table(rows: list[Row]) -> None:
    """Print one line per side; columns that are empty in every row are omitted."""
    from rich.console import Console
    from rich.table import Table

    cells = {title: [cell(row) for row in rows] for title, cell in COLUMNS.items()}
    filled = {title: column for title, column in cells.items() if any(column)}
    table = Table(*filled, box=None, pad_edge=False)
    for line in zip(*filled.values(), strict=True):
        table.add_row(*line)
    Console(width=WIDTH).print(table)
