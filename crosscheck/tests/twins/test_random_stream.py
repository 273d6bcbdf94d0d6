"""One stream of random numbers: numpy, torch, JAX and `jax.random` draw the same, starting from any element."""

import itertools
import math

import jax
import numpy as np
import pytest
import torch
from bounds import rounding_of_jaxs_normal
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export

from jax_impl import random_bits as jax_side
from shared import rng
from shared.errors import IsogradError
from torch_impl import random_bits as torch_side
from torch_impl.weights import to_numpy

WORDS = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1])
KEYS = st.tuples(WORDS, WORDS)
LONG = rng.CHUNK + 5
SHAPES = st.sampled_from([(), (0,), (1,), (3,), (5, 7, 2), (2, 0, 3), (LONG,)])  # few, since JAX compiles for each
EDGES = [0, 1, 2**31 - 2, 2**32 - 5, 2**32, 2**40 + 3, rng.LENGTH - LONG]
OFFSETS = st.sampled_from(EDGES) | st.integers(0, rng.LENGTH - LONG)
PROBABILITIES = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.5, 0.7, 1 - 2**-24, 1 - 2**-25, 1.0])
CASES = settings(deadline=None, max_examples=25)
DRAWS = ("random_bits", "random_uniform", "random_bernoulli", "random_normal")
EXTRA = {"random_bernoulli": (0.3,)}


def jax_key(key: rng.Key) -> jax.Array:
    return jax.random.wrap_key_data(np.array(key, np.uint32), impl="threefry2x32")


def drawn(draw: str, key: rng.Key, shape: tuple[int, ...], *extra: float, first: int = 0) -> np.ndarray:
    """numpy's numbers."""
    return getattr(rng, draw)(key, math.prod(shape), *extra, first=first).reshape(shape)


def assert_all_draw(expected: np.ndarray, draw: str, key: rng.Key, *rest: object, device: str = "cpu", first: int = 0):
    """Torch and JAX draw exactly these numbers; torch holds the bits in int64."""
    ours = to_numpy(getattr(torch_side, draw)(key, expected.shape, *rest, device=device, first=first))
    assert ours.dtype == (np.int64 if draw == "random_bits" else expected.dtype)
    np.testing.assert_array_equal(ours, expected)
    with jax.default_device(jax.devices(device)[0]):
        theirs = getattr(jax_side, draw)(key, expected.shape, *rest, first=first)
    assert theirs.dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(theirs), expected)


@given(key=KEYS, shape=SHAPES, first=OFFSETS)
@CASES
def test_bits_are_equal_from_any_element_on(key, shape, first):
    assert_all_draw(drawn("random_bits", key, shape, first=first), "random_bits", key, first=first)


@given(key=KEYS, shape=SHAPES, first=OFFSETS)
@CASES
def test_uniform_numbers_are_equal_from_any_element_on(key, shape, first):
    assert_all_draw(drawn("random_uniform", key, shape, first=first), "random_uniform", key, first=first)


@given(key=KEYS, shape=SHAPES, probability=PROBABILITIES, first=OFFSETS)
@CASES
def test_bernoulli_draws_are_equal_from_any_element_on(key, shape, probability, first):
    expected = drawn("random_bernoulli", key, shape, probability, first=first)
    assert_all_draw(expected, "random_bernoulli", key, probability, first=first)


@given(key=KEYS, shape=SHAPES, first=OFFSETS)
@CASES
def test_normal_numbers_are_equal_from_any_element_on(key, shape, first):
    assert_all_draw(drawn("random_normal", key, shape, first=first), "random_normal", key, first=first)


@given(key=KEYS, shape=SHAPES, threshold=st.integers(0, 2**23), first=OFFSETS)
@CASES
def test_a_mask_is_true_where_the_upper_bits_are_below_the_threshold(key, shape, threshold, first):
    upper = drawn("random_bits", key, shape, first=first) >> 9
    for bound in (threshold, *upper.ravel()[-1:].tolist()):  # at the second, the last element is just not below
        assert_all_draw(upper < bound, "random_mask", key, bound, first=first)


@given(key=KEYS, shape=SHAPES, probability=PROBABILITIES)
@CASES
def test_the_numbers_are_those_of_jax_random(key, shape, probability):
    theirs = {
        "random_bits": jax.random.bits(jax_key(key), shape, "uint32"),
        "random_uniform": jax.random.uniform(jax_key(key), shape, "float32"),
        "random_bernoulli": jax.random.bernoulli(jax_key(key), np.float32(probability), shape),
    }
    for draw, expected in theirs.items():
        ours = drawn(draw, key, shape, *([probability] if draw == "random_bernoulli" else []))
        assert ours.dtype == expected.dtype
        np.testing.assert_array_equal(ours, np.asarray(expected))


