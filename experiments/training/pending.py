"""Metrics still on the device: fetched a few steps at a time, so that no step waits for the host."""

import time

from experiments.progress.display import Record
from shared.backend import Backend, Metrics

LOG_EVERY = 10  # steps whose metrics are fetched from the device together
LOG_SECONDS = 5.0  # or as many as fit in this time: the host must not lag by more than a user would wait


class Pending:
    """Records of steps whose metrics have not been fetched; also counts the seconds spent training.

    `unit` is what the task counts ("examples"): each record holds the number in its batch, and the last of those
    fetched together also the speed.
    """

    def __init__(self, backend: Backend, unit: str, spent: Record) -> None:
        self.backend, self.unit = backend, unit
        self.seconds, self.compiled_before = spent.get("seconds", 0.0), spent.get("compile_seconds", 0.0)
        self.waiting: list[tuple[Record, Metrics]] = []
        self.together = 1  # how many may be pending; the first step shows how long one takes

    @property
    def is_full(self) -> bool:
        """True once the host lags by more steps than it should."""
        return len(self.waiting) > self.together

    def add(self, record: Record, metrics: Metrics) -> None:
        """Add a step that has been handed to the device."""
        self.waiting.append((record, metrics))

    def fetch(self, leave: int = 0) -> list[Record]:
        """The records with their figures, except the newest `leave`; waits for the device."""
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
        """Totals of the run so far: seconds of training, seconds of compilation, memory."""
        compiled = self.compiled_before + self.backend.compile_seconds
        return {"seconds": self.seconds, "compile_seconds": compiled, **self.backend.memory()}

    def restart_clock(self) -> None:
        """Don't count the time since the last fetch as training: an evaluation, a checkpoint, the start."""
        self._started, self._compiled = time.perf_counter(), self.backend.compile_seconds
