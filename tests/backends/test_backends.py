"""The steps of each backend: metrics, padding rows, dropout, precision, compilation, devices."""

import subprocess
import sys

import numpy as np
import pytest
from backend_cases import NO_DROPOUT, OPTIMIZER, RATE, make_backend, make_batch, step
from bounds import is_a_first_step_of_adam
from places import child_environment

from shared.backend import PACKAGES, Backend
from shared.errors import IsogradError

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
prove = pytest.importorskip("crosscheck.criterion").prove
pytestmark = pytest.mark.usefixtures("settings_of_jax")
BATCH = len(make_batch()["labels"])
TINY_RATE = 1e-5  # far below 2**-11, the spacing of bfloat16 numbers near 0.1: bfloat16 weights could not hold the step


@pytest.fixture(scope="module", params=PACKAGES)
def backend(request) -> Backend:
    return make_backend(request.param)


@pytest.fixture(params=PACKAGES)
def plain_backend(request) -> Backend:
    """Without dropout, in float64, so that theoretical equality can be proven."""
    return make_backend(request.param, NO_DROPOUT, dtype="float64")


def test_metrics_are_those_before_the_update(plain_backend):
    batch = make_batch()
    before = plain_backend.fetch(plain_backend.eval_step(plain_backend.init_state(), batch))
    _, metrics = step(plain_backend, plain_backend.init_state(), batch)
    assert prove(before["losses"].mean(), metrics["loss"], floor=0.0).agrees
    assert prove((before["predictions"] == batch["labels"]).mean(), metrics["accuracy"], floor=0.0).agrees


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("name", PACKAGES)
def test_metrics_stay_as_they_are_whatever_is_computed_next(name, device):
    backend, batch = make_backend(name, device=device), make_batch()

    def computed(batch):
        return backend.train_step(backend.init_state(), batch, RATE)[1], backend.eval_step(backend.init_state(), batch)

    def copied(found):
        return [array.copy() for metrics in found for array in backend.fetch(metrics).values()]

    found = computed(batch)
    before = copied(found)
    others = copied(computed({**batch, "labels": 1 - batch["labels"]}))
    assert all(map(np.array_equal, copied(found), before))
    assert not all(map(np.array_equal, others, before))


def test_a_batch_reaches_the_device_as_it_is(plain_backend):
    batch = make_batch()
    batch["weights"] = (batch["weights"] / 3).astype(np.float32)
    arrived = {name: np.asarray(array) for name, array in plain_backend.to_device(batch).items()}
    assert {name: (a.dtype, a.tobytes()) for name, a in arrived.items()} == {
        name: (a.dtype, a.tobytes()) for name, a in batch.items()
    }


def test_rows_of_weight_zero_change_neither_loss_nor_gradient(plain_backend):
    batch = make_batch()
    filled = {name: np.concatenate([array, array[:2]]) for name, array in batch.items()}
    filled["weights"][-2:] = 0
    filled["mask"][-2:] = False
    (_, ours), (_, theirs) = (step(plain_backend, plain_backend.init_state(), some) for some in (batch, filled))
    for name in ("loss", "accuracy", "gradient_norm"):
        assert prove(theirs[name], ours[name], floor=0.0).agrees


def test_a_batch_without_real_rows_has_loss_zero_and_gradient_zero(backend):
    batch = make_batch()
    batch["weights"][:] = 0
    _, metrics = step(backend, backend.init_state(), batch)
    assert metrics == {"loss": 0, "accuracy": 0, "gradient_norm": 0}


def test_the_gradient_norm_is_that_of_all_gradients_together(plain_backend):
    state, metrics = step(plain_backend, plain_backend.init_state(), make_batch())
    arrays = plain_backend.state_to_arrays(state)
    moments = [array.astype(np.float64) for name, array in arrays.items() if name.startswith("exp_avg/")]
    norm = np.sqrt(sum((array**2).sum() for array in moments)) / (1 - OPTIMIZER.beta_1)  # after one step m = (1 - b1) g
    assert prove(norm, metrics["gradient_norm"], floor=0.0).agrees


