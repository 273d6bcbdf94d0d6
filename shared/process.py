"""This process on its machine: its memory, what it keeps and does not look for, and the cores it may run on."""

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS = Path("/proc/self/statm")  # Linux: sizes in pages, the second is the resident set
LARGEST_KEPT = 32 * 2**20  # bytes; glibc takes no larger threshold
KEEPING = {-3: LARGEST_KEPT, -1: 2**31 - 1, -8: 1}  # glibc's M_MMAP_THRESHOLD, M_TRIM_THRESHOLD (off), one M_ARENA_MAX


def process_memory() -> dict[str, int]:
    """steady_bytes: resident now; peak_bytes: the most ever resident."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    steady = int(STATUS.read_text().split()[1]) * resource.getpagesize() if STATUS.exists() else peak
    return {"steady_bytes": steady, "peak_bytes": max(steady, peak)}


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors of up to 32 MiB for the next ones; others have no such setting.

    By default it is returned to the system, and every training step pays for the same pages again. The largest are
    returned: a small tensor that lives on beside a freed one, such as the losses beside their logits, leaves a gap
    that the next logits don't fit into, and then each batch would add gigabytes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in KEEPING.items():
            mallopt(parameter, value)


def usable_cores() -> int:
    """The cores that this process may run on, which a scheduler or `taskset` may have made fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for garbage meanwhile: thousands of new objects that all stay would start it again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
