"""Steps are compiled once for each shape of a batch, and kept between runs, where a damaged program is replaced."""

import subprocess
import sys
from pathlib import Path

import jax
import pytest
from backend_cases import MODEL, VOCABULARY, make_backend, make_batch, step
from places import child_environment

from jax_impl.compile_cache import known
from shared.configs.experiment import ModelConfig

GRU = ModelConfig("ReviewClassifierGRU", {"vocabulary_size": VOCABULARY, "embedding_size": 6, "hidden_size": 7})
ONE_STEP = """
from backend_cases import make_backend, make_batch, step
backend = make_backend("jax")
print(step(backend, backend.init_state(), make_batch())[1]["loss"])
"""


def programs(backend) -> int:
    """How many have been compiled or recorded."""
    return len({**vars(backend).get("executables", {}), **vars(backend).get("recordings", {})})


@pytest.mark.parametrize("model", [MODEL, GRU], ids=["transformer", "gru"])
@pytest.mark.parametrize(
    ("name", "device"),
    [("jax", "cpu"), *(pytest.param(side, "cuda", marks=pytest.mark.gpu) for side in ("torch", "jax"))],
)
def test_nothing_is_compiled_again_once_every_shape_has_been_seen(name, device, model):
    backend = make_backend(name, model, device=device)
    state = backend.init_state()
    for steps in (5, 3):
        state, _ = step(backend, state, make_batch(steps=steps))
    compiled, seconds = programs(backend), backend.compile_seconds
    assert compiled == 2
    assert seconds > 0
    for number in range(6):
        state, _ = step(backend, state, make_batch(steps=5 - 2 * (number % 2)))
    assert (programs(backend), backend.compile_seconds) == (compiled, seconds)


def one_step(folder: Path) -> str:
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**30),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", ONE_STEP],
        env=child_environment() | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
def test_a_damaged_program_is_compiled_again_and_replaced(tmp_path):
    loss = one_step(tmp_path)
    (kept,) = tmp_path.glob("jit_update-*-cache")
    sound = kept.read_bytes()
    kept.write_bytes(sound[: len(sound) // 2])
    assert one_step(tmp_path) == loss
    assert len(kept.read_bytes()) > len(sound) // 2


def test_an_option_of_another_version_of_the_compiler_is_left_out():
    options = {"xla_backend_optimization_level": 0, "xla_cpu_of_another_version": True}
    assert known(options, jax.devices("cpu")[0]) == {"xla_backend_optimization_level": 0}
