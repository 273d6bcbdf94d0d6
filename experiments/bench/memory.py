"""How much memory a piece of work takes beyond what its process had before, measured in a process of its own.

`python -m experiments.bench.memory load BACKEND FOLDER` and `... port SOURCE DESTINATION FORMAT` print bytes.
"""

import ctypes
import gc
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux alone
RESIDENT, PEAK = "VmRSS:", "VmHWM:"
FORGET_PEAK = "5"


def extra_memory(*words: str) -> int | None:
    """The bytes beyond those of the process before the work that `words` say; None where the system does not tell."""
    if not RESET.exists():
        return None
    command = [sys.executable, "-m", __name__, *words]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def release() -> None:
    """Give memory that was freed back to the system where the C library can: what comes next begins as a process does.

    Otherwise pages of an earlier piece of work are given to a later one or not, as they happen to lie.
    """
    gc.collect()
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def _load(backend: str, folder: str) -> Callable[[], object]:
    package = importlib.import_module(f"{backend}_impl")
    importlib.import_module(f"{backend}_impl.weights").to_tensor(np.zeros(1, np.float32))  # the framework has begun
    return lambda: package.from_pretrained(folder, dtype=None)


def _port(source: str, destination: str, to: str) -> Callable[[], object]:
    port = importlib.import_module("experiments.porting.port").port
    importlib.import_module("torch_impl.weights")  # what a port imports is not what it takes
    return lambda: port(source, destination, to=to)


WORK: dict[str, Callable[..., Callable[[], object]]] = {"load": _load, "port": _port}


def _bytes(name: str) -> int:
    return 1024 * int(STATUS.read_text().partition(name)[2].split()[0])


def main(kind: str, *words: str) -> None:
    """Prepare, forget the peak so far, work, and print the new peak beyond what was resident before."""
    work = WORK[kind](*words)
    before = _bytes(RESIDENT)
    RESET.write_text(FORGET_PEAK)
    kept = work()
    print(_bytes(PEAK) - before)
    del kept


if __name__ == "__main__":
    main(*sys.argv[1:])
