"""One mutant on trial: its tests run in a forked process, on a copy of the checkout, with the frameworks imported.

Neither mutmut nor cosmic-ray plants one change in two files at once, which is the point here; and importing both
frameworks anew would take longer than most tests.
"""

import contextlib
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mutants.table import ROOT, Mutant

LIMIT = 300  # seconds of the processor's time, more than any trial takes: a mutant that never ends is noticed too
PATIENCE = 1200  # seconds of anyone's time: what waits so long may wait for ever, or for a machine with much else to do
MEMORY = 6 * 2**30  # bytes that its data may take, since one that never ends may fill a list
KILLED, SURVIVED, ENDLESS, LATE = "killed", "survived", "endless", "late"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
OPTIONS = (
    "-x",
    "-q",
    "--no-header",
    "--assert=plain",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-m",
    "not slow and not exhaustive",
)


def make_copy(folder: Path) -> None:
    """Copy the checkout's own files, times included, so that bytecode made from them stays valid."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    shutil.rmtree(folder, ignore_errors=True)
    for name in listed.stdout.decode().split("\n"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def warm_up(folder: Path) -> None:
    """Import what every trial imports; nothing of the project, and no framework may start its threads yet."""
    os.environ.update(ENVIRONMENT, JAX_COMPILATION_CACHE_DIR=str(folder / ".cache" / "jax"))
    import torch  # noqa: I001, F401  before jax
    import flax.nnx  # noqa: F401
    import hypothesis  # noqa: F401
    import optax  # noqa: F401
    import pytest  # noqa: F401


def verdict(mutant: Mutant, folder: Path) -> str:
    """Killed, survived, endless or late; the copy is as before afterwards."""
    with _planted(mutant, folder):
        child = os.fork()
        if child == 0:
            _run(mutant.tests, folder)
        return _awaited(child)


@contextlib.contextmanager
def _planted(mutant: Mutant, folder: Path) -> Iterator[None]:
    try:
        for path, source in mutant.sources.items():
            (folder / path).write_text(source)
        yield
    finally:
        for path in mutant.edits:
            shutil.copy2(ROOT / path, folder / path)


def _run(tests: tuple[str, ...], folder: Path) -> None:
    """The tests in this forked process, which ends here; bytecode of a mutant must not be found by the next."""
    os.setsid()
    signal.alarm(PATIENCE)
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    os.chdir(folder)
    sys.path[:0] = [str(folder)]
    sys.dont_write_bytecode = True
    code = 1
    try:
        import pytest

        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = pytest.main([*OPTIONS, *tests])
    finally:
        os._exit(int(code))


def _awaited(child: int) -> str:
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return {signal.SIGXCPU: ENDLESS, signal.SIGALRM: LATE}.get(os.WTERMSIG(status), KILLED)
    return SURVIVED if os.WEXITSTATUS(status) == 0 else KILLED
