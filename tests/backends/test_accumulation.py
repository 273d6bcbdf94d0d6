"""Clipping by the norm of all gradients, and gradients summed over batches, in both backends."""

import functools
import importlib
from dataclasses import replace

import numpy as np
import pytest
from backend_cases import BATCH, LENGTH, MODEL, OPTIMIZER, VOCABULARY, make_batch, step

from shared.arrays import Arrays
from shared.backend import NOTHING_ELSE, Backend, Batch, load_backend
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import TrainingConfig
from shared.training_state import GATHERED, GRADIENT_SUM, STEP

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
prove = pytest.importorskip("crosscheck.criterion").prove

EPS_OF_TORCH = 1e-6  # added by `clip_grad_norm_` to the norm that it divides by
SHAPES = {"a": (5,), "b": (2, 3), "c": (3, 1, 2), "d": ()}
DRAWN = {name: np.array(np.random.default_rng(seed).standard_normal(SHAPES[name])) for seed, name in enumerate(SHAPES)}
ROWS = {  # real rows in each of the three batches of an update, six rows each
    "all": (6, 6, 6),
    "different numbers": (6, 1, 4),
    "none in the first": (0, 5, 6),
    "none in the last": (6, 2, 0),
    "a single one": (0, 1, 0),
    "none at all": (0, 0, 0),
}
ACCUMULATING = TrainingConfig(clip_norm=0.1, accumulate=3, average_decay=0.9)
package = pytest.mark.parametrize("package", ["torch", pytest.param("jax", marks=pytest.mark.slow)])


@pytest.fixture(autouse=True)
def _in_float64():
    """A float64 backend also turns x64 on for the process, and sets the precision of products."""
    before = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before[0])
    jax.config.update("jax_default_matmul_precision", before[1])


def assert_proven(ours: Arrays, theirs: Arrays) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        verdict = prove(np.asarray(ours[name]), np.asarray(theirs[name]), 0.0)
        assert verdict.agrees, f"{name}: {verdict}"


def scaled_to(norm: float, arrays: Arrays) -> Arrays:
    return {name: np.asarray(norm / norm_of(arrays) * array) for name, array in arrays.items()}


def norm_of(arrays: Arrays) -> float:
    return float(np.sqrt(sum((array**2).sum() for array in arrays.values())))


def clipped(package: str, arrays: Arrays, clip_norm: float | None) -> Arrays:
    update, weights = (importlib.import_module(f"{package}_impl.{part}") for part in ("update", "weights"))
    gradients = {name: weights.to_tensor(array) for name, array in arrays.items()}
    found = update.clipped(gradients, update.global_norm(gradients), clip_norm)
    return {name: weights.to_numpy(tensor) for name, tensor in found.items()}


@package
@pytest.mark.parametrize("norm", [1e-6, 0.5, 0.999, 1.0, 1.001, 7.0, 1e6])
def test_clipping_matches_optax(package, norm):
    gradients = scaled_to(norm, DRAWN)
    theirs, _ = optax.clip_by_global_norm(1.0).update(gradients, optax.EmptyState())
    assert_proven(clipped(package, gradients, 1.0), theirs)


@package
@pytest.mark.parametrize("norm", [1.001, 7.0, 1e6])
def test_clipping_matches_torch_except_for_the_number_that_it_adds_to_the_norm(package, norm):
    gradients = scaled_to(norm, DRAWN)
    parameters = {name: torch.nn.Parameter(torch.tensor(array)) for name, array in gradients.items()}
    for name, parameter in parameters.items():
        parameter.grad = torch.tensor(gradients[name])
    found = torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
    assert_proven({"norm": norm_of(gradients)}, {"norm": found.numpy()})
    ours = {name: norm / (norm + EPS_OF_TORCH) * a for name, a in clipped(package, gradients, 1.0).items()}
    assert_proven(ours, {name: parameter.grad.numpy() for name, parameter in parameters.items()})


