"""How often the noise rule alarms where nothing is wrong, and how many draws of random rounding that takes.

The rule compares an error with the largest of some draws of the noise. A tensor of many numbers has the same size in
every draw; that of one number may be small in all of them. So an error that is near its bound, but beyond it, is judged
once more, by more draws.
"""

import math
from collections.abc import Sequence

import numpy as np

from crosscheck.criterion import DRAWS, MORE_DRAWS, NOISE_RATIO
from crosscheck.judging.rows import Row
from crosscheck.recording.recording import PROOF_DTYPE

FARTHEST, POINTS = 12.0, 10_001  # deviations of a draw, and where the density is evaluated


def is_open(error: float, bound: float) -> bool:
    """True for an error beyond its bound that more draws may still explain."""
    return bound < error <= NOISE_RATIO * bound


def are_beyond(rows: Sequence[Row], dtype: np.dtype) -> bool:
    """True if any row does not agree below float64, and more draws may move where that begins: a tensor of the forward
    pass that is off by far, before all others, is beyond the bound of any draws."""
    wrong = next((row for row in rows if not row.agrees and row.bound), None)
    is_far = (
        wrong is not None and wrong.phase in ("parameters", "forward") and wrong.error > NOISE_RATIO**2 * wrong.bound
    )
    return dtype != PROOF_DTYPE and not is_far and not all(row.agrees for row in rows)


def are_open(rows: Sequence[Row], dtype: np.dtype) -> bool:
    """True if rows disagree below float64, and more draws may explain each of them."""
    beyond = [row for row in rows if row.error > row.bound or np.isnan(row.error)]
    return bool(beyond) and dtype != PROOF_DTYPE and all(is_open(row.error, row.bound) for row in beyond)


def rate(draws: int = MORE_DRAWS, times: float = NOISE_RATIO, ratio: float = 1.0) -> float:
    """The probability that the error of an honest number is more than so many times the largest of its draws.

    Both are normal; `ratio` is the error's deviation relative to that of a draw. The largest of k draws has the density
    k F^(k - 1) f, with F and f those of one. More numbers than one are off by more more rarely.
    """
    largest = np.linspace(0, FARTHEST, POINTS)
    below = np.array([math.erf(size / math.sqrt(2)) for size in largest])
    density = draws * below ** (draws - 1) * math.sqrt(2 / math.pi) * np.exp(-(largest**2) / 2)
    beyond = np.array([math.erfc(times * size / ratio / math.sqrt(2)) for size in largest])
    return float(np.trapezoid(density * beyond, largest))


def rate_of_one_tensor(ratio: float = 1.0) -> float:
    """The rate of a tensor of one number, of which either side may be off: beyond the bound of all draws, or so far
    beyond that of the first that no more are made."""
    return 2 * (rate(MORE_DRAWS, NOISE_RATIO, ratio) + rate(DRAWS, NOISE_RATIO**2, ratio))
