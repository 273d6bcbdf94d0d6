"""Parallel jobs, each worker a separate process: threads would serialise Python's work."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import TypeVar

from shared.errors import IsogradError

Job = TypeVar("Job")
Result = TypeVar("Result")
JOBS_FOR_A_WORKER = 8  # fewer take less time than importing both frameworks again
MAX_WORKERS = 16


def run_all(run: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """The result of each job, in order; a few jobs run in this process.

    Raises any exception of a job, and IsogradError if a worker is killed.
    """
    workers = min(os.cpu_count() or 1, MAX_WORKERS, len(jobs) // JOBS_FOR_A_WORKER)
    if workers < 2:
        yield from map(run, jobs)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)
    try:
        # `pool.map` would cancel the rest after an error, also what the pool itself ends when a worker is killed.
        futures = deque(pool.submit(run, job) for job in jobs)
        while futures:
            yield futures.popleft().result()
    except BrokenProcessPool as error:
        raise IsogradError(
            f"one of {workers} worker processes was killed, perhaps for lack of memory: check fewer at a time"
        ) from error
    except KeyboardInterrupt:
        for worker in active_children():  # don't wait for any of them
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Let Ctrl-C, which reaches the whole group, end a worker silently; only workers share the cores."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Thread(target=_end_with_the_parent, daemon=True).start()
    torch.set_num_threads(1)


def _end_with_the_parent() -> None:
    """Exit when the parent is gone: otherwise the worker would wait for its next job forever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
