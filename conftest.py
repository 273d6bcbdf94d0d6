"""Shared by all tests: one thread per worker, a compilation cache, torch before jax, the folder of real corpora."""

import gc
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jaxtyping
import pytest

ROOT = Path(__file__).parent
SHAPES_CHECKED = [ROOT / "crosscheck/tests/twins", ROOT / "crosscheck/tests/pretrained", ROOT / "tests/backends"]
COMPARED_AS_BY_USERS = [  # the others judge no rounding
    ROOT / "crosscheck/tests" / name
    for name in ("divergences", "faults", "judging", "recording", "runs", "scoring", "twins", "test_compare.py")
]
COMPILED = "JAX_COMPILATION_CACHE_DIR"
CACHE = ROOT / ".cache" / "jax"
WORKER, CONTROLLER = os.environ.get("PYTEST_XDIST_WORKER", "main"), "main"
if os.environ.get(COMPILED) == str(CACHE / CONTROLLER):  # inherited from the process that started this worker
    del os.environ[COMPILED]
ENVIRONMENT = {  # set before torch and jax are imported, and inherited by the commands that tests start
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    # Compilation dominates the test time. Each worker has its own folder: JAX neither locks a file that it writes nor
    # renames it into place, and warns of one that it finds half written, which would fail a test.
    COMPILED: str(CACHE / WORKER),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "0",  # lines of code in programs, for profiles: a fifth of the time of lowering
    "MPLBACKEND": "agg",
    "HF_HUB_OFFLINE": "1",
}
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)

# Shells make background processes ignore Ctrl-C, and nohup makes them ignore SIGHUP; the tests send both.
for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, default)

if importlib.util.find_spec("torch"):
    import torch  # noqa: F401  torch must be imported before jax

# Each program runs a few times, and compiling it quickly takes half of the time. XLA reads its flags once in a process,
# also in the commands that tests start; programs with options of their own, as users have them, are compiled by those.
AS_USERS = {
    "xla_backend_optimization_level": 3,
    "xla_cpu_parallel_codegen_split_count": 32,
    "xla_cpu_use_fusion_emitters": True,
    "xla_llvm_disable_expensive_passes": False,
}
QUICKLY = dict(zip(AS_USERS, (0, 1, False, True), strict=True))


def as_flags(options: dict[str, int | bool]) -> str:
    return " ".join(f"--{name}={str(value).lower()}" for name, value in options.items())


if not (importlib.util.find_spec("torch") and torch.cuda.is_available()):  # some of them are a GPU's, too
    os.environ.setdefault("XLA_FLAGS", as_flags(QUICKLY))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected lives as long as the process: it is not looked through for garbage then or with each test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="module")
def optimised_comparisons(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a comparison asks to be compiled as users have it is so, where its rounding is judged."""
    with pytest.MonkeyPatch.context() as patch:
        if any(request.path.is_relative_to(path) for path in COMPARED_AS_BY_USERS):
            from crosscheck.recording import jax_side

            asked = jax_side.compiler_options

            def options_of(options: Any) -> dict[str, Any]:
                return (AS_USERS if options.optimize else {}) | asked(options)

            patch.setattr(jax_side, "compiler_options", options_of)
        yield


@pytest.fixture(autouse=True)
def optimised_training(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps as users have them, where their rounding is judged."""
    if request.node.get_closest_marker("optimised") and "jax" in sys.modules:
        from jax_impl import compile_cache

        monkeypatch.setitem(compile_cache.OPTIONS, "cpu", AS_USERS)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real corpora next to the checkout; tests that use it are marked `real_data`."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real corpora are missing: {folder} does not exist")
    return folder


@contextmanager
def shapes_unchecked(are_so: bool) -> Iterator[None]:
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", before or are_so)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(autouse=True, scope="module")
def checks_of_shapes_where_twins_are_checked(request: pytest.FixtureRequest) -> Iterator[None]:
    """The checks that tests add to every function take a third of their time: they are made where every twin and every
    backend is run for its own sake.
    """
    with shapes_unchecked(not any(request.path.is_relative_to(folder) for folder in SHAPES_CHECKED)):
        yield


@pytest.fixture(autouse=True)
def without_checks_of_shapes_on_a_gpu(request: pytest.FixtureRequest) -> Iterator[None]:
    """PyTorch's compiler can't trace these checks."""
    with shapes_unchecked(request.node.get_closest_marker("gpu") is not None):
        yield


@pytest.fixture
def settings_of_jax() -> Iterator[None]:
    """A float64 backend turns x64 on for the process; restore it for other tests."""
    import jax

    before = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    yield
    jax.config.update("jax_enable_x64", before[0])
    jax.config.update("jax_default_matmul_precision", before[1])


@pytest.fixture
def float64_in_jax() -> Iterator[None]:
    """JAX keeps float64 in this test, as it must when a user compares two modules in float64."""
    import jax

    with jax.enable_x64(True):
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` if there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device and torch finds none"))
