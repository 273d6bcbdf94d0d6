"""The rules by which two tensors count as equal, on arrays small enough to check by hand."""

import ml_dtypes
import numpy as np
import pytest
from bounds import roundings_of_a_deep_gradient
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crosscheck import criterion
from crosscheck.judging.judge import Scale, _pairs, verdict_of
from crosscheck.judging.rows import KIND, worst_element
from crosscheck.recording.noise import Noise
from crosscheck.recording.values import Values

ORACLE = np.array([12.0, 16.0])  # norm 20
UNIT = 2.0**-10  # powers of two, so that every bound is exact
SIZES = st.integers(-20, 20).map(lambda power: 2.0**power)
NONE = Scale(0.0, {})


def off(distance: float) -> np.ndarray:
    """The oracle moved by a distance."""
    return ORACLE + np.array([0.0, distance])


def rule(ours: float, theirs: float, *, moved: float = 0.0, roundoff: float = 0.0, oracle=ORACLE, floor: float = 0.0):
    """The verdict on two sides at these distances from the oracle."""
    ours, theirs = (oracle + np.array([0.0, distance]) for distance in (ours, theirs))
    return criterion.compare_noise(ours, theirs, floor, oracle, moved, roundoff)


def test_the_numbers_of_the_rule_are_those_of_the_page_on_equality():
    picked = (criterion.PROOF, criterion.NOISE_RATIO, criterion.DRAWS, criterion.MORE_DRAWS, criterion.FEW_DRAWS)
    assert picked == (1e-12, 3.0, 12, 48, 2)
    assert criterion.LARGE == 5_000_000
    variance = np.array([1 / 3])  # of a number between -1 and 1
    assert criterion.prove(variance, np.array([criterion.SPREAD**2]), 0.0).agrees


@pytest.mark.parametrize(("dtype", "bits"), [("float64", 53), ("float32", 24), ("float16", 11), ("bfloat16", 8)])
def test_a_unit_roundoff_is_half_of_the_last_bit_of_one(dtype, bits):
    assert criterion.unit_roundoff(np.dtype(getattr(ml_dtypes, dtype, dtype))) == 2.0**-bits


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16, np.float64, np.int16])
def test_a_norm_and_a_difference_are_those_of_float64_whatever_the_dtype(dtype):
    array = np.full(100, 300).astype(dtype)  # whose squares float16 does not hold, nor their sum bfloat16
    exact = array.astype(np.float64)
    assert criterion.norm(array) == criterion.difference(array, 0 * array) == np.linalg.norm(exact)


def test_complex_numbers_are_pairs_of_real_ones_along_a_last_axis():
    array = np.array([[3 + 4j, 0j, 0j], [0j, 0j, 12j]])
    assert criterion.as_real(array).shape == (*array.shape, 2)
    assert (criterion.norm(array), criterion.difference(array, array.conj())) == (13.0, 2 * np.hypot(4, 12))


def test_a_tensor_that_is_zero_in_theory_shows_no_error_and_one_that_must_be_equal_shows_all():
    assert criterion.prove(0 * ORACLE, 0 * ORACLE, criterion.norm(ORACLE)).sensitivity == np.inf
    assert criterion.Verdict(error=0.0, bound=0.0, size=0.0).sensitivity == 0.0
    assert criterion.Verdict(error=0.0, bound=1.0).sensitivity == 1.0


# The noise rule: one side's error against three times the noise.


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("times", "agrees"), [(1, True), (3, True), (4, False), (30, False)])
def test_a_side_may_be_off_by_three_times_the_error_of_the_other_and_no_more(times, agrees, swapped):
    distances = (times * UNIT, UNIT)[:: -1 if swapped else 1]
    assert rule(*distances).agrees == agrees


@pytest.mark.parametrize(("times", "agrees"), [(3, True), (4, False), (30, False)])
def test_a_side_may_be_off_by_three_times_the_movement_of_the_oracle_where_the_other_is_exact(times, agrees):
    assert rule(times * UNIT, 0.0, moved=UNIT).agrees == agrees


