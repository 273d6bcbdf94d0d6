"""Threefry against its published vectors, keys from seeds and names, and the dropout threshold."""

import jax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import rng
from torch_impl import random_bits as torch_bits

ONES = 0xFFFFFFFF
KNOWN_ANSWERS = [  # threefry2x32 with 20 rounds, from the Random123 library: key, counter, result
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def jax_key(key: rng.Key) -> jax.Array:
    return jax.random.wrap_key_data(np.array(key, np.uint32), impl="threefry2x32")


@pytest.mark.parametrize(("key", "counter", "expected"), KNOWN_ANSWERS)
def test_the_published_vectors_come_out(key, counter, expected):
    high, low = (np.array([word], np.uint32) for word in counter)
    assert tuple(int(word[0]) for word in rng.threefry2x32(key, high, low)) == expected


def test_elements_beyond_two_to_the_32_use_the_upper_word_of_the_counter():
    positions = {2**32 - 1: (0, ONES), 2**32: (1, 0), 5 * 2**32 + 7: (5, 7)}
    for position, (high, low) in positions.items():
        x0, x1 = rng.threefry2x32((5, 6), high, low)
        assert rng.random_bits((5, 6), 1, position) == [x0 ^ x1]


@settings(max_examples=30)
@given(st.tuples(*[st.integers(0, ONES)] * 2), st.integers(0, 2**63 - 70_000), st.integers(0, 70_000))
def test_a_stream_is_its_counters_encrypted_one_by_one(key, first, size):
    bits = rng.random_bits(key, size, first)
    assert bits.shape == (size,)
    for element in range(0, size, 4_999):
        x0, x1 = rng.threefry2x32(key, first + element >> 32, first + element & ONES)
        assert bits[element] == x0 ^ x1


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**40 + 5])
def test_a_seed_gives_the_key_of_jax(seed):
    with jax.enable_x64(True):
        key = jax.random.key(seed, impl="threefry2x32")
        assert rng.key_from_seed(seed) == tuple(int(word) for word in jax.random.key_data(key))


def test_a_name_gives_its_own_key():
    names = ["", "a", "b", "blocks.0.dropout", "blocks.1.dropout"]
    assert len({rng.fold_in_name((0, 1), name) for name in names}) == len(names)
    assert rng.fold_in_name((0, 1), "a") == rng.fold_in((0, 1), 0xE8B7BE43)  # CRC-32 of "a"


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5, 0.9, 0.999, 1.0])
def test_the_threshold_keeps_what_jaxs_bernoulli_keeps(rate):
    bits = rng.random_bits((7, 8), 20_000)
    uniform = ((bits >> 9) | 0x3F800000).view(np.float32) - np.float32(1)
    kept = (bits >> 9) < rng.keep_threshold(rate)
    np.testing.assert_array_equal(kept, uniform < np.float32(1 - rate))
    with jax.enable_x64(False):  # otherwise JAX draws float64
        theirs = jax.random.bernoulli(jax_key((7, 8)), 1 - rate, (20_000,))
    np.testing.assert_array_equal(kept, np.asarray(theirs))


@given(probability=st.floats(0, 1))
def test_the_threshold_is_the_first_number_that_is_not_kept(probability):
    threshold = rng.threshold(probability)
    last_kept, first_dropped = (np.float32(number) / np.float32(2**23) for number in (threshold - 1, threshold))
    assert last_kept < np.float32(probability) <= first_dropped


def test_torch_draws_unsigned_numbers_that_fill_32_bits():
    bits = torch_bits.random_bits((1, 1), (4096,))
    assert bits.min() >= 0
    assert int(bits.max()).bit_length() == 32
    assert not torch.equal(bits, torch_bits.random_bits((1, 2), (4096,)))


@pytest.mark.parametrize(("first", "size"), [(2**63 - 1, 1), (2**63 - 3, 3), (2**63, 0)])
def test_a_stream_is_drawn_up_to_its_last_element(first, size):
    encrypted = [rng.threefry2x32((5, 6), at >> 32, at & ONES) for at in range(first, first + size)]
    assert rng.random_bits((5, 6), size, first).tolist() == [x0 ^ x1 for x0, x1 in encrypted]
    assert torch_bits.random_bits((5, 6), (size,), first=first).tolist() == [x0 ^ x1 for x0, x1 in encrypted]
