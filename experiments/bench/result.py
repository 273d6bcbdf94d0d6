"""Benchmark results: a JSON document that records what they were measured on, and a table."""

import os
import platform
from typing import Any

from experiments.bench.options import Options
from experiments.bench.timing import Row
from experiments.bench.workload import experiment_for
from experiments.training.launch import backend_for
from shared.backend import PACKAGES
from shared.process import usable_cores

ENVIRONMENT = ("OMP_NUM_THREADS", "XLA_FLAGS")  # they affect times; the thread count is torch's: JAX uses all cores
WIDTH = 140  # of the table, with or without a terminal
COLUMNS = {  # empty where a row lacks what it needs
    "case": "{case}",
    "backend": "{backend}",
    "side": "{side}",
    "ms": "{milliseconds:.3f}",
    "ratio": "{ratio:.3f}",
    "from - to": "{lowest_ratio:.3f} - {highest_ratio:.3f}",
    "CPU ms": "{cpu_milliseconds:.3f}",
    "CPU ratio": "{cpu_ratio:.3f}",
    "goal": "{goal}",
    "extra MB": "{extra_megabytes:,.0f}",
    "goal MB": "{goal_megabytes:,.0f}",
    "examples/s": "{examples_per_second:,.0f}",
    "tokens/s": "{tokens_per_second:,.0f}",
    "error": "{error:.1e}",
    "of gradient": "{gradient_error:.1e}",
    "compiled in s": "{compile_seconds:.1f}",
    "goal in s": "{goal_seconds:g}",
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
            "cores": usable_cores(),
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

    cells = {title: [_cell(text, row) for row in rows] for title, text in COLUMNS.items()}
    filled = {title: column for title, column in cells.items() if any(column)}
    table = Table(*filled, box=None, pad_edge=False)
    for line in zip(*filled.values(), strict=True):
        table.add_row(*line)
    Console(width=WIDTH).print(table)


def _cell(text: str, row: Row) -> str:
    try:
        return text.format_map(row)
    except KeyError:
        return ""
