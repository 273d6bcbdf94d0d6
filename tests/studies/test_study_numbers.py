"""What the studies compute is what numpy computes by itself, in both frameworks."""

import inspect

import numpy as np
import pytest
from bounds import roundings_of_an_average_of_two

from crosscheck import criterion
from experiments.studies import complexity, depth, low_rank, many_keys, masking, relative, selection, top_two
from experiments.studies.selection import EXACT, HALF, KEYS, SUM, VALUES
from experiments.studies.sides import both
from shared.errors import IsogradError


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def random_keys(seed, n=6, d=4):
    keys, values = np.random.default_rng(seed).standard_normal((2, n, d))
    return keys / np.linalg.norm(keys, axis=1, keepdims=True), values


def assert_equal(found, expected):
    for each in found:
        assert criterion.prove(np.asarray(expected), np.asarray(each), 0.0).agrees


@pytest.mark.parametrize("query", [EXACT, HALF, SUM])
def test_errors_of_a_query_are_those_of_numpy(query):
    K, V = random_keys(3)
    p = {EXACT: np.linalg.pinv(K[:2]).sum(1), HALF: (K[0] + K[1]) / 2, SUM: K[0] + K[1]}[query]
    scales = np.array([2.0, 9.0])
    expected = []
    for key, target in ((K[2], V[:2].mean(0)), (K[0], V[:3].mean(0)), (p / np.linalg.norm(p), V[2])):
        changed = K.copy()
        changed[2] = key
        expected.append([np.abs(softmax(S * changed @ p) @ V - target).max() for S in scales])
    assert_equal(selection.errors_by_scale(K, V, query, scales), np.array(expected))


def test_the_average_of_two_is_exact_for_the_courses_keys():
    K, V = np.array(KEYS), np.array(VALUES)
    S = inspect.signature(selection.selection).parameters["S"].default
    promised = roundings_of_an_average_of_two(S, K.shape[1])
    assert selection.exact_bound(K, V, S * np.linalg.pinv(K[:2]).sum(1)) <= promised
    for errors in selection.errors_by_scale(K, V, EXACT, np.array([S])):
        assert errors[0, 0] <= promised


def test_the_scales_at_which_half_the_sum_does_all_three_tasks_are_those_of_numpy():
    """From 17 to about 170."""
    K, V = np.array(KEYS), np.array(VALUES)
    p, errors = (K[0] + K[1]) / 2, []
    for key, target in ((K[2], V[:2].mean(0)), (K[0], V[:3].mean(0)), (p / np.linalg.norm(p), V[2])):
        changed = np.stack([K[0], K[1], key, K[3]])
        outputs = softmax(selection.SCALES[:, None] * (changed @ p)) @ V
        errors.append(np.abs(outputs - target).max(1))
    allowed = selection.SCALES[np.max(errors, 0) <= selection.ALLOWED]
    found = selection.errors_by_scale(K, V, HALF, selection.SCALES).map(lambda each: selection._ends(each.max(0)))
    assert found == ((allowed[0], allowed[-1]), (allowed[0], allowed[-1]))


def test_keys_that_are_told_apart_are_those_of_numpy(monkeypatch):
    monkeypatch.setattr(many_keys, "WIDTHS", (2, 5))
    counts, expected = (2, 4, 8), []
    monkeypatch.setattr(many_keys, "COUNTS", counts)
    for width in (2, 5):
        keys = many_keys.unit_keys(8, width, 1)
        own = [np.diagonal(softmax(12.0 * keys[:n] @ keys[:n].T)).min() for n in counts]
        number = np.searchsorted(np.maximum.accumulate(1 - np.array(own)), many_keys.ALLOWED, side="right")
        expected.append([1, *counts][number])
    assert_equal(both(many_keys._told_apart, 12.0, 1), np.array(expected, float))


@pytest.mark.parametrize("p", [{1: 0.3, -1: -0.2, 0: 0.1}, {2: 0.0, -3: 1.0}], ids=str)
def test_relative_attention_of_numbers_is_the_formula(p):
    x = np.random.default_rng(1).standard_normal(6)
    expected = []
    for i in range(6):
        weights = {j: np.exp(0.5 * x[i] * 2 * x[j] + p[i - j]) for j in range(6) if i - j in p}
        total = sum(weights.values())
        expected.append(sum(weight * 3 * x[j] for j, weight in weights.items()) / total if weights else 0.0)
    assert_equal(both(relative.attend, x, p, 0.5, 2.0, 3.0), np.array(expected))


def test_positions_of_minus_infinity_have_no_gradient_and_make_none_a_nan():
    """Each position sees those before it: the first sees nothing."""
    positions, zero = np.full(5, -np.inf), np.zeros(1)
    positions[[3, 4]] = 0.5, -0.5
    maps = {f"{name}_proj.{part}": zero + 0.7 for name in "qkv" for part in ("bias", "weight")}
    weights = {name: array[None] if name.endswith("weight") else array for name, array in maps.items()}

    def gradient(side):
        sizes = {"embed_dim": 1, "head_size": 1, "sequence_length": 3}
        module = side.build("RelativeAttention", sizes, {**weights, "positions": positions})
        found = side.gradients(
            module, lambda module: (module(side.array(np.array([[[1.0], [2.0], [4.0]]]))) ** 2).sum()
        )
        assert all(np.isfinite(array).all() for array in found.values())
        return side.array(found["positions"])

    for found in both(gradient):
        assert (found[:3] == 0).all()
        assert (found[3:] != 0).all()