def test_dropout_is_on_in_training_off_in_evaluation_and_new_at_every_step(backend):
    state, batch, losses = backend.init_state(), make_batch(), []
    for _ in range(3):
        state, metrics = step(backend, state, batch, rate=0.0)
        losses.append(float(metrics["loss"]))
    assert len(set(losses)) == 3
    first, second = (backend.fetch(backend.eval_step(state, batch))["losses"] for _ in range(2))
    assert np.array_equal(first, second)
    without = make_backend(backend.name, NO_DROPOUT)
    assert np.array_equal(first, without.fetch(without.eval_step(without.init_state(), batch))["losses"])


def test_an_evaluation_leaves_the_state_unchanged(backend):
    state = backend.init_state()
    backend.eval_step(state, make_batch())
    fresh = backend.state_to_arrays(backend.init_state())
    assert all(np.array_equal(array, fresh[name]) for name, array in backend.state_to_arrays(state).items())


def test_jax_compiles_once_per_shape_and_counts_the_seconds():
    backend = make_backend("jax", NO_DROPOUT)
    assert backend.compile_seconds == 0
    state, _ = step(backend, backend.init_state(), make_batch())
    first = backend.compile_seconds
    assert first > 0
    state, _ = step(backend, state, make_batch(), rate=RATE / 2)
    assert backend.compile_seconds == first
    step(backend, state, make_batch(rows=BATCH - 1))
    assert backend.compile_seconds > first


def test_a_jax_run_in_float32_continues_after_a_float64_backend_was_created():
    backend = make_backend("jax", NO_DROPOUT)
    state, _ = step(backend, backend.init_state(), make_batch())
    make_backend("jax", NO_DROPOUT, dtype="float64")
    state, metrics = step(backend, state, make_batch())
    assert metrics["loss"].dtype == np.float32
    assert backend.state_to_arrays(state)["weights/classifier.bias"].dtype == np.float32


@pytest.mark.slow
def test_jax_works_without_graph_mode():
    script = (
        "import backend_cases as t;"
        "b = t.make_backend('jax'); s, m = t.step(b, b.init_state(), t.make_batch()); print(float(m['loss']))"
    )
    environment = {**child_environment(), "NNX_GRAPH_MODE": "false"}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    backend = make_backend("jax")
    assert float(result.stdout) == float(step(backend, backend.init_state(), make_batch())[1]["loss"])


@pytest.mark.parametrize("name", PACKAGES)
def test_bfloat16_computes_in_bfloat16_and_moves_float32_weights(name):
    backend = make_backend(name, NO_DROPOUT, dtype="bfloat16")
    batch = make_batch()
    exact = make_backend(name, NO_DROPOUT)
    state, metrics = step(backend, backend.init_state(), batch, rate=TINY_RATE)
    assert metrics["loss"].dtype == np.float32
    evaluated = [each.logits_of(each.init_state(), batch) for each in (backend, exact)]  # in bfloat16, too
    assert not np.array_equal(*evaluated)
    assert metrics["loss"] != step(exact, exact.init_state(), batch)[1]["loss"]
    moved = backend.state_to_arrays(state)["weights/classifier.weight"]
    start = backend.state_to_arrays(backend.init_state())["weights/classifier.weight"]
    assert (moved != start).all()
    assert is_a_first_step_of_adam(moved, start, TINY_RATE, OPTIMIZER.weight_decay)


@pytest.mark.parametrize("name", PACKAGES)
def test_asking_for_a_missing_gpu_says_what_to_do(name):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(IsogradError, match=r"cuda was asked for, and .* finds only .*: .*--device cpu"):
        make_backend(name, device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", PACKAGES)
def test_a_gpu_trains_and_reports_its_name_and_memory(name, dtype):
    backend = make_backend(name, dtype=dtype, device="cuda")
    state, first = step(backend, backend.init_state(), make_batch())
    for _ in range(20):
        state, metrics = step(backend, state, make_batch())
    assert np.isfinite(metrics["gradient_norm"])
    assert metrics["loss"] < first["loss"]
    assert 0 < backend.memory()["steady_bytes"] <= backend.memory()["peak_bytes"]
    assert "cpu" not in backend.describe()["device"].lower()


def test_memory_and_description_are_filled_in(backend):
    memory = backend.memory()
    assert 0 < memory["steady_bytes"] <= memory["peak_bytes"]
    description = backend.describe()
    assert description["dtype"] == "float32"
    assert backend.name in description
    assert all(isinstance(value, str) for value in description.values())
