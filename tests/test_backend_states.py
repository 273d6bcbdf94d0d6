"""States of each backend as arrays: what they hold, that they are copies, and what is refused."""

import numpy as np
import pytest
from backend_cases import make_backend, make_batch, step

from shared.backend import PACKAGES, Backend
from shared.errors import IsogradError, WeightsError
from shared.initial_weights import initial_weights


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


def test_all_that_does_not_fit_is_named_in_one_error(backend):
    arrays = backend.state_to_arrays(backend.init_state())
    arrays["exp_avg/foreign"] = arrays.pop("exp_avg/classifier.bias")
    arrays["weights/classifier.weight"] = arrays["weights/classifier.weight"].T
    with pytest.raises(WeightsError) as error:
        backend.state_from_arrays(arrays)
    for name in ("exp_avg/foreign", "exp_avg/classifier.bias", "weights/classifier.weight"):
        assert name in str(error.value)


def test_arrays_of_another_dtype_are_refused(backend):
    arrays = backend.state_to_arrays(backend.init_state())
    arrays["weights/classifier.bias"] = arrays["weights/classifier.bias"].astype(np.float64)
    with pytest.raises(IsogradError, match=r"1 of \d+ arrays have another dtype, such as weights/classifier.bias"):
        backend.state_from_arrays(arrays)


@pytest.mark.parametrize("bad_step", [np.array(-1), np.array(1.5)])
def test_a_step_that_is_no_count_is_refused(backend, bad_step):
    arrays = backend.state_to_arrays(backend.init_state())
    with pytest.raises(IsogradError, match="integer of at least 0"):
        backend.state_from_arrays({**arrays, "step": bad_step})
