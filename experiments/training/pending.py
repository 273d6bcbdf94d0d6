"""Metrics that are still on the device: fetched a few steps at a time, so that a step never waits for the host."""

import time

from experiments.progress.display import Record
from shared.backend import Backend, Metrics

LOG_EVERY = 10  # steps whose metrics are fetched from the device together
LOG_SECONDS = 5.0  # or as many as fit in here: the device must not be ahead by more than the user can wait for


class Pending:
    """Records of steps whose metrics have not been fetched; it also counts the seconds that training has taken.

    `unit` is what the task counts ("examples"): a record holds how many its batch had, the last of those fetched
    together the speed.
    """

    def __init__(self, backend: Backend, unit: str, spent: Record) -> None:
        self.backend, self.unit = backend, unit
        self.seconds, self.compiled_before = spent.get("seconds", 0.0), spent.get("compile_seconds", 0.0)
        self.waiting: list[tuple[Record, Metrics]] = []
        self.together = 1  # how many may wait; the first step shows how long one takes

    @property
    def is_full(self) -> bool:
        """True once more steps wait than the host should be behind."""
        return len(self.waiting) > self.together

    def add(self, record: Record, metrics: Metrics) -> None:
        """A step that has been handed to the device."""
        self.waiting.append((record, metrics))

    def fetch(self, leave: int = 0) -> list[Record]:
        """The records with their figures, without the newest `leave`; waits for the device."""
        ready = len(self.waiting) - leave
        fetched = [(record, self.backend.fetch(metrics)) for record, metrics in self.waiting[:ready]]
        if not fetched:
            return []
        elapsed = time.perf_counter() - self._started - (self.backend.compile_seconds - self._compiled)
        self.seconds += elapsed
        self.together = max(1, min(LOG_EVERY, int(LOG_SECONDS * len(fetched) / max(elapsed, 1e-9))))
        count = sum(record[self.unit] for record, _ in fetched)
        self.waiting = self.waiting[ready:]
        records = [record | {name: value.item() for name, value in metrics.items()} for record, metrics in fetched]
        records[-1] |= {f"{self.unit}_per_second": count / max(elapsed, 1e-9), **self.totals()}
        return records

    def totals(self) -> Record:
        """What the run has taken so far: seconds of training, seconds of compilation, memory."""
        compiled = self.compiled_before + self.backend.compile_seconds
        return {"seconds": self.seconds, "compile_seconds": compiled, **self.backend.memory()}

    def restart_clock(self) -> None:
        """What has passed since the last fetch is no training: an evaluation, a checkpoint, the start."""
        self._started, self._compiled = time.perf_counter(), self.backend.compile_seconds
