"""The states of each backend as arrays: what they hold, that they are copies, and what is refused."""

import numpy as np
import pytest
from backend_cases import MODEL, OPTIMIZER, make_backend, make_batch, step

from shared.arrays import Arrays
from shared.backend import NOTHING_ELSE, PACKAGES, Backend, load_backend
from shared.configs.optimizer import (
    OPTIMIZERS,
    AdamWConfig,
    OptimizerConfig,
    ParameterGroup,
    RMSpropConfig,
    SGDConfig,
    TrainingConfig,
)
from shared.errors import IsogradError, WeightsError
from shared.initial_weights import initial_weights
from shared.training_state import GRADIENT_SUM, WEIGHTS, groups_of, initial_arrays

EVERY_OPTIMIZER = [*(config() for config in OPTIMIZERS.values()), SGDConfig(momentum=0.9)]
ACCUMULATING = TrainingConfig(accumulate=3, average_decay=0.9)


@pytest.fixture(scope="module", params=PACKAGES)
def backend(request) -> Backend:
    return make_backend(request.param)


def test_a_fresh_state_holds_the_initial_weights_zero_moments_and_step_zero(backend):
    arrays = backend.state_to_arrays(backend.init_state())
    weights = {name.removeprefix("weights/"): array for name, array in arrays.items() if name.startswith("weights/")}
    expected = initial_weights({name: array.shape for name, array in weights.items()}, seed=3)
    assert all(np.array_equal(weights[name], expected[name]) for name in weights)
    moments = [array for name, array in arrays.items() if name.startswith("exp_avg")]
    assert len(moments) == 2 * len(weights)
    assert not any(array.any() for array in moments)
    assert arrays["step"].dtype == np.int64
    assert arrays["step"] == 0


def test_every_array_of_a_state_is_contiguous_and_in_the_master_dtype(backend):
    arrays = backend.state_to_arrays(step(backend, backend.init_state(), make_batch())[0])
    assert all(array.flags.c_contiguous for array in arrays.values())
    assert {array.dtype for name, array in arrays.items() if name != "step"} == {np.dtype(np.float32)}


def test_a_loaded_state_shares_no_memory_with_the_arrays(backend):
    arrays = backend.state_to_arrays(backend.init_state())
    kept = {name: array.copy() for name, array in arrays.items()}
    state = backend.state_from_arrays(arrays)
    for array in arrays.values():
        array[...] = 7
    assert all(np.array_equal(array, kept[name]) for name, array in backend.state_to_arrays(state).items())
    step(backend, backend.state_from_arrays(kept), make_batch())
    assert kept["step"] == 0
    assert not kept["exp_avg/classifier.bias"].any()


def test_saved_arrays_do_not_move_with_the_run(backend):
    state = backend.init_state()
    arrays = backend.state_to_arrays(state)
    kept = {name: array.copy() for name, array in arrays.items()}
    step(backend, state, make_batch())
    assert all(np.array_equal(array, kept[name]) for name, array in arrays.items())


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("already_done", [0, 1, 2])
def test_a_snapshot_is_left_as_it_is_by_later_steps(name, already_done):
    """Within an update and at its end: every group of the state moves at one of them."""
    backend = with_optimizer(name, AdamWConfig(), ACCUMULATING)
    state = backend.init_state()
    for _ in range(already_done):
        state, _ = step(backend, state, make_batch())
    kept, expected = backend.snapshot(state), backend.state_to_arrays(state)
    for _ in range(ACCUMULATING.accumulate):
        state, _ = step(backend, state, make_batch())
    found, after = backend.state_to_arrays(kept), backend.state_to_arrays(state)
    assert [name for name in expected if found[name].tobytes() != expected[name].tobytes()] == []
    assert any(after[name].tobytes() != expected[name].tobytes() for name in expected)


def addresses(state) -> set[int]:
    """Of its tensors' memory."""
    tensors = [tensor for group in state.values() if isinstance(group, dict) for tensor in group.values()]
    return {each.data_ptr() if hasattr(each, "data_ptr") else each.unsafe_buffer_pointer() for each in tensors}


