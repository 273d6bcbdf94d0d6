"""Parallel jobs, each worker a separate process: threads would serialise Python's work."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import TypeVar

from shared.errors import IsogradError
from shared.process import usable_cores

Job = TypeVar("Job")
Result = TypeVar("Result")
JOBS_FOR_A_WORKER = 8  # fewer take less time than importing both frameworks again
MAX_WORKERS = 16


def run_all(run: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None) -> Iterator[Result]:
    """The result of each job, in order; as `run_as_done` otherwise."""
    early: dict[int, Result] = {}
    following = 0
    for place, result in run_as_done(run, jobs, workers):
        early[place] = result
        while following in early:
            yield early.pop(following)
            following += 1


def run_as_done(
    run: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None
) -> Iterator[tuple[int, Result]]:
    """The place and the result of each job as soon as it is known, from `workers` processes.

    If their number is not given, it is that of the cores, and a few jobs run in this process. Jobs begin in order.
    Raises any exception of a job, and IsogradError if a worker is killed.
    """
    number = min(workers, len(jobs)) if workers else _fitting(len(jobs))
    if number < 2:
        yield from enumerate(map(run, jobs))
        return
    pool = ProcessPoolExecutor(number, mp_context=get_context("spawn"), initializer=_begin)
    try:
        # `pool.map` would cancel the rest after an error, also what the pool itself ends when a worker is killed.
        places = {pool.submit(run, job): place for place, job in enumerate(jobs)}
        for future in as_completed(places):
            yield places.pop(future), future.result()
    except BrokenProcessPool as error:
        raise IsogradError(
            f"one of {number} worker processes was killed, perhaps for lack of memory: check fewer at a time"
        ) from error
    except (KeyboardInterrupt, GeneratorExit):
        for worker in active_children():  # don't wait for any of them
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _fitting(jobs: int) -> int:
    """How many workers are worth their start."""
    return min(usable_cores(), MAX_WORKERS, jobs // JOBS_FOR_A_WORKER)


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
