"""Dropout by each framework's own generator: new masks at each step, the same ones for the same seed and step."""

import functools
import importlib

import numpy as np
import pytest
from backend_cases import MODEL, NO_DROPOUT, OPTIMIZER, make_batch, step
from bounds import is_share

from shared import rng
from shared.backend import PACKAGES, Backend, load_backend
from shared.configs.optimizer import TrainingConfig

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
nnx = pytest.importorskip("flax.nnx")
prove = pytest.importorskip("crosscheck.criterion").prove

SIZE, SEED, STEPS = 100_000, 3, 6
RATES = (0.0, 0.1, 0.3, 0.9)
package = pytest.mark.parametrize("package", PACKAGES)


@pytest.fixture(autouse=True)
def _in_float64(settings_of_jax):
    jax.config.update("jax_enable_x64", True)


def dropped(package: str, rate: float, *, seed: int = SEED, step: int = 0, key: rng.Key | None = None) -> np.ndarray:
    """Ones after dropout at this step of a run with this seed, or with this key."""
    module, weights = (importlib.import_module(f"{package}_impl.{name}") for name in ("dropout", "weights"))
    layer = module.Dropout(rate) if package == "torch" else module.Dropout(rate, rngs=nnx.Rngs(0))
    layer.train()
    module.seed_dropout(layer, key or rng.fold_in(rng.key_from_seed(seed), step), "native")
    return weights.to_numpy(layer(weights.to_tensor(np.ones(SIZE, np.float32))))


@package
@pytest.mark.parametrize("rate", RATES)
def test_the_share_that_is_dropped_is_the_rate_and_the_rest_is_scaled_to_keep_the_mean(package, rate):
    for seed in range(5):
        found = dropped(package, rate, seed=seed)
        assert is_share(np.count_nonzero(found == 0), SIZE, rate)
        (scale,) = set(found[found != 0].tolist())
        assert scale == np.float32(1) / np.float32(1 - rate)


@package
@pytest.mark.parametrize(("seeds", "steps"), [((SEED, SEED), (0, 1)), ((SEED, SEED), (7, 8)), ((1, 2), (4, 4))])
def test_masks_of_other_steps_and_seeds_are_independent(package, seeds, steps):
    ours, theirs = (dropped(package, 0.3, seed=seed, step=at) > 0 for seed, at in zip(seeds, steps, strict=True))
    assert is_share(np.count_nonzero(ours & theirs), SIZE, 0.7**2)


def test_both_words_of_a_key_matter():
    for other in ((6, 7), (5, 8)):
        ours, theirs = (dropped("jax", 0.3, key=key) > 0 for key in ((5, 7), other))
        assert is_share(np.count_nonzero(ours & theirs), SIZE, 0.7**2)
    dropped("torch", 0.3, key=(5, 7))
    assert torch.initial_seed() == 5 << 32 | 7  # torch's generator uses its lower word on a CPU, all of it on a GPU


@package
def test_the_mask_of_a_seed_and_step_is_the_same_whatever_was_drawn_before(package):
    first = dropped(package, 0.3, step=5)
    torch.rand(17)
    dropped(package, 0.3, step=6)
    assert np.array_equal(dropped(package, 0.3, step=5), first)


@functools.cache
def make_backend(package: str, kind: str, seed: int = SEED, copy: int = 0) -> Backend:
    """A different one for each `copy`, as in a resumed run."""
    training = TrainingConfig(dropout_rng=kind)
    return load_backend(package, model=MODEL, optimizer=OPTIMIZER, training=training, seed=seed, dtype="float64")


def train(backend: Backend, state, first: int, last: int, rate: float = 0.01):
    losses = []
    for _ in range(first, last):
        state, metrics = step(backend, state, make_batch(), rate)
        losses.append(float(metrics["loss"]))
    return backend.state_to_arrays(state), losses


@pytest.mark.slow
@package
def test_every_step_of_a_run_has_its_own_masks_and_so_has_every_seed(package):
    ours, other = make_backend(package, "native"), make_backend(package, "native", seed=SEED + 1)
    _, losses = train(ours, ours.init_state(), 0, STEPS, rate=0.0)
    start = other.state_from_arrays(ours.state_to_arrays(ours.init_state()))
    _, others = train(other, start, 0, STEPS, rate=0.0)
    assert len({*losses, *others}) == 2 * STEPS


@pytest.mark.slow
@package
@pytest.mark.parametrize("kind", ["native", "shared"])
def test_a_resumed_run_has_the_bits_of_the_uninterrupted_one(package, kind):
    backend, resumed = make_backend(package, kind), make_backend(package, kind, copy=1)
    whole, losses = train(backend, backend.init_state(), 0, STEPS)
    half, first = train(backend, backend.init_state(), 0, 2)
    torch.manual_seed(0)
    ended, second = train(resumed, resumed.state_from_arrays(half), 2, STEPS)
    assert first + second == losses
    assert all(array.tobytes() == ended[name].tobytes() for name, array in whole.items())


@package
def test_an_evaluation_drops_nothing(package):
    backend = make_backend(package, "native")
    plain = load_backend(package, model=NO_DROPOUT, optimizer=OPTIMIZER, seed=SEED, dtype="float64")
    ours, theirs = (b.fetch(b.eval_step(b.init_state(), make_batch()))["losses"] for b in (backend, plain))
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(("kind", "agrees"), [("shared", True), ("native", False)])
def test_only_shared_masks_are_those_of_the_other_framework(kind, agrees):
    losses = [train(backend, backend.init_state(), 0, 1)[1] for backend in (make_backend(p, kind) for p in PACKAGES)]
    assert prove(*map(np.array, losses), 0.0).agrees == agrees