@package
@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("norm", [0.0, 1e-300, 0.999])
def test_gradients_below_the_limit_keep_their_bits(package, norm, clip_norm):
    gradients = scaled_to(norm, DRAWN)
    assert all(np.array_equal(array, gradients[n]) for n, array in clipped(package, gradients, clip_norm).items())


@package
def test_clipped_gradients_have_the_clipping_norm_and_keep_their_direction(package):
    gradients = scaled_to(7.0, DRAWN)
    found = clipped(package, gradients, 0.3)
    assert_proven({"norm": norm_of(found)}, {"norm": 0.3})
    assert_proven(found, {name: 0.3 / 7.0 * array for name, array in gradients.items()})


@functools.cache
def make_backend(package: str, training: TrainingConfig = NOTHING_ELSE, dropout: float = 0.0) -> Backend:
    model = replace(MODEL, arguments={**MODEL.arguments, "dropout": dropout})
    return load_backend(package, model=model, optimizer=OPTIMIZER, training=training, seed=3, dtype="float64")


def batches_of(counts: tuple[int, ...]) -> tuple[list[Batch], Batch]:
    """Batches of six rows with these numbers of real ones, and all their rows in one batch."""
    whole = make_batch(rows=6 * len(counts))
    whole["weights"] = np.concatenate([np.arange(6) < count for count in counts]).astype(np.float32)
    return [{name: array[i : i + 6] for name, array in whole.items()} for i in range(0, 6 * len(counts), 6)], whole


def assert_same_state(ours: Arrays, theirs: Arrays) -> None:
    """A tensor's error is measured relative to the largest of its group: some gradients are zero in theory."""
    for name in theirs.keys() - {STEP}:
        group = [norm_of({other: theirs[other]}) for other in theirs if other.split("/")[0] == name.split("/")[0]]
        verdict = prove(theirs[name], ours[name], max(group))
        assert verdict.agrees, f"{name}: {verdict}"


@pytest.mark.slow
@package
@pytest.mark.parametrize("counts", ROWS.values(), ids=ROWS)
def test_batches_with_summed_gradients_make_the_same_update_as_one_batch_of_all_their_rows(package, counts):
    some, whole = make_backend(package, ACCUMULATING), make_backend(package, replace(ACCUMULATING, accumulate=1))
    ours, theirs = some.init_state(), whole.init_state()
    batches, together = batches_of(counts)
    for _ in range(2):
        for batch in batches:
            ours, ours_logged = step(some, ours, batch)
        theirs, theirs_logged = step(whole, theirs, together)
        assert_proven({"": ours_logged["gradient_norm"]}, {"": theirs_logged["gradient_norm"]})
        assert_same_state(some.state_to_arrays(ours), whole.state_to_arrays(theirs))
    assert all(np.isfinite(array).all() for array in some.state_to_arrays(ours).values())


@package
def test_every_token_of_a_text_counts_as_a_row(package):
    sizes = {"vocabulary_size": VOCABULARY, "sequence_length": LENGTH, "embed_dim": 4, "num_heads": 1, "num_layers": 1}
    options = {"optimizer": OPTIMIZER, "training": ACCUMULATING, "seed": 3, "dtype": "float64"}
    some = load_backend(package, model=ModelConfig("GPT", sizes, ("ids",)), **options)
    ids, weights = make_batch()["ids"], np.tri(BATCH, LENGTH, dtype=np.float32)
    state, _ = step(some, some.init_state(), {"ids": ids, "labels": ids, "weights": weights})
    assert some.state_to_arrays(state)[GATHERED] == weights.sum()


@package
def test_within_an_update_only_the_sums_change_and_the_norm_is_that_of_all_rows_so_far(package):
    some, plain = make_backend(package, ACCUMULATING), make_backend(package)
    state, counts, before = some.init_state(), (6, 1, 4), None
    for done, batch in enumerate(batches_of(counts)[0][:2], start=1):
        before = before or some.state_to_arrays(state)
        state, logged = step(some, state, batch)
        after = some.state_to_arrays(state)
        moved = {name.split("/")[0] for name in after if not np.array_equal(before[name], after[name])}
        assert moved == {GRADIENT_SUM, GATHERED, STEP}
        assert after[GATHERED] == sum(counts[:done])
        _, so_far = batches_of((*counts[:done], *(0 for _ in counts[done:])))
        assert_proven({"": logged["gradient_norm"]}, {"": step(plain, plain.init_state(), so_far)[1]["gradient_norm"]})


