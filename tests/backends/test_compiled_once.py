"""Steps are compiled once for each shape of a batch, and kept between runs, where a damaged program is replaced."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import jax
import numpy as np
import pytest
from backend_cases import MODEL, VOCABULARY, make_backend, make_batch, step
from places import child_environment

import jax_impl.backend
from jax_impl import compile_cache
from jax_impl.compile_cache import OPTIONS, compiled_or_loaded, known, options_for
from jax_impl.layers.attention_blocks import PreNormAttentionBlock
from shared.backend import COMPILING, PACKAGES
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import TrainingConfig
from shared.errors import IsogradError

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


@contextmanager
def as_on_a_gpu(device):
    pool = ThreadPoolExecutor(2)
    yield pool
    pool.shutdown(wait=False)


SHAPES = [make_batch(steps=5), make_batch(steps=3)]
COEFFICIENTS = (1, 3)  # of one group, of Adam
REASONS = {  # what the compiler says -> what is raised, and what it says
    "INTERNAL: too hard\nat length": (
        IsogradError,
        "can't compile the update of this model on this device: INTERNAL: too hard$",
    ),
    "RESOURCE_EXHAUSTED: Out of memory": (jax.errors.JaxRuntimeError, "Out of memory"),
}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_programs_begun_ahead_are_compiled_once_and_have_the_same_bits(monkeypatch, accumulate):
    plain, ahead = (make_backend("jax", training=TrainingConfig(accumulate=accumulate)) for _ in range(2))
    monkeypatch.setattr(jax_impl.backend, "side_by_side", as_on_a_gpu)
    states = [plain.init_state(), ahead.init_state()]
    ahead.compile_ahead(states[1], SHAPES, SHAPES[:1])
    of_a_batch, once = ("update", set()) if accumulate == 1 else ("gather", {("apply_gathered", COEFFICIENTS)})
    begun = {(of_a_batch, batch["ids"].shape) for batch in SHAPES} | {("evaluate", (6, 5))} | once
    assert {signature[:2] for signature in ahead.begun} == begun
    for number in range(2 * accumulate):
        batch = SHAPES[number // accumulate]
        states = [step(each, state, batch)[0] for each, state in zip((plain, ahead), states, strict=True)]
    both = list(zip((plain, ahead), states, strict=True))
    arrays = [each.state_to_arrays(state) for each, state in both]
    assert np.array_equal(*(each.fetch(each.eval_step(state, SHAPES[0]))["losses"] for each, state in both))
    assert all(np.array_equal(array, arrays[1][name]) for name, array in arrays[0].items())
    assert ahead.begun == {}
    assert {signature[:2] for signature in ahead.executables} == begun


def test_equal_layers_are_traced_once_in_a_program_and_anew_in_the_next(monkeypatch):
    traced, plain = [], PreNormAttentionBlock.__call__
    monkeypatch.setattr(
        PreNormAttentionBlock, "__call__", lambda self, *inputs: traced.append(self) or plain(self, *inputs)
    )
    deep = replace(MODEL, arguments={**MODEL.arguments, "num_layers": 3})
    for programs in (1, 2):
        backend = make_backend("jax", deep)
        state = backend.init_state()
        jax.eval_shape(
            backend.objective.gradients, state["weights"], backend.to_device(make_batch()), backend.key(state)
        )
        assert len(traced) == programs


@pytest.mark.parametrize("name", PACKAGES)
def test_on_a_cpu_nothing_is_begun_and_no_batch_is_made_for_it(name):
    backend = make_backend(name)
    backend.compile_ahead(backend.init_state(), iter(lambda: pytest.fail("a batch was made"), None), iter(()))
    assert programs(backend) == backend.compile_seconds == 0


@pytest.mark.parametrize(("message", "expected"), REASONS.items())
def test_what_can_not_be_compiled_is_told_at_the_step_that_needs_it(monkeypatch, message, expected):
    def fail(self, *given):
        raise jax.errors.JaxRuntimeError(message)

    monkeypatch.setattr(jax.stages.Lowered, "compile", fail)
    monkeypatch.setattr(jax_impl.backend, "side_by_side", as_on_a_gpu)
    backend = make_backend("jax")
    state = backend.init_state()
    backend.compile_ahead(state, SHAPES, ())
    error, words = expected
    with pytest.raises(error, match=words):
        step(backend, state, SHAPES[0])


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (7, 3)])
def test_programs_of_a_gpu_are_compiled_by_one_thread_for_two_cores(monkeypatch, cores, threads):
    monkeypatch.setattr(compile_cache, "usable_cores", lambda: cores)
    with compile_cache.side_by_side(Mock(spec=jax.Device, platform="gpu")) as pool:
        assert (pool._max_workers, pool._thread_name_prefix) == (threads, COMPILING)
    with compile_cache.side_by_side(Mock(spec=jax.Device, platform="cpu")) as pool:
        assert pool is None


@pytest.mark.parametrize("is_kept", [True, False])
def test_only_kept_programs_of_a_function_that_fails_are_removed(monkeypatch, tmp_path, is_kept):
    def fail(self, options):
        raise jax.errors.JaxRuntimeError("INTERNAL: too hard")

    monkeypatch.setattr(jax.stages.Lowered, "compile", fail)
    before = jax.config.jax_compilation_cache_dir
    for name in ("jit_update-1-cache", "jit_update-1-atime", "jit_update_all-1-cache"):
        (tmp_path / name).touch()
    jax.config.update("jax_compilation_cache_dir", str(tmp_path) if is_kept else None)
    try:
        with pytest.raises(IsogradError, match="can't compile the update"):
            compiled_or_loaded(jax.jit(lambda: 0).lower(), "update", None)
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert len(list(tmp_path.iterdir())) == (1 if is_kept else 3)


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


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", {"xla_backend_optimization_level": 1}), pytest.param("cuda", {}, marks=pytest.mark.gpu)],
)
def test_only_on_a_gpu_float64_is_compiled_without_options(monkeypatch, device, expected):
    for platform in ("cpu", "gpu"):
        monkeypatch.setitem(OPTIONS, platform, {"xla_backend_optimization_level": 1})
    assert options_for(jax.devices(device)[0], "float64") == expected
