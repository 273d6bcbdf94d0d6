"""A training step of each experiment with one backend against the other: examples a second, and the time to compile."""

from collections.abc import Iterator

from experiments.bench.options import Options
from experiments.bench.timing import Row, in_turn, rows_of
from experiments.bench.workload import BareStep, blocks_of, experiment_for, has_random_data, random_data
from experiments.catalogue import EXPERIMENTS
from experiments.training.launch import backend_for
from shared.backend import PACKAGES

BASE = "torch"
GOAL = 1.15  # for the slower of the two by the faster


def bench_steps(options: Options) -> Iterator[Row]:
    """One row per experiment and backend, as they are measured; ratios are relative to PyTorch."""
    for name in options.experiments or reviews(options.device):
        yield from _rows(name, options)


def reviews(device: str) -> list[str]:
    """The review experiments of a size for the device whose model is not that of a checkpoint."""
    small = device == "cpu"
    named = [name for name in EXPERIMENTS if name.startswith("reviews-") and name.endswith("-small") == small]
    return [name for name in named if has_random_data(EXPERIMENTS[name])]


def _rows(name: str, options: Options) -> list[Row]:
    experiment = experiment_for(name, options)
    data = random_data(experiment)
    backends = {backend: backend_for(experiment, backend, options.dtype, options.device) for backend in PACKAGES}
    steps = {backend: BareStep(made, data) for backend, made in backends.items()}
    return [
        {
            "case": ", ".join(filter(None, (experiment.name, options.dtype, options.implementation))),
            **row,
            "examples_per_second": 1e3 * experiment.batch_size / row["milliseconds"],
            "compile_seconds": backends[row["side"]].compile_seconds,
            **({} if row["side"] == BASE else {"goal": GOAL}),
        }
        for row in rows_of(in_turn(blocks_of(steps), options.rounds), BASE)
    ]