@pytest.mark.parametrize("draw", [*DRAWS, "random_mask"])
def test_a_stream_begins_with_its_element_0(draw):
    key, extra = (3, 4), {**EXTRA, "random_mask": (2**20,)}.get(draw, ())
    expected = drawn(draw, key, (7,), *extra, first=0)
    np.testing.assert_array_equal(getattr(rng, draw)(key, 7, *extra), expected)
    for side in (torch_side, jax_side):
        np.testing.assert_array_equal(np.asarray(getattr(side, draw)(key, (7,), *extra)), expected)


@pytest.mark.parametrize("key", [(0, 0), (3, 4), (2**32 - 1, 2**31)])
def test_normal_numbers_are_those_of_jax_random_but_for_the_rounding_of_its_erfinv(key):
    ours = rng.random_normal(key, LONG)
    theirs = np.asarray(jax.random.normal(jax_key(key), (LONG,), "float32"))
    assert (np.abs(theirs - ours.astype(np.float64)) <= rounding_of_jaxs_normal() * np.abs(ours)).all()


@given(key=KEYS, number=st.sampled_from([0, 1, 2, 7]))
@CASES
def test_a_key_splits_into_the_keys_of_jax(key, number):
    theirs = jax.random.key_data(jax.random.split(jax_key(key), number)).tolist()
    assert rng.split(key, number) == torch_side.split(key, number) == [tuple(words) for words in theirs]
    assert jax_side.split(key, number).tolist() == theirs


@given(key=KEYS, number=WORDS)
@CASES
def test_a_number_folds_in_as_in_jax(key, number):
    theirs = jax.random.key_data(jax.random.fold_in(jax_key(key), np.uint32(number))).tolist()
    assert rng.fold_in(key, number) == torch_side.fold_in(key, number) == tuple(theirs)
    assert jax_side.fold_in(key, number).tolist() == theirs


@pytest.mark.parametrize("draw", DRAWS)
@given(key=KEYS, first=st.integers(0, 200), size=st.integers(0, 200))
@CASES
def test_a_part_of_a_stream_is_a_slice_of_the_whole(draw, key, first, size):
    extra = EXTRA.get(draw, ())
    part, whole = drawn(draw, key, (size,), *extra, first=first), drawn(draw, key, (first + size,), *extra)
    np.testing.assert_array_equal(part, whole[first:])


@pytest.mark.parametrize("length", [2**32 + 8, 2**40 + 19])
def test_jax_random_goes_on_in_the_same_way_beyond_two_to_the_32(length):
    """JAX's GPU program, where threefry is not a loop, also runs on a CPU, and computes only the slice that is used."""

    def end(key: jax.Array) -> jax.Array:
        return jax.random.bits(key, (length,), "uint32")[length - 16 :]

    anywhere = [export.DisabledSafetyCheck.platform()]
    program = export.export(jax.jit(end), platforms=["cuda"], disabled_checks=anywhere)(jax_key((3, 4)))
    np.testing.assert_array_equal(np.asarray(program.call(jax_key((3, 4)))), rng.random_bits((3, 4), 16, length - 16))


def every_uniform(*_: object, **__: object) -> np.ndarray:
    return np.arange(2**23, dtype=np.float32) / np.float32(2**23)


@pytest.fixture
def every_normal(monkeypatch) -> np.ndarray:
    """The normal number for each of the 2**23 uniform ones, which all three use instead of random ones."""
    monkeypatch.setattr(rng, "random_uniform", every_uniform)
    monkeypatch.setattr(torch_side, "random_uniform", lambda *of: torch.from_numpy(every_uniform()).to(of[2]))
    monkeypatch.setattr(jax_side, "random_uniform", lambda *_: jax.numpy.asarray(every_uniform()))
    return rng.random_normal((0, 0), 2**23)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_every_normal_number_that_can_occur_is_equal(every_normal, device):
    assert_all_draw(every_normal, "random_normal", (0, 0), device=device)


def test_a_traced_key_and_the_x64_mode_change_nothing():
    for draw, (first, x64) in itertools.product(DRAWS, [(0, True), (2**32 - 5, False)]):
        rest, key = EXTRA.get(draw, ()), np.array([3, 4], np.uint32)
        with jax.enable_x64(x64):
            traced = jax.jit(lambda key: getattr(jax_side, draw)(key, (9,), *rest, first=first))(key)  # noqa: B023
        np.testing.assert_array_equal(np.asarray(traced), drawn(draw, (3, 4), (9,), *rest, first=first), strict=True)


