"""Both backends, one run: equal starts, equal loss curves, states exchanged between them, and reproducible bits."""

import functools

import jax
import numpy as np
import pytest

from crosscheck.runs.lockstep import BOUNDS
from shared.backend import NOTHING_ELSE, Backend, Batch, State, load_backend
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import AdamWConfig, ParameterGroup, TrainingConfig

pytestmark = pytest.mark.slow

BACKENDS = ("torch", "jax")
AGREEMENT = BOUNDS["float64"]
STEPS, DROPOUT_STEPS, HANDOVER = 200, 30, 10
LEARNING_RATE = 3e-3
VOCABULARY, LENGTH, BATCH, FILLED = 31, 7, 5, 2
GRU_SIZES = {"vocabulary_size": VOCABULARY, "embedding_size": 6, "hidden_size": 11}
TRANSFORMER_SIZES = {
    "vocabulary_size": VOCABULARY,
    "sequence_length": LENGTH,
    "embed_dim": 9,
    "hidden_dim": 13,
    "num_heads": 3,
}
MODELS = {
    "encoder": ("ReviewClassifierGRU", {**GRU_SIZES, "encoder_only": True}),
    "decoder": ("ReviewClassifierGRU", {**GRU_SIZES, "with_attention": False}),
    "attention": ("ReviewClassifierGRU", GRU_SIZES),
    "prenorm": ("ReviewClassifierTransformer", {**TRANSFORMER_SIZES, "num_layers": 2}),
    "postnorm": ("ReviewClassifierTransformer", {**TRANSFORMER_SIZES, "num_layers": 1, "block": "postnorm"}),
}
WITH_DROPOUT = ("attention", "postnorm")  # covers every place that draws masks
ALL_AT_ONCE = TrainingConfig(
    clip_norm=0.3, groups=(ParameterGroup(("*.bias",), weight_decay=0.0),), accumulate=3, average_decay=0.9
)  # a run is handed over within an update: HANDOVER is not a multiple of 3
TRAININGS = pytest.mark.parametrize("training", [NOTHING_ELSE, ALL_AT_ONCE], ids=["plain", "all_at_once"])


@pytest.fixture(scope="module", autouse=True)
def _settings_of_jax():
    """A float64 backend turns on x64 for the process; restore the settings for the tests of other files."""
    before = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    yield
    jax.config.update("jax_enable_x64", before[0])
    jax.config.update("jax_default_matmul_precision", before[1])
    make_backend.cache_clear()
    curve.cache_clear()


@functools.cache
def make_backend(name: str, model: str, dropout: float, dtype: str, training: TrainingConfig = NOTHING_ELSE) -> Backend:
    twin, sizes = MODELS[model]
    config = ModelConfig(twin, {**sizes, "dropout": dropout})
    optimizer = AdamWConfig(learning_rate=LEARNING_RATE, beta_1=0.8, beta_2=0.99, eps=1e-6, weight_decay=0.1)
    return load_backend(name, model=config, optimizer=optimizer, training=training, seed=5, dtype=dtype)


def make_batch(step: int) -> Batch:
    """Padded rows whose class can be learnt; every third batch is filled up with rows of weight 0."""
    generator = np.random.default_rng(step % 9)
    lengths = generator.integers(1, LENGTH + 1, BATCH).astype(np.int32)
    mask = np.arange(LENGTH) < lengths[:, None]
    weights = np.ones(BATCH, np.float32)
    if step % 3 == 2:
        mask[-FILLED:], weights[-FILLED:] = False, 0.0
    ids = np.where(mask, generator.integers(1, VOCABULARY, mask.shape), 0).astype(np.int32)
    labels = (ids[:, 0] % 2).astype(np.int32)
    return {"ids": ids, "mask": mask, "labels": labels, "weights": weights, "lengths": lengths}


def train(backend: Backend, state: State, first: int, last: int) -> tuple[State, np.ndarray]:
    losses = []
    for step in range(first, last):
        rate = LEARNING_RATE * (1 - step / (2 * STEPS))
        state, metrics = backend.train_step(state, make_batch(step), rate)
        losses.append(backend.fetch(metrics)["loss"])
    return state, np.array(losses)


@functools.cache
def curve(name: str, model: str, dropout: float, steps: int, training: TrainingConfig = NOTHING_ELSE) -> np.ndarray:
    backend = make_backend(name, model, dropout, "float64", training)
    return train(backend, backend.init_state(), 0, steps)[1]


def largest_gap(ours: np.ndarray, theirs: np.ndarray) -> float:
    gap = np.abs(ours - theirs).max()
    print(f"largest gap of {len(ours)} losses: {gap:.1e}")
    return gap


def assert_same_bits(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()]
    assert different == []


@pytest.mark.optimised
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("model", MODELS)
def test_both_backends_start_from_the_same_bytes(model, dtype):
    ours, theirs = (make_backend(name, model, 0.0, dtype) for name in BACKENDS)
    assert_same_bits(ours.state_to_arrays(ours.init_state()), theirs.state_to_arrays(theirs.init_state()))


