"""The overhead of the runner: a full training step against the bare compiled step.

Prefetching, logging with TensorBoard, and a checkpoint written in the background every `checkpoint_every` steps are
included; validation is not.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from experiments.bench.options import Options
from experiments.bench.timing import Cost, Row, cost, in_turn, now, rows_of
from experiments.bench.workload import BareStep, experiment_for, random_data
from experiments.progress.display import Progress
from experiments.training.launch import backend_for
from experiments.training.pending import LOG_EVERY
from experiments.training.preparation import Prepared
from experiments.training.runner import Runner
from shared.backend import PACKAGES, Backend
from shared.metrics_log import MetricsLog

EXPERIMENTS = {"cpu": ("reviews-5-small",), "cuda": ("reviews-5",)}
GOAL = 1.03  # for the ratio of the runner's step to the bare one
BARE, RUNNER = "bare step", "runner"


def bench_runner(options: Options) -> list[Row]:
    """One row per side and backend; the runner's ratio is its overhead."""
    names = options.experiments or EXPERIMENTS[options.device]
    return [row for name in names for backend in PACKAGES for row in _rows(name, backend, options)]


def _rows(name: str, backend_name: str, options: Options) -> list[Row]:
    prepared = _without_validation(random_data(experiment_for(name, options)))
    backend = backend_for(prepared.experiment, backend_name, options.dtype, options.device)
    bare, runner = BareStep(backend, prepared), RunnerSteps(backend, prepared)
    bare.run(2)
    compile_seconds = backend.compile_seconds
    steps = prepared.experiment.checkpoint_every // 2
    costs = in_turn({BARE: lambda: bare.block(steps), RUNNER: runner.block}, options.rounds)
    labels = {"case": prepared.experiment.name, "backend": backend_name}
    extras = {"goal": GOAL, "compile_seconds": compile_seconds}
    return [labels | row | (extras if row["side"] == RUNNER else {}) for row in rows_of(costs, BARE)]


def _without_validation(prepared: Prepared) -> Prepared:
    """The same run with its end and its validations beyond the timed steps."""
    far = 3 * prepared.experiment.checkpoint_every
    return replace(prepared, experiment=replace(prepared.experiment, steps=far, evaluate_every=far))


class RunnerSteps:
    """Successive runs of the runner on one state, each in its own folder."""

    def __init__(self, backend: Backend, prepared: Prepared) -> None:
        self.backend, self.prepared = backend, prepared
        self.state = backend.init_state()

    def block(self) -> Cost:
        """The cost of a step, from right after one checkpoint to right after the next; both wait for the device.

        A few warm-up steps come first; the final checkpoint, which overlaps with no step, comes last.
        """
        every = self.prepared.experiment.checkpoint_every
        stretch = _Stretch(every + 1, 2 * every + 1)
        with tempfile.TemporaryDirectory() as folder, MetricsLog(folder) as log:
            runner = Runner(self.backend, self.prepared, Path(folder), log, stretch)
            self.state = runner.run(self.state, max(0, every - LOG_EVERY), stop_at=stretch.last)
        began, ended = stretch.moments
        return cost(began, ended, every)


class _Stretch(Progress):
    """Records when the runner hands the first and the last timed step to the device."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.moments: list[Cost] = []

    def advance(self, step: int) -> None:
        if step in (self.first, self.last):
            self.moments.append(now())