def test_jaxs_older_layout_of_bits_is_not_used_where_it_is_switched_on():
    with jax.threefry_partitionable(False):
        assert_all_draw(rng.random_bits((3, 4), 9), "random_bits", (3, 4))
        assert jax_side.split((3, 4), 3).tolist() == [list(key) for key in rng.split((3, 4), 3)]


@pytest.mark.parametrize("side", [torch_side, jax_side], ids=["torch", "jax"])
@pytest.mark.parametrize(("first", "size"), [(-1, 2), (rng.LENGTH, 1), (rng.LENGTH - 1, 2)])
def test_elements_that_do_not_exist_are_refused(side, first, size):
    for draw in (
        rng.random_bits,
        lambda *of: side.random_bits(of[0], (of[1],), first=of[2]),
        lambda *of: side.random_mask(of[0], (of[1],), 5, first=of[2]),
    ):
        with pytest.raises(IsogradError, match=rf"got {size} from {first} on"):
            draw((0, 0), size, first)


@pytest.mark.parametrize("side", [torch_side, jax_side])
def test_draws_begin_with_the_first_element_unless_told(side):
    for draw, extra in {**dict.fromkeys(DRAWS, ()), **EXTRA, "random_mask": (2**22,)}.items():
        found = getattr(side, draw)((3, 4), (5,), *extra)
        np.testing.assert_array_equal(np.asarray(found), getattr(rng, draw)((3, 4), 5, *extra))


@pytest.mark.parametrize("probability", [-0.1, 1.5, math.nan])
def test_a_probability_outside_0_to_1_is_refused(probability):
    for draw in (rng.random_bernoulli, lambda *of: torch_side.random_bernoulli(of[0], (of[1],), of[2])):
        with pytest.raises(IsogradError, match=f"got {probability}"):
            draw((0, 0), 3, probability)


@pytest.mark.gpu
@pytest.mark.parametrize("first", EDGES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (513, 129), (4, 256, 64)])
def test_a_gpu_draws_the_numbers_of_numpy(shape, first):
    for draw in DRAWS:
        rest = EXTRA.get(draw, ())
        start = min(first, rng.LENGTH - math.prod(shape))
        assert_all_draw(drawn(draw, (0x9E3779B9, 5), shape, *rest, first=start), draw, (0x9E3779B9, 5), *rest,
                        device="cuda", first=start)  # fmt: skip


@pytest.mark.gpu
@pytest.mark.parametrize("key", [(0, 1), (1, 16), (2**31, 2**32 - 1)])
def test_a_mask_on_a_gpu_compares_the_bits_of_numpy(key):
    upper = rng.random_bits(key, 5000, 2**32 - 100) >> 9
    for threshold in (0, 1, 16, 5_000_000, 2**23, int(upper[-1])):
        assert_all_draw(upper < threshold, "random_mask", key, threshold, device="cuda", first=2**32 - 100)


@pytest.mark.gpu
def test_on_a_gpu_nothing_is_written_behind_the_numbers_asked_for():
    from shared.kernels.threefry import BLOCK, threefry_bits, threefry_mask

    key, size = torch.tensor([3, 4], device="cuda"), BLOCK // 2 + 1
    for kernel, untouched, rest in ((threefry_bits, -1, ()), (threefry_mask, False, (2**23,))):
        room = torch.full((2 * BLOCK,), untouched, device="cuda")
        kernel[1,](key, room, size, 0, *rest, BLOCK=BLOCK)
        assert torch.equal(room != untouched, torch.arange(2 * BLOCK, device="cuda") < size)


@pytest.mark.gpu
def test_a_compiler_of_steps_is_told_the_mask_of_a_gpu_as_it_is():
    torch.library.opcheck(torch_side._mask_of_kernel, (torch.tensor([3, 4], device="cuda"), (3, 5), 2**22, 7))


@pytest.mark.gpu
def test_jax_random_on_a_gpu_goes_on_beyond_two_to_the_32():
    end = jax.jit(lambda key: jax.random.bits(key, (2**32 + 8,), "uint32")[-16:])
    key = jax.device_put(jax_key((3, 4)), jax.devices("cuda")[0])
    np.testing.assert_array_equal(np.asarray(end(key)), rng.random_bits((3, 4), 16, 2**32 - 8))