@pytest.mark.parametrize("model", MODELS)
def test_the_loss_curves_agree_at_every_step(model):
    ours, theirs = (curve(name, model, 0.0, STEPS) for name in BACKENDS)
    assert largest_gap(ours, theirs) <= AGREEMENT
    assert ours[-9:].mean() < ours[:9].mean()  # it learnt, so equal curves mean something


@pytest.mark.parametrize("model", WITH_DROPOUT)
def test_the_loss_curves_agree_at_every_step_with_dropout_on(model):
    ours, theirs = (curve(name, model, 0.3, DROPOUT_STEPS) for name in BACKENDS)
    assert largest_gap(ours, theirs) <= AGREEMENT
    assert np.abs(ours - curve("torch", model, 0.0, STEPS)[:DROPOUT_STEPS]).min() > AGREEMENT  # masks were drawn


@TRAININGS
@pytest.mark.parametrize(("giver", "taker"), [BACKENDS, BACKENDS[::-1]])
def test_a_run_handed_to_the_other_backend_goes_on_along_the_same_curve(giver, taker, training):
    uninterrupted = curve(giver, "attention", 0.3, DROPOUT_STEPS, training)
    ours, theirs = (make_backend(name, "attention", 0.3, "float64", training) for name in (giver, taker))
    state, _ = train(ours, ours.init_state(), 0, HANDOVER)
    _, losses = train(theirs, theirs.state_from_arrays(ours.state_to_arrays(state)), HANDOVER, DROPOUT_STEPS)
    assert largest_gap(losses, uninterrupted[HANDOVER:]) <= AGREEMENT


@TRAININGS
@pytest.mark.parametrize("name", BACKENDS)
def test_a_state_survives_the_way_through_the_other_backend_to_the_byte(name, training):
    other = BACKENDS[1 - BACKENDS.index(name)]
    ours, theirs = (make_backend(each, "attention", 0.3, "float64", training) for each in (name, other))
    arrays = ours.state_to_arrays(train(ours, ours.init_state(), 0, 4)[0])
    assert arrays["step"] == 4
    assert_same_bits(theirs.state_to_arrays(theirs.state_from_arrays(arrays)), arrays)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_restored_run_has_the_bits_of_an_uninterrupted_one(name, dtype):
    backend = make_backend(name, "attention", 0.3, dtype)
    whole, losses = train(backend, backend.init_state(), 0, 2 * HANDOVER)
    half, first_losses = train(backend, backend.init_state(), 0, HANDOVER)
    restored, last_losses = train(
        backend, backend.state_from_arrays(backend.state_to_arrays(half)), HANDOVER, 2 * HANDOVER
    )
    assert_same_bits(backend.state_to_arrays(restored), backend.state_to_arrays(whole))
    assert np.concatenate([first_losses, last_losses]).tobytes() == losses.tobytes()


@pytest.mark.parametrize("name", BACKENDS)
def test_two_runs_of_one_seed_have_the_same_bits_in_a_fresh_backend(name):
    make_fresh = make_backend.__wrapped__
    first, second = (make_fresh(name, "encoder", 0.0, "float32") for _ in range(2))
    assert_same_bits(
        *(backend.state_to_arrays(train(backend, backend.init_state(), 0, 20)[0]) for backend in (first, second))
    )


@pytest.mark.parametrize("name", BACKENDS)
def test_bfloat16_learns_with_float32_master_weights(name):
    backend = make_backend(name, "attention", 0.3, "bfloat16")
    state, losses = train(backend, backend.init_state(), 0, 60)
    assert np.isfinite(losses).all()
    assert losses.dtype == np.float32
    assert losses[-9:].mean() < losses[:9].mean()
    assert {array.dtype for name, array in backend.state_to_arrays(state).items() if name != "step"} == {np.dtype("f4")}


@pytest.mark.parametrize("model", WITH_DROPOUT)
@pytest.mark.parametrize("name", BACKENDS)
def test_a_fully_masked_row_that_does_not_count_leaves_every_number_finite(name, model):
    backend = make_backend(name, model, 0.3, "float64")
    batch = make_batch(2)
    assert not batch["mask"][-1].any()
    state, metrics = backend.train_step(backend.init_state(), batch, LEARNING_RATE)
    assert np.isfinite(backend.fetch(metrics)["gradient_norm"])
    assert all(np.isfinite(array).all() for array in backend.state_to_arrays(state).values())


@pytest.mark.parametrize("model", WITH_DROPOUT)
def test_evaluations_agree(model):
    results = []
    for name in BACKENDS:
        backend = make_backend(name, model, 0.3, "float64")
        results.append(backend.fetch(backend.eval_step(backend.init_state(), make_batch(0))))
    ours, theirs = results
    assert largest_gap(ours["losses"], theirs["losses"]) <= AGREEMENT
    assert_same_bits({"predictions": ours["predictions"]}, {"predictions": theirs["predictions"]})