def test_a_snapshot_has_memory_of_its_own(backend):
    """A step on a GPU takes that of its state away."""
    state = backend.init_state()
    assert addresses(backend.snapshot(state)).isdisjoint(addresses(state))


def test_everything_that_does_not_fit_is_named_in_one_error(backend):
    arrays = backend.state_to_arrays(backend.init_state())
    arrays["exp_avg/foreign"] = arrays.pop("exp_avg/classifier.bias")
    arrays["weights/classifier.weight"] = arrays["weights/classifier.weight"].T
    with pytest.raises(WeightsError) as error:
        backend.state_from_arrays(arrays)
    for name in ("exp_avg/foreign", "exp_avg/classifier.bias", "weights/classifier.weight"):
        assert name in str(error.value)


def test_arrays_of_the_wrong_dtype_are_refused(backend):
    arrays = backend.state_to_arrays(backend.init_state())
    arrays["weights/classifier.bias"] = arrays["weights/classifier.bias"].astype(np.float64)
    with pytest.raises(IsogradError, match=r"1 of \d+ arrays have another dtype, such as weights/classifier.bias"):
        backend.state_from_arrays(arrays)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_count_of_gathered_rows_is_kept_in_the_master_dtype(name):
    backend = with_optimizer(name, AdamWConfig(), ACCUMULATING)
    arrays = arrays_of(backend) | {"gathered": np.array(5, np.int64)}
    kept = backend.state_to_arrays(backend.state_from_arrays(arrays))["gathered"]
    assert (kept.dtype, kept) == (np.float32, 5)


@pytest.mark.parametrize("bad_step", [np.array(-1), np.array(1.5)])
def test_a_step_that_is_not_a_count_is_refused(backend, bad_step):
    arrays = backend.state_to_arrays(backend.init_state())
    with pytest.raises(IsogradError, match="integer of at least 0"):
        backend.state_from_arrays({**arrays, "step": bad_step})


def arrays_of(backend: Backend) -> Arrays:
    return backend.state_to_arrays(backend.init_state())


def with_optimizer(name: str, optimizer: OptimizerConfig, training: TrainingConfig = NOTHING_ELSE) -> Backend:
    return load_backend(name, model=MODEL, optimizer=optimizer, training=training)


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("optimizer", EVERY_OPTIMIZER, ids=lambda config: "-".join((config.name, *config.state)))
def test_the_whole_state_within_an_update_survives_the_round_trip_to_the_bit(name, optimizer):
    backend, generator = with_optimizer(name, optimizer, ACCUMULATING), np.random.default_rng(0)
    arrays = {name: generator.standard_normal(array.shape, np.float32) for name, array in arrays_of(backend).items()}
    arrays |= {"step": np.array(4), "gathered": np.array(5, np.float32)}
    groups = {name.split("/")[0] for name in arrays}
    assert groups == {"weights", *optimizer.state, "average", "gradient_sum", "gathered", "step"}
    state = backend.state_from_arrays(arrays)
    for kept in (backend.state_to_arrays(state), backend.state_to_arrays(backend.snapshot(state))):
        assert kept.keys() == arrays.keys()
        assert [name for name in arrays if kept[name].tobytes() != arrays[name].tobytes()] == []


def test_in_torch_a_run_with_groups_that_is_resumed_at_every_step_has_the_bits_of_one_that_never_was():
    """Arrays make a state in the order of the model, and the norm is summed in the order of the state."""
    training = TrainingConfig(clip_norm=0.1, groups=(ParameterGroup(("*.bias",), weight_decay=0.0),))
    backend = load_backend("torch", model=MODEL, optimizer=OPTIMIZER, training=training, seed=3)
    whole, resumed = backend.init_state(), backend.init_state()
    for _ in range(20):
        whole, _ = step(backend, whole, make_batch())
        assert list(whole["weights"]) == list(backend.shapes)
        resumed, _ = step(backend, backend.state_from_arrays(backend.state_to_arrays(resumed)), make_batch())
    ours, theirs = backend.state_to_arrays(whole), backend.state_to_arrays(resumed)
    assert [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()] == []


