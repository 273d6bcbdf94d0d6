"""A training step of a classifier with two bidirectional GRU layers: our layers against those of the framework."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from experiments.bench.options import Options
from experiments.bench.timing import Row, in_turn, rows_of
from experiments.bench.workload import BareStep, blocks_of, experiment_for, random_data
from experiments.training.launch import backend_for
from shared.backend import PACKAGES
from shared.configs.experiment import Experiment

EXPERIMENT = {"cpu": "reviews-1-small", "cuda": "reviews-1"}  # whose layers become two, of so many units
UNITS = {"cpu": 8, "cuda": 512}
SIDES = ("fused", "library")
GOAL = 0.5


def bench_two_layers(options: Options) -> Iterator[Row]:
    """Two rows per backend; ratios are relative to `library`, cuDNN's layers and loops of XLA on a GPU."""
    experiment = _with_two_layers(options)
    sizes = f"B{experiment.batch_size} T{experiment.length} H{UNITS[options.device]}"
    for backend in PACKAGES:
        steps = {side: _step(experiment, backend, side, options) for side in SIDES}
        for row in rows_of(in_turn(blocks_of(steps), options.rounds), "library"):
            goal = {"goal": GOAL} if options.device == "cuda" and row["side"] == "fused" else {}
            yield {"case": f"{sizes}, {options.dtype}", "backend": backend, **row, **goal}


def _with_two_layers(options: Options) -> Experiment:
    experiment = experiment_for(EXPERIMENT[options.device], options)
    units = dict.fromkeys(("embedding_size", "hidden_size"), UNITS[options.device])
    return _changed(experiment, {**units, "num_layers": 2})


def _step(experiment: Experiment, backend: str, implementation: str, options: Options) -> BareStep:
    made = _changed(experiment, {"implementation": implementation})
    return BareStep(backend_for(made, backend, options.dtype, options.device), random_data(made))


def _changed(experiment: Experiment, arguments: dict[str, Any]) -> Experiment:
    return replace(experiment, model=replace(experiment.model, arguments={**experiment.model.arguments, **arguments}))