def test_jacobians_of_the_sigmoid_network_are_products_of_slopes():
    generator = np.random.default_rng(2)
    matrices, x = list(generator.standard_normal((3, 4, 4))), generator.standard_normal(4)
    product, expected, state = np.eye(4), [], x
    for W in matrices:
        state = 1 / (1 + np.exp(-W @ state))
        product = (state * (1 - state))[:, None] * W @ product
        expected.append(product)
    assert_equal(both(depth.sigmoid_jacobians, matrices, x), np.array(expected))


def pretend_interface(logits, calls):
    """The top two of a model in numpy."""

    def ask(biases):
        calls.append(len(biases))
        p = softmax(logits + biases)
        tokens = np.argsort(-p, axis=1)[:, :2]
        return top_two.Answer(tokens, np.take_along_axis(p, tokens, axis=1))

    return ask


@pytest.mark.parametrize("vocabulary", [2, 3, 40])
def test_every_probability_follows_from_the_top_two_in_as_many_calls_as_tokens(vocabulary):
    logits, calls = np.random.default_rng(vocabulary).normal(0, 8, vocabulary), []
    found, truth = top_two.recover(pretend_interface(logits, calls), vocabulary, 80.0), softmax(logits)
    assert sum(calls) == vocabulary
    assert_equal([found / truth], np.ones(vocabulary))


def test_a_bias_that_hides_a_token_is_named():
    logits = np.array([0.0, -1.0, -9.0])
    with pytest.raises(IsogradError, match="with 5, 1 of 2 calls don't show both tokens"):
        top_two.recover(pretend_interface(logits, []), 3, 5.0)


@pytest.mark.parametrize("way", masking.WAYS)
def test_a_way_of_masking_is_what_it_says(way):
    Q, K, V = np.random.default_rng(4).standard_normal((3, 5, 3))
    seen, keys = np.arange(5) != 2, K.copy()
    keys[2] = 0.0
    scores = Q @ K.T / np.sqrt(3)
    weights = {
        masking.RIGHT: softmax(np.where(seen, scores, -np.inf)),
        masking.KEY: softmax(Q @ keys.T / np.sqrt(3)),
        masking.WEIGHT: softmax(scores) * seen,
    }
    found = both(lambda side: masking.WAYS[way](side, *map(side.array, (Q, K, V, seen))))
    assert_equal(found, weights[way] @ V)


def test_the_products_of_low_rank_are_those_of_the_matrix():
    U, V = np.random.default_rng(5).standard_normal((2, 6, 2))
    S, Rt = np.array([2.0, 0.5]), np.random.default_rng(6).standard_normal((2, 6))
    found = both(lambda side: low_rank.multiply(side, *map(side.array, (U, S, Rt, V))))
    assert_equal(found, U @ np.diag(S) @ Rt @ V)


def test_fitted_exponents_are_exact_for_a_power_law_and_within_their_bound_beside_it():
    n, h = np.array([8.0, 16.0, 64.0])[:, None], np.array([4.0, 12.0])
    extra = 0.2 * np.random.default_rng(7).random((3, 2))
    exact = complexity.exponents(5 * n**2 * h**1.5, n, h)
    assert_equal([exact], np.array([2.0, 1.5]))
    off = np.abs(complexity.exponents(5 * n**2 * h**1.5 * (1 + extra), n, h) - exact)
    assert off[0] <= complexity.slope_bound(extra, n)
    assert off[1] <= complexity.slope_bound(extra, h)


def test_the_bound_of_a_fitted_exponent_is_reached_by_what_is_too_large_at_the_long_end():
    n, h = np.array([8.0, 16.0, 64.0])[:, None], np.array([4.0, 12.0])
    extra = np.array([[0.0, 0.0], [0.0, 0.0], [0.2, 0.2]])  # at the one length above the mean of their logarithms
    off = complexity.exponents(5 * n**2 * h * (1 + extra), n, h)[0] - 2.0
    assert_equal([off], complexity.slope_bound(extra, n))


@pytest.mark.parametrize("part", complexity.PARTS)
def test_counted_operations_are_those_of_the_formula(part):
    n, h, heads = 16, 12, 3
    counts = both(complexity._counted, complexity.PARTS[part], (n,), (h,), heads, 0)
    with_torch, with_jax = (each[0, 0, complexity.FLOPS] for each in counts)
    products, beside = {
        "attention": (4 * n**2 * h, complexity.OF_SCORE * heads * n**2),
        "projections": (8 * n * h**2, complexity.OF_OUTPUT * 4 * n * h),
    }[part]
    assert with_torch == products
    assert products <= with_jax <= products + beside


def test_pytorch_allocates_three_arrays_of_scores_a_head():
    """Scores, scaled scores and weights; the rest grows with n alone."""
    lengths, heads = (8, 16, 32), 3
    with_torch, _ = both(complexity._counted, complexity.attention, lengths, (12,), heads, 0)
    coefficient = complexity._quadratic(np.array(lengths), with_torch[:, 0, complexity.BYTES])
    assert_equal([coefficient / (8 * heads)], np.array(3.0))