@package
def test_after_an_update_the_sums_are_zero(package):
    backend = make_backend(package, ACCUMULATING)
    state = backend.init_state()
    for batch in batches_of((6, 1, 4))[0]:
        state, _ = step(backend, state, batch)
    sums = {n: a for n, a in backend.state_to_arrays(state).items() if n.split("/")[0] in (GRADIENT_SUM, GATHERED)}
    assert len(sums) == 1 + len(backend.shapes)
    assert not any(array.any() for array in sums.values())


@package
def test_sums_are_emptied_whatever_they_hold(package):
    update, array = importlib.import_module(f"{package}_impl.update"), {"torch": torch.tensor, "jax": jax.numpy.array}
    drawn = {name: array[package](1e3 * drawn) for name, drawn in DRAWN.items()}
    found = update.emptied({GRADIENT_SUM: drawn, GATHERED: array[package](np.array(1e6)), "kept": drawn})
    assert found["kept"] is drawn
    assert np.asarray(found[GATHERED]).tolist() == 0
    assert {name: np.asarray(a).tolist() for name, a in found[GRADIENT_SUM].items()} == {
        name: np.zeros_like(a).tolist() for name, a in DRAWN.items()
    }


@package
def test_the_gradients_of_a_state_are_those_of_its_next_step_with_the_same_dropout(package):
    backend = make_backend(package, ACCUMULATING, dropout=0.3)
    state, batch = backend.init_state(), make_batch()
    for expected_rows in (6, 12):
        before, gradients = backend.state_to_arrays(state), backend.gradients_of(state, batch)
        state, _ = step(backend, state, batch)
        after = backend.state_to_arrays(state)
        assert after[GATHERED] == expected_rows
        sums = [f"{GRADIENT_SUM}/{name}" for name in gradients]
        added = {name: after[name] - before[name] for name in sums}
        assert_same_state(dict(zip(sums, (6 * array for array in gradients.values()), strict=True)), added)


@package
def test_the_norm_is_logged_before_clipping(package):
    (_, batch), plain = batches_of((6, 6, 6)), make_backend(package)
    clipping = make_backend(package, replace(ACCUMULATING, accumulate=1))
    (_, ours), (_, theirs) = (step(backend, backend.init_state(), batch) for backend in (clipping, plain))
    gradients = plain.gradients_of(plain.init_state(), batch)
    assert ours["gradient_norm"] > ACCUMULATING.clip_norm
    assert_proven(ours, theirs)
    assert_proven({"": ours["gradient_norm"]}, {"": norm_of(gradients)})


@package
def test_an_evaluation_uses_the_moving_average(package):
    averaging, plain = make_backend(package, replace(ACCUMULATING, accumulate=1)), make_backend(package)
    state, batch = averaging.init_state(), batches_of((6, 6, 6))[1]
    for _ in range(3):
        state, _ = step(averaging, state, batch)
    arrays = averaging.state_to_arrays(state)
    found = averaging.fetch(averaging.eval_step(state, batch))["losses"]
    logits = averaging.logits_of(state, batch)
    for group, agrees in (("average", True), ("weights", False)):
        kept = {name: array for name, array in arrays.items() if name.split("/")[0] not in ("weights", "average")}
        kept |= {f"weights/{name}": arrays[f"{group}/{name}"] for name in plain.shapes}
        evaluated = plain.state_from_arrays(kept)
        losses = plain.fetch(plain.eval_step(evaluated, batch))["losses"]
        assert prove(losses, found, 0.0).agrees == agrees
        assert prove(plain.logits_of(evaluated, batch), logits, 0.0).agrees == agrees