@pytest.mark.parametrize("name", PACKAGES)
def test_a_state_of_a_different_optimiser_is_refused_with_the_names(name):
    arrays = arrays_of(with_optimizer(name, AdamWConfig()))
    with pytest.raises(WeightsError) as error:
        with_optimizer(name, RMSpropConfig()).state_from_arrays(arrays)
    missing, _, unused = str(error.value).partition("unused")
    assert "square_avg/classifier.bias" in missing
    assert all(f"{group}/classifier.bias" in unused for group in ("exp_avg", "exp_avg_sq"))


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("left_out", ["gathered", "average/classifier.bias", "gradient_sum/classifier.bias", "step"])
def test_an_incomplete_state_is_refused_with_the_missing_name(name, left_out):
    backend = with_optimizer(name, AdamWConfig(), ACCUMULATING)
    arrays = arrays_of(backend)
    arrays.pop(left_out)
    with pytest.raises(WeightsError, match=rf"missing {left_out}\b"):
        backend.state_from_arrays(arrays)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_state_of_a_run_that_sums_gradients_is_refused_by_one_that_does_not(name):
    arrays = arrays_of(with_optimizer(name, AdamWConfig(), ACCUMULATING))
    with pytest.raises(WeightsError) as error:
        with_optimizer(name, AdamWConfig()).state_from_arrays(arrays)
    _, _, unused = str(error.value).partition("unused")
    assert all(left in unused for left in ("average/classifier.bias", "gradient_sum/classifier.bias", "gathered"))


@pytest.mark.parametrize("name", PACKAGES)
def test_batches_of_one_update_share_its_coefficients_and_have_dropout_masks_of_their_own(name):
    backend, batch = make_backend(name, training=ACCUMULATING), make_batch()
    state = backend.init_state()
    given = [backend.arguments({**state, "step": step}, batch, 0.1)[2:] for step in range(6)]
    keys, coefficients = ([np.asarray(each).tolist() for each in part] for part in zip(*given, strict=True))
    updates = [
        np.asarray(backend.updates.coefficients(update, 0.1), np.float32).tolist() for update in (1, 1, 1, 2, 2, 2)
    ]
    assert [np.asarray(each, np.float32).tolist() for each in coefficients] == updates
    assert all(keys.count(key) == 1 for key in keys)


@pytest.mark.parametrize("name", PACKAGES)
def test_no_step_of_a_seed_has_the_dropout_masks_of_any_step_of_another(name):
    backend, keys = make_backend(name), []
    for backend.seed in range(3):
        keys += [np.asarray(backend.key({"step": step})).tolist() for step in range(3)]
    assert all(keys.count(key) == 1 for key in keys)


@pytest.mark.parametrize("name", PACKAGES)
def test_an_update_in_float64_has_coefficients_in_float64(name, settings_of_jax):
    backend = make_backend(name, dtype="float64")
    *_, given = backend.arguments(backend.init_state(), make_batch(), 0.1)
    assert np.asarray(given, np.float64).tobytes() == np.array(backend.updates.coefficients(1, 0.1)).tobytes()


def test_a_run_sums_the_gradients_of_two_batches_and_keeps_nothing_of_frozen_parameters():
    shapes = {"body.weight": (3, 2), "body.bias": (3,)}
    frozen = TrainingConfig(accumulate=2, groups=(ParameterGroup(("*.bias",), trainable=False),))
    trained = {"body.weight": (3, 2)}
    assert groups_of(SGDConfig(), frozen, shapes) == {WEIGHTS: shapes, GRADIENT_SUM: trained}
    assert groups_of(SGDConfig(), TrainingConfig(accumulate=1), shapes) == {WEIGHTS: shapes}


def test_an_average_begins_at_the_weights():
    groups = groups_of(AdamWConfig(), ACCUMULATING, {"body.weight": (3, 2)})
    start = initial_arrays(groups, 0, np.float32)
    assert np.array_equal(start["average/body.weight"], start["weights/body.weight"])
    assert start["weights/body.weight"].any()
    assert not start["exp_avg/body.weight"].any()