@pytest.mark.parametrize(("times", "agrees"), [(3, True), (4, False), (30, False)])
@given(scale=SIZES)
def test_a_tensor_may_be_off_by_three_standard_deviations_of_one_rounding_of_its_own(times, agrees, scale):
    distance = times * criterion.SPREAD * UNIT * 20 * scale
    verdict = rule(
        distance * (1 - UNIT), 0.0, roundoff=UNIT, oracle=scale * ORACLE, floor=criterion.norm(50 * scale * ORACLE)
    )
    assert verdict.agrees == agrees


@pytest.mark.parametrize(
    "oracle", [ORACLE, np.array([1.0, -1.0]), np.ones(4), np.array([[0.0, 1.0], [0.0, 0.0]])], ids=str
)
def test_a_bound_that_zeros_would_meet_decides_nothing(oracle):
    size = criterion.norm(oracle)
    for moved, decides in ((size / 16, True), (size / 2, False)):
        verdict = criterion.compare_noise(oracle, oracle, 0.0, oracle, moved, UNIT)
        assert (verdict.agrees, verdict.undecided) == (decides, not decides)


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (2, 3, 0, 1)])
def test_a_bound_that_a_different_order_would_meet_decides_nothing(order):
    oracle = 100 + np.array([1.0, 5.0, 2.0, 7.0])
    distance = criterion.difference(oracle[list(order)], oracle)
    verdict = criterion.compare_noise(oracle, oracle, 0.0, oracle, distance / criterion.NOISE_RATIO, UNIT)
    assert verdict.undecided
    assert criterion.compare_noise(oracle, oracle, 0.0, oracle, UNIT, UNIT**2).agrees


def test_what_the_dtype_or_the_proof_can_not_tell_apart_is_no_different_order():
    alike = 1 + np.array([0.0, UNIT])
    assert criterion.compare_noise(alike, alike, 0.0, alike, UNIT, UNIT).agrees
    nothing = np.array([criterion.PROOF, 0.0])
    assert criterion.compare_noise(nothing, nothing, criterion.norm(ORACLE), nothing, UNIT, UNIT).agrees


def test_an_error_beyond_an_undecided_bound_disagrees():
    verdict = rule(20 * 20, 0.0, moved=20.0)
    assert not verdict.agrees
    assert not verdict.undecided


@given(scale=SIZES)
def test_the_sensitivity_is_the_smallest_error_that_is_seen_relative_to_the_tensor_itself(scale):
    verdict = rule(0.0, 0.0, moved=scale * UNIT, oracle=scale * ORACLE, floor=criterion.norm(10 * scale * ORACLE))
    assert verdict.sensitivity == criterion.NOISE_RATIO * UNIT / 20
    assert criterion.prove(ORACLE, ORACLE, criterion.norm(10 * ORACLE)).sensitivity == 10 * criterion.PROOF


@pytest.mark.parametrize("swapped", [False, True])
def test_an_error_that_is_larger_than_the_sensitivity_is_seen_on_either_side(swapped):
    honest = (UNIT, 2 * UNIT)[:: -1 if swapped else 1]
    distance = rule(*honest).sensitivity * 20
    for side in (0, 1):
        at, beyond = (
            [distance * times if side == each else honest[each] for each in (0, 1)] for times in (1, 1 + UNIT)
        )
        assert not rule(*beyond).agrees
        assert rule(*at).agrees == (side == swapped)  # the nearer one


def test_an_error_beyond_its_bound_is_no_noise_of_the_other_side():
    assert rule(30 * UNIT, UNIT).sensitivity == criterion.NOISE_RATIO * UNIT / 20


def test_an_error_is_not_divided_where_everything_is_zero():
    assert criterion.prove(0 * ORACLE, ORACLE, 0.0).error == criterion.norm(ORACLE)
    assert rule(1.0, 2.0, oracle=0 * ORACLE).error == 2.0


