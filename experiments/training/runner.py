"""The loop of a run: data order, schedule, evaluation, logging and checkpoints; a backend does the rest."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from experiments.progress.display import Progress, Record
from experiments.training.checkpoints import Checkpoints
from experiments.training.evaluation import evaluate
from experiments.training.interrupt import Interrupted, Request, on_interrupt
from experiments.training.plan import rate_by_step, steps_of_an_epoch, total_steps, training_batches
from experiments.training.preparation import Prepared
from shared.backend import Backend, Batch, Metrics, State
from shared.data import prefetch
from shared.errors import IsogradError
from shared.metrics_log import MetricsLog

LOG_EVERY = 10  # steps whose metrics are fetched from the device together
LOG_SECONDS = 5.0  # or as many as fit in here: the device must not be ahead by more than the user can wait for
MUST_BE_FINITE = ("loss", "gradient_norm")


class Runner:
    """One run, from the step of `state` to its last; every figure that is logged was fetched and checked first."""

    def __init__(
        self, backend: Backend, prepared: Prepared, folder: Path, log: MetricsLog, progress: Progress, spent: Record
    ) -> None:
        self.backend, self.prepared, self.experiment = backend, prepared, prepared.experiment
        self.folder, self.log, self.progress = folder, log, progress
        self.checkpoints = Checkpoints(folder, backend.state_to_arrays, log.sync)
        self.seconds, self.compiled_before = spent.get("seconds", 0.0), spent.get("compile_seconds", 0.0)
        self.waiting: list[tuple[Record, Metrics]] = []  # metrics that are still on the device
        self.unread = ""  # why records are no longer shown
        self.together = 1  # how many may wait there; the first step shows how long one takes
        self.steps_of_an_epoch, self.total = steps_of_an_epoch(prepared), total_steps(prepared)
        self.rate = rate_by_step(prepared)

    def run(self, state: State, step: int, stop_at: int | None = None) -> State:
        """Train from `step` to the end, or to `stop_at`, where the run is saved as Ctrl-C saves it.

        Raises IsogradError when a loss is not finite, Interrupted after Ctrl-C or SIGTERM.
        """
        self.state, self.step = state, step
        self.stop_at = self.total if stop_at is None else min(stop_at, self.total)
        with on_interrupt(self.progress.note) as request, self.checkpoints:
            self.progress.start(f"{self.experiment.title}, {self.backend.name}", step, self.total)
            self._restart_clock()
            order = training_batches(self.prepared, step, self.stop_at)
            ahead = prefetch(self._on_device(batch) for batch in order)
            try:
                for batch, examples in ahead:
                    self._train_on(batch, examples)
                    self._at_step(request)
            finally:
                ahead.close()  # type: ignore[attr-defined]
        if self.step < self.total:
            self.progress.note(f"{self._stopped()}, as asked: {self._go_on()}")
        return self.state

    def _stopped(self) -> str:
        return f"stopped at step {self.step} of {self.total}"

    def _go_on(self) -> str:
        return f"go on with `isograd train --resume {self.folder}`"

    def _on_device(self, batch: Batch) -> tuple[Batch, int]:
        """The batch where the step wants it, and its real rows; runs in the prefetching thread."""
        return self.backend.to_device(batch), int(np.count_nonzero(batch["weights"]))

    def _train_on(self, batch: Batch, examples: int) -> None:
        rate = self.rate(self.step)
        self.state, metrics = self.backend.train_step(self.state, batch, rate)
        epoch = 1 + self.step // self.steps_of_an_epoch
        self.step += 1
        record = {"step": self.step, "epoch": epoch, "kind": "train", "learning_rate": rate, "examples": examples}
        self.waiting.append((record, metrics))
        self.progress.advance(self.step)

    def _at_step(self, request: Request) -> None:
        self.checkpoints.check()
        at_end = self.step >= self.total
        evaluates = at_end or self.step % self.experiment.evaluate_every == 0
        if len(self.waiting) > self.together:
            self._write_waiting(leave=1)  # the newest: the device must have work while its predecessors are written
        stops = request.made or bool(self.unread)  # read once, after the wait: a later request is for the next step
        saves = self.step % self.experiment.checkpoint_every == 0 or stops or self.step == self.stop_at
        if evaluates or saves:
            self._write_waiting()
        if evaluates:
            self._evaluate()
        if saves:
            self.checkpoints.save(self.backend.snapshot(self.state), self._state_of_run())
        if evaluates or saves:
            self._restart_clock()
        if stops and not at_end:
            self.checkpoints.wait()
            if request.made:
                raise Interrupted(f"{self._stopped()}, which is saved: {self._go_on()}", request.code)
            raise IsogradError(f"{self._stopped()}, which is saved: {self.unread}; {self._go_on()}")

    def _write_waiting(self, leave: int = 0) -> None:
        ready = len(self.waiting) - leave
        fetched = [(record, self.backend.fetch(metrics)) for record, metrics in self.waiting[:ready]]
        if not fetched:
            return
        elapsed = time.perf_counter() - self._started - (self.backend.compile_seconds - self._compiled)
        self.seconds += elapsed
        self.together = max(1, min(LOG_EVERY, int(LOG_SECONDS * len(fetched) / max(elapsed, 1e-9))))
        examples = sum(record["examples"] for record, _ in fetched)
        self.waiting = self.waiting[ready:]
        records = [record | {name: value.item() for name, value in metrics.items()} for record, metrics in fetched]
        records[-1] |= {"examples_per_second": examples / max(elapsed, 1e-9), **self._totals()}
        for record in records:
            self._write(record)
            self._check_finite(record)
        self._restart_clock()

    def _evaluate(self) -> None:
        metrics = evaluate(self.backend, self.state, self.prepared.examples["validation"], self.experiment)
        epoch = 1 + (self.step - 1) // self.steps_of_an_epoch
        record = {"step": self.step, "epoch": epoch, "kind": "validation", **metrics, **self._totals()}
        self._write(record)
        self._check_finite(record)
        if self.checkpoints.is_best(record):
            state = self._state_of_run() | {"validation": _numbers(metrics)}
            self.checkpoints.save_best(self.backend.snapshot(self.state), state)

    def _write(self, record: Record) -> None:
        self.log.write(record)
        try:
            self.progress.record(record)
        except OSError as error:  # its reader has gone, or a disk is full: nothing that was done is lost by it
            self.progress = Progress()
            self.unread = f"its output can't be written ({error.strerror or error})"

    def _totals(self) -> Record:
        compiled = self.compiled_before + self.backend.compile_seconds
        return {"seconds": self.seconds, "compile_seconds": compiled, **self.backend.memory()}

    def _restart_clock(self) -> None:
        self._started, self._compiled = time.perf_counter(), self.backend.compile_seconds

    def _check_finite(self, record: Record) -> None:
        for name in MUST_BE_FINITE:
            if not np.isfinite(record.get(name, 0.0)):
                what = name.replace("_", " ") if record["kind"] == "train" else f"{record['kind']} {name}"
                raise self.checkpoints.diverged(f"the {what} is {record[name]} at step {record['step']}")

    def _state_of_run(self) -> dict[str, Any]:
        epoch, batch = divmod(self.step, self.steps_of_an_epoch)
        return {
            "step": self.step,
            "position": {"epoch": epoch, "batch": batch},
            "seed": self.experiment.seed,
            "schedule": asdict(self.experiment.schedule) | {"learning_rate": self.experiment.optimizer.learning_rate},
            "backend": self.backend.name,
            "experiment": self.experiment.name,
            "twin": self.experiment.model.twin,
            "arguments": self.experiment.model.arguments,
        }


def _numbers(metrics: Record) -> Record:
    """What equal runs have in common, so no times; JSON has no NaN: a rate over no example at all is left out."""
    return {name: value for name, value in metrics.items() if np.isfinite(value) and name != "evaluation_seconds"}
