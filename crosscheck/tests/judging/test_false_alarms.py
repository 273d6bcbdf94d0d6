"""How often the noise rule alarms without a mistake, and gradients of 0 in theory, whose noise it must know."""

import copy
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bounds import is_rare, is_share

from crosscheck.criterion import DRAWS, MORE_DRAWS, NOISE_RATIO, movement, norm, prove, unit_roundoff
from crosscheck.judging.false_alarms import are_beyond, are_open, is_open, rate, rate_of_one_tensor
from crosscheck.recording.rounding.taken_apart import APART, OTHERWISE, parts_of
from crosscheck.recording.shadows import Shadows, read
from crosscheck.runs.random_rounding import RandomRounding

ROWS, COLUMNS = 64, 7
TENSORS_OF_ONE_NUMBER, STEPS = 10, 1000  # losses, norms, and a bias with its moments and averages


@pytest.mark.parametrize(("draws", "ratio"), [(DRAWS, 2.0), (4, 1.0)])
def test_the_computed_rate_is_that_of_normal_numbers(draws, ratio):
    tries, generator = 200_000, np.random.default_rng(0)
    errors, largest = (
        generator.normal(0, ratio, tries),
        np.maximum.reduce(np.abs(generator.normal(size=(draws, tries)))),
    )
    assert is_share(np.count_nonzero(np.abs(errors) > NOISE_RATIO * largest), tries, rate(draws, ratio=ratio))


def test_a_certificate_of_many_steps_hardly_ever_alarms_without_a_mistake():
    assert is_rare(rate_of_one_tensor(), TENSORS_OF_ONE_NUMBER * STEPS)
    assert not is_rare(2 * rate(DRAWS), TENSORS_OF_ONE_NUMBER * STEPS)


def test_a_tensor_alarms_beyond_all_draws_or_far_beyond_the_first_on_either_side():
    first, more = rate(MORE_DRAWS, ratio=4.0), rate(draws=DRAWS, times=NOISE_RATIO**2, ratio=4.0)
    assert rate_of_one_tensor(4.0) == 2 * (first + more)
    assert min(first, more) > 0


def test_only_a_tensor_that_is_far_off_needs_no_more_draws():
    for error, asks in ((NOISE_RATIO + 1, True), (NOISE_RATIO * 2 + 1, True), (NOISE_RATIO**2 + 1, False)):
        row = SimpleNamespace(agrees=False, bound=1.0, phase="forward", error=error)
        assert are_beyond([row], np.dtype("float32")) == asks
    assert not are_beyond([row], np.dtype("float64"))


def test_only_an_error_near_its_bound_is_open():
    errors = np.array([1.0, 2.0, NOISE_RATIO, NOISE_RATIO + 1, np.inf, np.nan])
    assert [is_open(error, 1.0) for error in errors] == [False, True, True, False, False, False]
    assert not are_open([], np.dtype("float32"))


def scores_and_gradients(dtype):
    """Scores of a softmax and gradients of its results, whose mean is far above their differences."""
    generator = np.random.default_rng(1)
    return [generator.normal(mean, 1, (ROWS, COLUMNS)).astype(dtype) for mean in (0, 3)]


def row_sums_of_torch(scores, gradients):
    """The gradient of what is added to all scores of a row, which is 0 in theory."""
    weights = torch.softmax(scores, -1)
    return torch.ops.aten._softmax_backward_data(gradients, weights, -1, weights.dtype).sum(-1)


def row_sums_of_jax(scores, gradients):
    _, backward = jax.vjp(lambda x: jax.nn.softmax(x, -1), scores)
    return np.asarray(backward(gradients)[0].sum(-1)).astype(float)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_shadows_move_the_gradient_of_a_shift_of_all_scores_as_far_as_either_framework_is_off(dtype):
    arrays = scores_and_gradients("float32")
    tensors = [torch.from_numpy(array).to(getattr(torch, dtype)) for array in arrays]
    with Shadows(tensors[0].dtype, DRAWS):
        exact, *moved = read(row_sums_of_torch(*tensors))
    both = row_sums_of_torch(*tensors).double().numpy(), row_sums_of_jax(*(jnp.asarray(a, dtype) for a in arrays))
    noise = max(movement(each, exact) for each in moved)
    assert all(norm(side - exact) < NOISE_RATIO * noise for side in both)


def test_random_rounding_moves_it_as_well():
    arrays = scores_and_gradients("float32")
    tensors = [torch.from_numpy(array) for array in arrays]
    wide = [tensor.double() for tensor in tensors]
    exact = row_sums_of_torch(*wide).numpy()
    with RandomRounding(unit_roundoff(np.dtype("float32")), seed=0):
        moved = row_sums_of_torch(*wide).numpy()
    assert norm(row_sums_of_torch(*tensors).double().numpy() - exact) < movement(moved, exact)


X = torch.linspace(-3, 40, 24, dtype=torch.float64).reshape(2, 3, 4).flip(1)
CALLS = {
    "_softmax": (X, 1, False),
    "_softmax_backward_data": (X, X.softmax(1), 1, torch.float64),
    "_log_softmax": (X, 1, False),
    "_log_softmax_backward_data": (X, X.log_softmax(1), 1, torch.float64),
    "_fused_adamw_": ([X], [X.sin()], [X.cos()], [X.abs()], [], [torch.tensor(3.0)]),
}
ADAMW = {"lr": 0.1, "beta1": 0.7, "beta2": 0.8, "weight_decay": 0.3, "eps": 0.2, "amsgrad": False, "maximize": False}


def made(operation, function):
    """What a function returns, or writes in place, where it is called as the operation is."""
    arguments = copy.deepcopy(CALLS[operation.overloadpacket.__name__])
    options = ADAMW if operation._schema.is_mutable else {}
    found = function(*arguments, **options)
    return [found] if found is not None else [tensors[0] for tensors in arguments[:1] + arguments[2:4]]


@pytest.mark.parametrize("operation", APART, ids=lambda operation: operation.overloadpacket.__name__)
def test_the_parts_of_an_operation_do_what_it_does(operation):
    for ours, theirs in zip(made(operation, APART[operation]), made(operation, operation), strict=True):
        assert prove(ours.numpy(), theirs.numpy(), 0.0).agrees


@pytest.mark.parametrize("option", OTHERWISE)
def test_an_option_that_the_parts_leave_out_keeps_the_operation_whole(option):
    operation = torch.ops.aten._fused_adamw_.default
    assert parts_of(operation, CALLS["_fused_adamw_"], ADAMW) is APART[operation]
    assert parts_of(operation, CALLS["_fused_adamw_"], {**ADAMW, option: True}) is None
