"""Study: what multi-headed attention costs, counted against the length n and the width h."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.studies.checks import check_size, check_sizes
from experiments.studies.counters import count, seconds
from experiments.studies.sides import Side, both
from experiments.studies.study import EPS, Both, Claim, Curve, Figure, Findings
from shared.errors import IsogradError

OF_SCORE = 6  # derived: operations on a score besides products: scale, maximum, difference, exp, sum, quotient
OF_OUTPUT = 1  # derived: operations on an output of a projection besides products: its bias
FLOPS, BYTES = 0, 1

Grid = np.ndarray  # (lengths, widths, 2), FLOPs and bytes


def complexity(
    lengths: tuple[int, ...] = (32, 64, 128, 256),
    widths: tuple[int, ...] = (32, 64, 128),
    heads: int = 2,
    timed: tuple[int, ...] = (64, 256, 1024),
    seed: int = 0,
) -> Findings:
    """Every length n with every width h is counted; the lengths `timed` are measured at the largest width."""
    lengths, widths = check_sizes("lengths", lengths, count=3), check_sizes("widths", widths, count=2)
    timed, heads = check_sizes("timed", timed, count=2), check_size("heads", heads)
    if any(width % heads for width in widths):
        raise IsogradError(f"widths: expected multiples of heads = {heads}, got {list(widths)}")
    seed = check_size("seed", seed, least=0)
    parts = {name: both(_counted, part, lengths, widths, heads, seed) for name, part in PARTS.items()}
    times = both(_timed, timed, widths[-1], heads, seed)
    n, h = np.array(lengths, float)[:, None], np.array(widths, float)
    claims = [*_products(parts, n, h, heads), *_bytes(parts, n, heads), *_times(times, timed, widths[-1])]
    return Findings(claims, [_figure_of_flops(parts, lengths, widths), _figure_of_times(times, timed, widths[-1])])


def _layer(side: Side, width: int, heads: int, seed: int) -> Any:
    return side.build("MultiHeadedAttention", {"head_size": width // heads, "num_heads": heads}, seed)


def attention(side: Side, width: int, heads: int, seed: int) -> Callable[[Any], Any]:
    """Scores, softmax and weighted sums, without projections."""
    return lambda x: side.components.self_attention(x, x, x, n_heads=heads, causal=False)


def projections(side: Side, width: int, heads: int, seed: int) -> Callable[[Any], Any]:
    """The four maps of queries, keys, values and outputs."""
    layer = _layer(side, width, heads, seed)
    return lambda x: (layer.q_proj(x), layer.k_proj(x), layer.v_proj(x), layer.out_proj(x))


def whole(side: Side, width: int, heads: int, seed: int) -> Callable[[Any], Any]:
    """MultiHeadedAttention."""
    layer = _layer(side, width, heads, seed)
    return lambda x: layer(x)


PARTS = {"attention": attention, "projections": projections}


def _counted(side: Side, part: Any, lengths: tuple[int, ...], widths: tuple[int, ...], heads: int, seed: int) -> Grid:
    costs = [
        [count(side, part(side, width, heads, seed), side.array(np.ones((1, length, width)))) for width in widths]
        for length in lengths
    ]
    return np.array(costs, float)


def _timed(side: Side, lengths: tuple[int, ...], width: int, heads: int, seed: int) -> np.ndarray:
    layer = whole(side, width, heads, seed)
    inputs = np.random.default_rng(seed)
    return np.array([seconds(side, layer, side.array(inputs.standard_normal((1, n, width)))) for n in lengths])


def exponents(counts: np.ndarray, n: np.ndarray, h: np.ndarray) -> np.ndarray:
    """The powers of n and of h by least squares in logarithms."""
    logs = [each.ravel() for each in np.broadcast_arrays(np.log(n), np.log(h), 1.0)]
    return np.linalg.lstsq(np.stack(logs, 1), np.log(counts).ravel(), rcond=None)[0][:2]


def slope_bound(extra: np.ndarray, x: np.ndarray) -> float:
    """How far a fitted power can be off if each count is too large by a factor of 1 to 1 + extra."""
    centred = np.log(x).ravel() - np.log(x).mean()
    return float(np.log1p(extra.max()) * np.maximum(centred, 0).sum() / (centred**2).sum() + 64 * EPS)


def _products(parts: dict[str, Both], n: np.ndarray, h: np.ndarray, heads: int) -> list[Claim]:
    formulas = {  # FLOPs of products, their powers of n and h, what is counted beside them
        "attention": ("4 n^2 h", 4 * n**2 * h, (2, 1), OF_SCORE * heads * n**2),
        "projections": ("8 n h^2", 8 * n * h**2, (1, 2), OF_OUTPUT * 4 * n * h),
    }
    claims = []
    for name, (formula, expected, powers, beside) in formulas.items():
        counts, extra = parts[name].map(lambda each: each[..., FLOPS]), beside / expected
        rest = counts.map(_largest_excess, expected)
        words, off = f"The products of the {name} cost {formula} FLOPs", f"|FLOPs / ({formula}) - 1|, the largest"
        claims.append(Claim(words, off, rest, extra.max()))
        fitted = counts.map(exponents, n, h).map(np.subtract, powers).map(np.abs)
        for place, (letter, sizes) in enumerate((("n", n), ("h", h))):
            words, off = (
                f"The fitted power of {letter} is {powers[place]}, of the {name}",
                f"|fitted - {powers[place]}|",
            )
            claims.append(Claim(words, off, fitted.map(np.take, place), slope_bound(extra, sizes)))
    return [*claims, _of_the_sum(parts, n, h, OF_SCORE * heads / (4 * h))]


def _largest_excess(counts: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(counts / expected - 1).max())


def _of_the_sum(parts: dict[str, Both], n: np.ndarray, h: np.ndarray, extra: np.ndarray) -> Claim:
    found = [
        abs(exponents(attention[..., FLOPS] + projections[..., FLOPS], n, h)[0] - 2)
        for attention, projections in zip(parts["attention"], parts["projections"], strict=True)
    ]
    words, formula = (
        "The whole layer is quadratic in n at every length",
        "|fitted power of n - 2|, of 4 n^2 h + 8 n h^2",
    )
    return Claim(words, formula, Both(*found), slope_bound(extra, n), wrong=True)


def _bytes(parts: dict[str, Both], n: np.ndarray, heads: int) -> list[Claim]:
    """At the smallest width, where the scores are most of it."""
    lengths, counts = n[:, 0], parts["attention"].map(lambda each: each[:, 0, BYTES])
    ratio = np.log(lengths[-1] / lengths[-2])
    return [
        Claim("Arrays of n x n scores a head that attention allocates, or in JAX reads and writes",
              "the coefficient of n^2 in the bytes / (8 m)",
              counts.map(lambda each: _quadratic(lengths, each) / (8 * heads))),
        Claim("Power of n between the two largest lengths, of the bytes", "log(bytes ratio) / log(n ratio)",
              counts.map(lambda each: np.log(each[-1] / each[-2]) / ratio)),
    ]  # fmt: skip


def _quadratic(n: np.ndarray, counts: np.ndarray) -> float:
    """The coefficient of n^2 through the smallest, the middle and the largest length."""
    at = [0, len(n) // 2, len(n) - 1]
    return float(np.polyfit(n[at], counts[at], 2)[0])


def _times(times: Both, timed: tuple[int, ...], width: int) -> list[Claim]:
    ratio = np.log(timed[-1] / timed[0])
    return [
        Claim(f"Milliseconds of the layer at n = {timed[-1]}, h = {width}", "forward pass, one example",
              times.map(lambda each: 1e3 * each[-1])),
        Claim("Power of n of the measured time", f"from n = {timed[0]} to {timed[-1]}, h = {width}",
              times.map(lambda each: np.log(each[-1] / each[0]) / ratio)),
    ]  # fmt: skip


def _figure_of_flops(parts: dict[str, Both], lengths: tuple[int, ...], widths: tuple[int, ...]) -> Figure:
    curves = [
        Curve(f"{name}, h = {widths[place]}", lengths, found.map(_flops_of_width, place))
        for name, found in parts.items()
        for place in (0, -1)
    ]
    return Figure("complexity_flops", "Counted FLOPs of the parts of a layer.", "length n", "FLOPs", curves, "xy")


def _flops_of_width(counts: Grid, place: int) -> np.ndarray:
    return counts[:, place, FLOPS]


def _figure_of_times(times: Both, timed: tuple[int, ...], width: int) -> Figure:
    curves = [Curve("", timed, times)]
    caption = f"Measured seconds of a forward pass of the layer, h = {width}, on this machine."
    return Figure("complexity_seconds", caption, "length n", "seconds", curves, "xy")
