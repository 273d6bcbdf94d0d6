"""Memory of this process, for devices that don't report their own: how much it uses, and keeping what it frees."""

import ctypes
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/statm")  # Linux: sizes in pages, the second is the resident set
KEEPING = {-4: 0, -1: 2**31 - 1, -8: 1}  # glibc's mallopt: no M_MMAP_MAX, the largest M_TRIM_THRESHOLD, one M_ARENA_MAX


def process_memory() -> dict[str, int]:
    """steady_bytes: resident now; peak_bytes: the most ever resident."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    steady = int(STATUS.read_text().split()[1]) * resource.getpagesize() if STATUS.exists() else peak
    return {"steady_bytes": steady, "peak_bytes": max(steady, peak)}


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed large tensors for the next ones; does nothing with other C libraries.

    By default it is returned to the system, and every training step pays for the same pages again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in KEEPING.items():
            mallopt(parameter, value)