@given(scale=SIZES)
def test_error_and_bound_are_relative_to_the_oracle(scale):
    verdict = rule(2 * scale, scale, oracle=scale * ORACLE)
    assert (verdict.error, verdict.bound) == (2 / 20, 3 / 20)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_random_roundings_that_overflow_grant_nothing(value):
    assert criterion.movement(np.array([value, 1.0]), np.ones(2)) == 0.0
    assert criterion.movement(off(UNIT), ORACLE) == UNIT


# The proof, and non-finite values.


def test_the_proof_leaves_room_for_the_roundings_of_a_deep_gradient_and_no_more():
    assert criterion.PROOF <= roundings_of_a_deep_gradient() <= criterion.PROOF + criterion.PROOF
    assert criterion.prove(off(0.9 * criterion.PROOF * 20), ORACLE, 0.0).agrees
    assert not criterion.prove(off(1.1 * criterion.PROOF * 20), ORACLE, 0.0).agrees


def test_the_proof_measures_a_gradient_that_is_zero_in_theory_against_the_largest():
    noise = np.array([0.0, criterion.PROOF])
    assert criterion.prove(noise, np.zeros(2), floor=criterion.norm(np.array([2.0]))).agrees
    assert not criterion.prove(noise, np.zeros(2), floor=criterion.norm(np.array([0.5]))).agrees


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_the_unit_roundoff_is_what_one_keeps_of_the_next_number(dtype):
    roundoff, one = criterion.unit_roundoff(np.dtype(dtype)), np.ones((), dtype)
    assert one + np.array(roundoff, dtype) == one
    assert one + np.array(4 * roundoff, dtype) != one


@given(arrays(np.float64, 3), arrays(np.float64, 3), st.integers(0, 2))
def test_a_nan_on_either_side_is_no_agreement(ours, theirs, place):
    ours[place] = np.nan
    for pair in ((ours, theirs), (theirs, ours), (ours, ours)):
        assert criterion.difference(*pair) == np.inf


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_a_mask_may_be_filled_with_infinity_or_with_the_largest_number(dtype):
    largest = ml_dtypes.finfo(dtype).max
    ours, theirs = np.array([-np.inf, 1, np.inf], dtype), np.array([-largest, 2, largest], dtype)
    assert criterion.difference(ours, theirs) == 1.0
    assert criterion.difference(ours, -theirs) == np.inf
    assert criterion.norm(theirs) == 2.0


# Which rule applies to what.


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_inputs_must_be_equal_to_the_bit(dtype):
    x = np.linspace(1, 2, 5).astype(dtype)
    noise = None if dtype == "float64" else Noise(Values(inputs={"x": x}), {"inputs": {"x": 1.0}})
    for other, wrong in ((x.copy(), 0), (np.nextafter(x, x + 1), 5)):
        verdict = verdict_of(KIND["input"], "x", x, other, NONE, noise, x.dtype)
        assert (verdict.error, verdict.bound, verdict.agrees) == (wrong, 0.0, wrong == 0)


def test_integers_must_be_equal_and_shapes_and_kinds_of_numbers_alike():
    x = np.arange(4)
    for other in (x + (x == 2), x.astype(float), x[:3], x[None]):
        assert not verdict_of(KIND["output"], "output", x, other, NONE, None, np.dtype("f8")).agrees
    assert verdict_of(KIND["output"], "output", x, x.astype(np.int32), NONE, None, np.dtype("f8")).agrees


@pytest.mark.parametrize("oracle", [{}, {"output": ORACLE[:1]}], ids=["lacks it", "has another shape"])
def test_a_tensor_that_the_float64_run_lacks_or_has_in_another_shape_can_not_agree(oracle):
    noise = Noise(Values(outputs=oracle), {"outputs": {"output": UNIT}})
    verdict = verdict_of(KIND["output"], "output", ORACLE, ORACLE, NONE, noise, np.dtype("f4"))
    assert (verdict.error, verdict.bound, verdict.agrees) == (np.inf, 0.0, False)


@pytest.mark.parametrize(("kind", "judged"), [("intermediate", {"scores"}), ("output", {"scores", "mask"})])
def test_a_mask_of_truths_on_one_side_and_of_numbers_on_the_other_is_judged_only_where_callers_see_it(kind, judged):
    ours = {"scores": np.ones(3), "mask": np.ones(3, bool)}
    assert {name for name, _ in _pairs(KIND[kind], ours, {"scores": np.ones(3), "mask": np.ones(3)})} == judged


