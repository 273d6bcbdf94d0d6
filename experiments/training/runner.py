"""The training loop: data order, schedule, evaluation, logging and checkpoints; a backend does the rest."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from experiments.progress.display import Progress, Record
from experiments.training.checkpoints import Checkpoints
from experiments.training.evaluation import evaluate
from experiments.training.interrupt import Interrupted, Request, on_interrupt
from experiments.training.patience import Patience
from experiments.training.pending import Pending
from experiments.training.plan import ahead, rate_by_step, steps_of_an_epoch, total_steps, training_batches
from experiments.training.preparation import Prepared
from experiments.training.run_log import SAMPLES
from experiments.training.same_settings import SETTINGS, settings_of
from experiments.training.sampling import samples
from shared.backend import Backend, Batch, State
from shared.data import prefetch
from shared.errors import IsogradError
from shared.metrics_log import MetricsLog

NARROW = ("bfloat16", "float16")
LARGEST_LOSS = 1e6  # no task's loss comes near it, unless its run diverges
MUST_BE_FINITE = ("loss", "gradient_norm")


class Runner:
    """One run, from the step of `state` to the last; every logged figure is fetched and checked.

    `history` holds the records of the steps already done, if a run is resumed.
    """

    def __init__(
        self,
        backend: Backend,
        prepared: Prepared,
        folder: Path,
        log: MetricsLog,
        progress: Progress,
        history: Sequence[Record] = (),
    ) -> None:
        self.backend, self.prepared, self.experiment, self.task = backend, prepared, prepared.experiment, prepared.task
        self.folder, self.log, self.progress = folder, log, progress
        advice = " or --dtype float32" if backend.describe().get("dtype") in NARROW else ""
        self.checkpoints = Checkpoints(folder, backend.state_to_arrays, self.task.figures, log.sync, advice)
        self.pending = Pending(backend, self.task.unit, _spent(history))
        self.patience = Patience(self.experiment.patience, self.task.figures, history)
        self.unread = ""  # why records are no longer shown
        self.steps_of_an_epoch, self.total = steps_of_an_epoch(prepared), total_steps(prepared)
        self.rate = rate_by_step(prepared)

    def run(self, state: State, step: int, stop_at: int | None = None) -> State:
        """Train from `step` to the end, or to `stop_at`, where the run is saved as on Ctrl-C.

        Raises IsogradError when a loss is not finite, Interrupted after Ctrl-C or SIGTERM.
        """
        self.state, self.step = state, step
        self.stop_at = self.total if stop_at is None else min(stop_at, self.total)
        with on_interrupt(self.progress.note) as request, self.checkpoints:
            title = f"{self.experiment.title}, {self.backend.name}"
            self.progress.start(title, step, self.total, self.task)
            self.backend.compile_ahead(state, *ahead(self.prepared, step, self.stop_at))
            self.pending.restart_clock()
            order = training_batches(self.prepared, step, self.stop_at)
            prefetched = prefetch(self._on_device(batch) for batch in order)
            try:
                for batch, units in prefetched:
                    self._train_on(batch, units)
                    self._at_step(request)
                    if self.patience.is_spent:
                        break
            finally:
                prefetched.close()  # type: ignore[attr-defined]
        if self.patience.is_spent:
            self.progress.note(f"stopped early at step {self.step} of {self.total}: {self.patience}")
        elif self.step < self.total:
            self.progress.note(f"{self._stopped()}, as requested: {self._go_on()}")
        return self.state

    def _stopped(self) -> str:
        return f"stopped at step {self.step} of {self.total}"

    def _go_on(self) -> str:
        return f"resume with `isograd train --resume {self.folder}`"

    def _on_device(self, batch: Batch) -> tuple[Batch, int]:
        """The batch on the device, and its number of real units; runs in the prefetching thread."""
        return self.backend.to_device(batch), int(np.count_nonzero(batch["weights"]))

    def _train_on(self, batch: Batch, units: int) -> None:
        rate = self.rate(self.step)
        self.state, metrics = self.backend.train_step(self.state, batch, rate)
        epoch = 1 + self.step // self.steps_of_an_epoch
        self.step += 1
        record = {"step": self.step, "epoch": epoch, "kind": "train", "learning_rate": rate, self.task.unit: units}
        self.pending.add(record, metrics)
        self.progress.advance(self.step)

    def _at_step(self, request: Request) -> None:
        self.checkpoints.check()
        at_end = self.step >= self.total
        evaluates = at_end or self.step % self.experiment.evaluate_every == 0
        if self.pending.is_full:
            self._write_pending(leave=1)  # the newest: the device needs work while earlier ones are written
        stops = request.made or bool(self.unread)  # read once, after the wait: a later request applies to the next step
        if evaluates:
            self._write_pending()
            self._evaluate()
        at_end = at_end or self.patience.is_spent
        saves = stops or at_end or self.step == self.stop_at or self.step % self.experiment.checkpoint_every == 0
        if saves:
            self._write_pending()
            self.checkpoints.save(self.backend.snapshot(self.state), self._state_of_run())
        if evaluates or saves:
            self.pending.restart_clock()
        if stops and not at_end:
            self.checkpoints.wait()
            if request.made:
                raise Interrupted(f"{self._stopped()} and saved: {self._go_on()}", request.code)
            raise IsogradError(f"{self._stopped()} and saved: {self.unread}; {self._go_on()}")

    def _write_pending(self, leave: int = 0) -> None:
        if records := self.pending.fetch(leave):
            for record in records:
                self._write(record)
                self._check_finite(record)
            self.pending.restart_clock()

    def _evaluate(self) -> None:
        metrics = evaluate(self.backend, self.state, self.prepared)
        epoch = 1 + (self.step - 1) // self.steps_of_an_epoch
        record = {"step": self.step, "epoch": epoch, "kind": "validation", **metrics, **self.pending.totals()}
        self._write(record)
        self._check_finite(record)
        if texts := samples(self.backend, self.state, self.prepared):
            self._write({"step": self.step, "epoch": epoch, "kind": SAMPLES, "texts": texts})
        self.patience.see(record)
        if self.checkpoints.is_best(record):
            state = self._state_of_run() | {"validation": _numbers(metrics)}
            self.checkpoints.save_best(self.backend.snapshot(self.state), state)

    def _write(self, record: Record) -> None:
        self.log.write(record)
        try:
            self.progress.record(record)
        except OSError as error:  # the reader is gone, or a disk is full: no work is lost
            self.progress = Progress()
            self.unread = f"its output can't be written ({error.strerror or error})"

    def _check_finite(self, record: Record) -> None:
        for name in MUST_BE_FINITE:
            if not np.isfinite(record.get(name, 0.0)):
                what = name.replace("_", " ") if record["kind"] == "train" else f"{record['kind']} {name}"
                raise self.checkpoints.diverged(f"the {what} is {record[name]} at step {record['step']}")
        if record["loss"] > LARGEST_LOSS:
            what = f"the {record['kind']} loss is {record['loss']:.3g} at step {record['step']}"
            raise self.checkpoints.diverged(f"{what}, so the run diverges")

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
            SETTINGS: settings_of(self.experiment),
        }


def _spent(history: Sequence[Record]) -> Record:
    """The last record with the totals of the run so far."""
    return next((record for record in reversed(history) if "seconds" in record), {})


def _numbers(metrics: Record) -> Record:
    """The metrics that equal runs share, so no times; JSON has no NaN, so rates over no examples are left out."""
    return {name: value for name, value in metrics.items() if np.isfinite(value) and name != "evaluation_seconds"}
