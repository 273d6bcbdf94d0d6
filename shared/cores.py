"""How many cores of the processor a process may use."""

import os


def usable_cores() -> int:
    """The cores that this process may run on, which a scheduler or `taskset` may have made fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
