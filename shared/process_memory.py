"""Memory of this process, for devices that keep no statistics of their own."""

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/statm")  # Linux: sizes in pages, the second is the resident set


def process_memory() -> dict[str, int]:
    """steady_bytes: resident now; peak_bytes: the most that was ever resident."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    steady = int(STATUS.read_text().split()[1]) * resource.getpagesize() if STATUS.exists() else peak
    return {"steady_bytes": steady, "peak_bytes": max(steady, peak)}
