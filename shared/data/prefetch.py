"""Prepare the next items of an iterator in a background thread while the current one is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
ITEM, ERROR, END = "item", "error", "end"


def prefetch(iterator: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Yield the items in order, up to `depth` of them ahead of time; an error is raised in its item's place.

    The thread starts with the first `next` and ends with the iterator, even if that is closed or dropped early.
    """
    filled: queue.SimpleQueue = queue.SimpleQueue()
    slots, stopped = threading.Semaphore(depth), threading.Event()
    thread = threading.Thread(target=_fill, args=(iterator, filled, slots, stopped), name="prefetch", daemon=True)
    thread.start()
    try:
        while (message := filled.get())[0] == ITEM:
            slots.release()
            yield message[1]
        if message[0] == ERROR:
            raise message[1]
    finally:
        stopped.set()
        slots.release()
        thread.join()


def _fill(
    iterator: Iterable[T], filled: queue.SimpleQueue, slots: threading.Semaphore, stopped: threading.Event
) -> None:
    try:
        items = iter(iterator)
        while slots.acquire() and not stopped.is_set():
            try:
                filled.put((ITEM, next(items)))
            except StopIteration:
                break
        filled.put((END, None))
    except BaseException as error:  # any error is passed on to the consumer
        filled.put((ERROR, error))