def test_a_moment_is_measured_against_the_largest_of_its_group_and_step_and_a_weight_against_itself():
    updates = {
        "1/exp_avg/key.bias": np.zeros(2),
        "1/exp_avg/weight": np.full(4, 1.0),
        "1/exp_avg_sq/weight": np.full(4, 8.0),
        "5/exp_avg/weight": np.full(4, 3.0),
        "1/weights/key.bias": np.zeros(2),
        "1/weights/weight": np.full(4, 7.0),
    }
    gradients = {"key.bias": np.zeros(2), "weight": np.full(4, 5.0)}
    scale = Scale.of(Values(updates=updates, parameter_gradients=gradients, input_gradients={"x": ORACLE}))
    floors = {name: scale.floor("updates", name) for name in updates}
    assert list(floors.values()) == [2.0, 2.0, 16.0, 6.0, 0.0, 0.0]
    assert (scale.floor("parameter_gradients", "key.bias"), scale.floor("outputs", "output")) == (20.0, 0.0)


def test_the_moment_of_a_gradient_that_is_zero_in_theory_may_be_noise_and_its_weight_may_not():
    scale = Scale(0.0, {"1/exp_avg": 2.0})
    ours, theirs = np.array([UNIT, 0.0]), np.array([UNIT, criterion.PROOF])
    for group, agrees in (("exp_avg", True), ("weights", False)):
        verdict = verdict_of(KIND["update"], f"1/{group}/key.bias", ours, theirs, scale, None, np.dtype("f8"))
        assert verdict.agrees == agrees


def test_gradients_are_measured_by_the_largest_of_what_a_caller_sees():
    """Inner gradients, which no caller sees, would widen the bound of all others."""
    seen = Values(parameter_gradients={"weight": ORACLE}, input_gradients={"x": ORACLE / 4})
    inner = Values(**vars(seen) | {"intermediate_gradients": {"layer in[0]": 9 * ORACLE}})
    assert Scale.of(inner).gradients == Scale.of(seen).gradients == criterion.norm(ORACLE)


@pytest.mark.parametrize("shape", [(), (1, 9), (3, 4, 5), (0, 4)])
def test_large_arrays_are_judged_in_blocks_of_which_none_is_left_out(monkeypatch, shape):
    monkeypatch.setattr(criterion, "BLOCK", 4)
    seen = np.zeros(shape, int)
    for at in criterion.blocks(shape):
        seen[at] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("dtype", ["f8", "c16"])
def test_blocks_add_up_to_the_whole(monkeypatch, dtype):
    x, y = (np.random.default_rng(seed).standard_normal((7, 6)).astype(dtype) for seed in (0, 1))
    y[2, 3] = x[2, 3] + 9
    whole = [criterion.norm(x), criterion.difference(x, y)]
    worst = worst_element(x, y)
    monkeypatch.setattr(criterion, "BLOCK", 5)
    for found, of_all in zip([criterion.norm(x), criterion.difference(x, y)], whole, strict=True):
        assert abs(found - of_all) <= roundings_of_a_deep_gradient() * of_all
    assert worst_element(x, y) == worst
    y[4, 1], x[6, 5] = np.nan, np.inf
    assert not np.isfinite(criterion.difference(x, y))


def test_impostors_are_zeros_and_the_entries_in_other_orders_along_every_axis():
    line, table = np.array([1.0, 2, 4]), np.array([[0.0, 1], [2, 5]])
    others = ([0, 0, 0], [4, 2, 1], [4, 1, 2])
    assert list(criterion.impostors(line)) == [np.linalg.norm(line - other) for other in others]
    flipped = [np.flip(table, axis) for axis in (0, 0, 1, 1)]  # of two entries, rolled is flipped
    assert list(criterion.impostors(table)) == [np.linalg.norm(table - other) for other in (0 * table, *flipped)]
