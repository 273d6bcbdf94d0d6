"""`isograd bench`: side-by-side timings as ratios."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.bench import BENCHMARKS, FIGURES, ONLY_BY_NAME, Options
from experiments.bench.result import document, print_table
from experiments.catalogue import EXPERIMENTS, find_experiment
from experiments.commands.options import command_line, part_lists
from experiments.progress.display import counting, print_json
from experiments.training.folder import check_files, check_folder
from shared.backend import PACKAGES, find_backend
from shared.checkpoint import write_json
from shared.configs.experiment import IMPLEMENTATIONS
from shared.configs.validation import check_choice
from shared.errors import IsogradError

FILE = "bench.json"


def bench(
    names: tuple[str, ...] = (),
    /,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    experiment: tuple[str, ...] = (),
    batch_size: int | None = None,
    implementation: str | None = None,
    rounds: int = 5,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Time steps, the runner, dropout, a GRU, loading and generation against their baselines, in turn.

    Args:
        names: steps (JAX's against PyTorch's), runner (against the bare compiled step), dropout (both kinds of masks
            and none), gru (a layer against nn.GRU and nnx.RNN), loading (from_pretrained against safetensors),
            generation (tokens against transformers'); if omitted, all of these. By name alone: compiling (JAX's time
            for every experiment, cold and from its cache), streaming (2 GB ported there and back, with the memory that
            it takes), gru-parts (a layer's kernels on a GPU, with parts left out), gru-cuts (the same, cut otherwise,
            beside the cut that is taken), two-layers (a step of a classifier with two GRU layers both ways, against
            those of cuDNN and XLA).
        device: cpu or cuda.
        dtype: float32, float64 or bfloat16.
        experiment: Experiments whose steps are timed; if omitted, small ones on a CPU, full ones on a GPU; names of
            benchmarks may follow.
        batch_size: Examples per batch.
        implementation: Of GRU layers in the experiments: fused, library (cuDNN; XLA's loop) or reference; if omitted,
            their own.
        rounds: Timed blocks per side; the median counts.
        out: Folder for bench.json.
        json: Print JSON.
    """
    if experiment:
        experiment, more = part_lists("--experiment", experiment, EXPERIMENTS.__contains__, BENCHMARKS.__contains__)
        names += more
    given = {name: value for name, value in locals().items() if name != "more"}
    typed = command_line("bench", bench, given)
    _check_sizes(batch_size, rounds)
    chosen = names or tuple(name for name in BENCHMARKS if name not in ONLY_BY_NAME)
    for name in chosen:
        check_choice("benchmark", name, BENCHMARKS)
    for name in experiment:
        find_experiment(name)
    if implementation is not None:
        check_choice("implementation", implementation, IMPLEMENTATIONS)
    if out is not None:
        check_folder(out)
        figures = [] if (out / FILE).exists() else [f"{name}.svg" for name in chosen if name in FIGURES]
        check_files(out, (FILE, *figures))
    with counting("timing", quiet=json or not sys.stderr.isatty()) as progress:
        _load_frameworks(device, dtype)
        options = Options(device, dtype, experiment, batch_size, rounds, implementation)
        found = document(options, typed)
        for done, name in enumerate(chosen):
            tell = _teller(progress, done, len(chosen), name, json)
            tell("begins")
            rows = found["benchmarks"][name] = []
            for row in BENCHMARKS[name](replace(options, tell=tell)):
                rows.append(row)
                _keep(found, out)
    found["finished"] = True
    _keep(found, out)
    _tell(found, out, json=json)


def _check_sizes(batch_size: int | None, rounds: int) -> None:
    sizes = {"--batch-size": batch_size, "--rounds": rounds}
    problems = [
        f"{name}: expected at least 1, got {size}" for name, size in sizes.items() if size is not None and size < 1
    ]
    if problems:
        raise IsogradError("; ".join(problems))


def _load_frameworks(device: str, dtype: str) -> None:
    """Load both, torch first, or raise IsogradError; JAX must not reserve three quarters of a GPU they share."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    for name in PACKAGES:
        find_backend(name, dtype=dtype, device=device)


def _teller(progress: Callable[[int, int, str], None], done: int, total: int, name: str, quiet: bool) -> Any:
    """What hears how far a benchmark is: a bar in a terminal, else a line at once, with the seconds since it began."""
    started = time.perf_counter()

    def tell(what: str) -> None:
        progress(done, total, f"{name}, {what}")
        if not quiet and not sys.stderr.isatty():
            print(f"{name}, {time.perf_counter() - started:.1f} s: {what}", file=sys.stderr, flush=True)

    return tell


def _keep(found: dict[str, Any], out: Path | None) -> None:
    """Write all that was measured so far, so that a benchmark that is stopped leaves its rows."""
    if out is not None:
        write_json(out / FILE, found)


def _draw(found: dict[str, Any], out: Path) -> list[Path]:
    """The figures that were written."""
    drawn = [FIGURES[name](rows) for name, rows in found["benchmarks"].items() if name in FIGURES]
    figures = [figure for figure in drawn if figure is not None]
    for figure in figures:
        figure.write(out, with_png=False)
    return [out / f"{figure.name}.svg" for figure in figures]


def _tell(found: dict[str, Any], out: Path | None, *, json: bool) -> None:
    written = [] if out is None else [out / FILE, *_draw(found, out)]
    if json:
        print_json(found)
        return
    for name, rows in found["benchmarks"].items():
        print(f"{name}:")
        print_table(rows)
    if written:
        print(f"wrote {', '.join(map(str, written))}")
