"""Study: attention by relative positions as a convolution, and as max pooling."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.studies.checks import check_number, check_size
from experiments.studies.sides import Side, both, numbers
from experiments.studies.study import ALLOWED, ROUNDING, Both, Claim, Curve, Figure, Findings
from shared.errors import IsogradError

LOG_2 = float(np.log(2.0))
RIGHT, PUBLISHED = {1: LOG_2, -1: 0.0}, {1: -LOG_2, -1: LOG_2}  # distance i - j -> p; all others are -inf
PRODUCTS = np.logspace(-1, 5, 13)  # the c of the curve


def relative(steps: int = 12, window: int = 3, c: float = 1e4, seed: int = 0) -> Findings:
    """`steps` inputs drawn by `seed`; max pooling over an odd `window`, with W_Q W_K = c."""
    steps, window = check_size("steps", steps, least=3), check_size("window", window, least=3, most=2 * steps - 1)
    if window % 2 == 0:
        raise IsogradError(f"window: expected an odd number, got {window}: it reaches as far back as ahead")
    c = check_number("c", c, above=0.0)
    generator = np.random.default_rng(check_size("seed", seed, least=0))
    signed, positive = generator.standard_normal(steps), generator.uniform(0.5, 2.0, steps)
    return Findings([*_convolving(signed), *_pooling(positive, window, c)], [_figure(positive, window)])


def attend(side: Side, x: np.ndarray, p: Mapping[int, float], W_Q: float, W_K: float, W_V: float) -> Any:
    """RelativeAttention of numbers: x (T) -> (T), with the scores p by distance, -inf for a distance without one."""
    longest = len(x)
    positions = np.full(2 * longest - 1, -np.inf)
    for distance, score in p.items():
        positions[distance + longest - 1] = score
    maps = {"q_proj": W_Q, "k_proj": W_K, "v_proj": W_V}
    weights = {f"{name}.weight": np.full((1, 1), number) for name, number in maps.items()}
    weights |= {f"{name}.bias": np.zeros(1) for name in maps} | {"positions": positions}
    sizes = {"embed_dim": 1, "head_size": 1, "sequence_length": longest}
    module = side.build("RelativeAttention", sizes, weights)
    return module(side.array(x[None, :, None]))[0, :, 0]


def convolved(x: np.ndarray, before: float, after: float) -> np.ndarray:
    """before x_(i-1) + after x_(i+1), with 0 beyond the ends."""
    padded = np.pad(x, 1)
    return before * padded[:-2] + after * padded[2:]


def _convolving(x: np.ndarray) -> list[Claim]:
    padded = np.pad(x, 1)  # so that every position has both neighbours

    def error(p: Mapping[int, float], target: np.ndarray, given: np.ndarray = padded) -> Both:
        inside = slice(1, -1) if len(given) > len(target) else slice(None)
        return numbers(lambda side: abs(attend(side, given, p, 0.0, 0.0, 3.0)[inside] - side.array(target)).max())

    rounded = (len(padded) + 8) * ROUNDING * 3 * np.abs(x).max()  # exp, sum, quotient, products and their sum
    right, scores = convolved(x, 2, 1), "W_Q = W_K = 0, W_V = 3"
    return [
        Claim("With two finite scores, relative attention is the convolution [2, 0, 1], the ends padded with 0",
              f"{scores}, p_1 = ln 2, p_-1 = 0: y_i = 2 x_(i-1) + x_(i+1)", error(RIGHT, right), rounded),
        Claim("Without the padding it is, too", "the same, at the ends: y_0 = x_1, y_(T-1) = 2 x_(T-2)",
              error(RIGHT, right, x), rounded, wrong=True),
        Claim("The published scores give that convolution", f"{scores}, p_1 = -ln 2, p_-1 = ln 2",
              error(PUBLISHED, right), rounded, wrong=True),
        Claim("The published scores weigh the two neighbours 1 : 4, the wrong one more",
              f"{scores}, p_1 = -ln 2, p_-1 = ln 2: y_i = (3 x_(i-1) + 12 x_(i+1)) / 5",
              error(PUBLISHED, convolved(x, 0.6, 2.4)), rounded),
    ]  # fmt: skip


def pooled(x: np.ndarray, window: int, how: Any = np.max) -> np.ndarray:
    """The largest, or another statistic, of the inputs at most half a window away."""
    half = window // 2
    return np.array([how(x[max(0, i - half) : i + half + 1]) for i in range(len(x))])


def pool(side: Side, x: np.ndarray, window: int, c: float) -> Any:
    """RelativeAttention with W_Q W_K = c, W_V = 1 and equal scores for all positions of the window."""
    half = window // 2
    return attend(side, x, {i: 0.0 for i in range(-half, half + 1) if abs(i) < len(x)}, c, 1.0, 1.0)


def pooling_bound(x: np.ndarray, window: int, c: float) -> float:
    """Each other input x_j < max x has the weight e^(-c |x_i| (max x - x_j)) at most, and t e^(-a t) <= 1 / (e a)."""
    return (min(window, len(x)) - 1) / (np.e * c * np.abs(x).min())


def _pooling(x: np.ndarray, window: int, c: float) -> list[Claim]:
    def error(x: np.ndarray, c: float, how: Any = np.max, at: slice = slice(None)) -> Both:
        target = pooled(x, window, how)[at]
        return numbers(lambda side: abs(pool(side, x, window, c)[at] - side.array(target)).max() / np.abs(x).max())

    with_zero, small = x.copy(), x / 10
    middle = len(x) // 2
    with_zero[middle] = 0.0
    at_zero = slice(middle, middle + 1)
    rounded = (len(x) + 4) * ROUNDING
    score = f"W_Q W_K = c = {c:g}, p = 0 in the window"
    return [
        Claim("With a large product of W_Q and W_K, it is max pooling of positive inputs",
              f"{score}: (max x_j - y_i) / max x <= (window - 1) / (e c min x max x)",
              error(x, c), pooling_bound(x, window, c) / x.max() + rounded),
        Claim("Of negative inputs it is min pooling", f"{score}: y_i = min x_j",
              error(-x, c, np.min), pooling_bound(x, window, c) / x.max() + rounded),
        Claim("It is max pooling where x_i = 0, too", f"{score}, x_i = 0: y_i = max x_j",
              error(with_zero, c, np.max, at_zero), ALLOWED, wrong=True),
        Claim("Where x_i = 0 all scores are 0: it averages", f"{score}, x_i = 0: y_i = mean x_j",
              error(with_zero, c, np.mean, at_zero), rounded),
        Claim("The published W_Q = W_K = 1 is max pooling, without a large product",
              "W_Q = W_K = 1, small x: y_i = max x_j", error(small, 1.0), ALLOWED, wrong=True),
    ]  # fmt: skip


def _figure(x: np.ndarray, window: int) -> Figure:
    def errors(side: Side, x: np.ndarray) -> Any:
        target = side.array(pooled(x, window))
        found = [abs(pool(side, x, window, c) - target).max() / np.abs(x).max() for c in PRODUCTS]
        return side.xp.stack(found)

    inputs = {"x of 0.5 to 2": x, "a tenth of it": x / 10, "with one x_i = 0": np.where(np.arange(len(x)) == 1, 0.0, x)}
    curves = [Curve(label, PRODUCTS, both(errors, values)) for label, values in inputs.items()]
    bounds = [pooling_bound(x, window, c) / x.max() for c in PRODUCTS]
    curves.append(Curve("the bound for the first", PRODUCTS, Both(bounds, bounds)))
    caption = "Max pooling by relative attention: the largest error of an output, by max x, against c = W_Q W_K."
    return Figure("relative_pooling", caption, "c = W_Q W_K", "largest error / max x", curves, "xy")
