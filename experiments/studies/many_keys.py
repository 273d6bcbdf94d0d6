"""How many random keys attention can tell apart, as the width d and the number n of keys grow."""

from itertools import takewhile

import numpy as np

from experiments.studies.sides import Side, both, numbers, to_numpy
from experiments.studies.study import ALLOWED, ROUNDING, Claim, Curve, Figure

WIDTHS = (2, 4, 8, 16, 32, 64)  # d
COUNTS = tuple(2**power for power in range(1, 10))  # n
SCALES = (10.0, 30.0, 100.0)  # S


def unit_keys(count: int, width: int, seed: int) -> np.ndarray:
    """Random directions (n, d), evenly distributed."""
    keys = np.random.default_rng([seed, width]).standard_normal((count, width))
    return keys / np.linalg.norm(keys, axis=1, keepdims=True)


def own_weights(side: Side, keys: np.ndarray, scale: float, count: int | None = None) -> np.ndarray:
    """The weight that the query S k_i gives to the key i, among the first `count` keys, for each of those."""
    array, seen = side.array(keys), side.array(np.arange(len(keys)) < (count or len(keys)))
    scores = side.components.pairwise_similarities(scale * array, array)
    weights = side.components.attn_softmax(side.xp.where(seen, scores, -np.inf))
    return np.diagonal(to_numpy(weights))[:count]


def scale_needed(keys: np.ndarray) -> float:
    """The S from which on every key is told apart: the others' weights sum to (n - 1) e^(-S (1 - cos)) at most."""
    cosines = keys @ keys.T - 2 * np.eye(len(keys))
    return float(np.log((len(keys) - 1) * (1 - ALLOWED) / ALLOWED) / (1 - cosines.max()))


def claims_of_many_keys(seed: int, count: int = 64, width: int = 16, scale: float = 5.0) -> list[Claim]:
    """Two claims that are exact, for orthogonal and for random keys."""
    expected = 1 / (1 + (width - 1) * np.exp(-scale))
    orthogonal = numbers(lambda side: abs(own_weights(side, np.eye(width), scale) - expected).max())
    keys = unit_keys(count, width, seed)
    needed = scale_needed(keys)
    lost = numbers(lambda side: 1 - own_weights(side, keys, needed).min())
    rounded = (width + scale) * 2 * ROUNDING
    return [
        Claim(f"Of {width} orthogonal keys, each has the same weight with its own query",
              f"q = S k_i, S = {scale:g}: weight of k_i = 1 / (1 + (d - 1) e^-S)", orthogonal, rounded),
        Claim(f"A scale that follows from the closest two tells {count} random keys apart, d = {width}",
              f"S = ln(19 (n - 1)) / (1 - max cos) = {needed:.3g}: 1 - weight of k_i", lost, ALLOWED),
    ]  # fmt: skip


def figure_of_many_keys(seed: int) -> Figure:
    """The largest n for which every key has most of its own weight, against d, for a few S."""
    curves = [Curve(f"S = {scale:g}", WIDTHS, both(_told_apart, scale, seed)) for scale in SCALES]
    caption = (
        f"How many random keys can be told apart: the largest n (a power of 2, up to {COUNTS[-1]}) for which every "
        f"query S k_i gives at least {1 - ALLOWED:g} of the weight to its own key."
    )
    return Figure("selection_keys", caption, "width d", "number of keys n", curves, "xy")


def _told_apart(side: Side, scale: float, seed: int) -> list[int]:
    """For each width, the largest number of keys of which each has most of its own weight."""
    found = []
    for width in WIDTHS:
        keys = unit_keys(COUNTS[-1], width, seed)
        lost = (1 - own_weights(side, keys, scale, count).min() for count in COUNTS)  # grows with the count
        number = sum(1 for _ in takewhile(ALLOWED.__ge__, lost))
        found.append(COUNTS[number - 1] if number else 1)
    return found
