"""How far apart numbers may be that should be equal, or equal in distribution, each bound by the formula behind it.

No other file of the tests holds a number that something is compared with (see `tolerances.py`).
"""

from collections.abc import Sequence

import ml_dtypes
import numpy as np

DEVIATIONS = 5.0  # a normal number lies beyond once in 2 million draws
FEWER_DEVIATIONS = 4.0  # once in 16,000 draws
STRAY = 10.0  # of n uniform numbers, all stay 10 / n of the bound away from it once in e^10 draws
OF_TWO_DEVIATIONS, OF_TWO_EXTREMES = 6.0, 20.0  # two samples compared: once in 5e8 draws, once in e^20
FEW = 50  # numbers that say too little about their law


def roundings(count: int, dtype: str = "float64") -> float:
    """The relative error of `count` operations, each of which rounds its result by up to a unit roundoff."""
    return count * float(ml_dtypes.finfo(np.dtype(dtype)).eps) / 2


def roundings_of_two_sums(count: int) -> float:
    """The relative distance in float64 of two sums of `count` positive numbers, each rounding count times at most."""
    return 2 * roundings(count)


def roundings_of_two_walks(count: int) -> float:
    """The same if the roundings are independent: they add up as the steps of a random walk do."""
    return 2 * np.sqrt(count) * roundings(1)


def roundings_of_an_average_of_two(scale: float, width: int) -> float:
    """Two scores of that size, each rounded 2 * width times, share the weight: their average moves by half of it."""
    return roundings(2 * width) * scale / 2


def roundings_of_a_deep_gradient() -> float:
    """Layers and sums of a deep model round 10,000 times in a row."""
    return roundings(10_000)


def roundings_of_a_recurrent_layer(steps: int) -> float:
    """In float32 some ten operations a step round."""
    return roundings(10 * steps, "float32")


def roundings_of_a_whole_run(dtype: str) -> float:
    """What a run may accumulate over its steps; for bfloat16 only the order of magnitude."""
    return roundings({"float64": 10**5, "float32": 2 * 10**3, "bfloat16": 2**8}[dtype], dtype)


def roundings_of_rates_by_formula() -> float:
    """Two sides with 5 operations each on numbers up to the full rate; a cosine's angle, up to pi, is rounded too."""
    return 2 * (5 + 3) * roundings(1)


def roundings_of_rates_by_steps(rates: np.ndarray) -> float:
    """torch multiplies the previous update's rate: up to 5 roundings of numbers up to the full rate at each update.

    The factors of later updates, at most 1, do not enlarge them.
    """
    return len(rates) * roundings(5)


def rounding_of_jaxs_normal() -> float:
    """The relative error of `jax.random.normal`, which computes log(1 - x * x) in float32.

    x * x is rounded by at most 2**-25, and by at most (1 - |x|)**2; which together is worst at |x| = 1 - 2**-12.5:
    2**-13.5 of 1 - x * x. There the normal is 3.76 and moves by 1 / 3.76**2 of a relative change in 1 - x * x. The rest
    is its polynomial of degree 8, a product and a sum per term.
    """
    return 2**-13.5 / 3.76**2 + roundings(2 * 8, "float32")


def is_the_slope(slope: float, coarse: float, fine: float) -> bool:
    """True if `slope` is what central differences with steps 2 h and h tend to.

    They err by c h**2 and are 3 c h**2 apart; Richardson's extrapolation cancels that and leaves terms in h**4, far
    below a hundredth of it.
    """
    return bool(abs((4 * fine - coarse) / 3 - slope) <= abs(fine - coarse) / 100)


def is_a_first_step_of_adam(moved: np.ndarray, start: np.ndarray, rate: float, decay: float) -> bool:
    """True if weights in float32 moved by at most the rate, the sign that Adam's first step is, and their decay.

    Three operations round on the way: the factor of the decay, its product, and the difference.
    """
    return bool(
        (np.abs(moved - start) <= rate * (1 + decay * np.abs(start)) + roundings(3, "float32") * np.abs(start)).all()
    )


def is_share(count: int, size: int, probability: float) -> bool:
    """True if `count` of `size` independent draws may have this probability: binomial."""
    return bool(abs(count - size * probability) <= DEVIATIONS * np.sqrt(size * probability * (1 - probability)))


def is_rare(probability: float, tries: int) -> bool:
    """True if what has this probability in each of so many tries happens in one such series of a thousand at most."""
    return probability * tries <= 1e-3


def is_a_first_loss(losses: np.ndarray, vocabulary_size: int, width: int, deviation: float) -> bool:
    """True if a GPT's losses at random labels, before any step, have the mean that its initial weights give.

    A logit is the product of a normed vector of E numbers and of a row of N(0, s): it is N(0, E s^2), whose loss is
    ln V + E s^2 / 2 on average. A tied head adds e^(E s / sqrt 2) to V for a row's own token: V must be much larger.
    """
    variance = width * deviation**2
    expected = np.log(vocabulary_size) + variance / 2
    return bool(abs(losses.mean() - expected) <= DEVIATIONS * np.sqrt(variance / losses.size))


def is_a_promised_first_loss(loss: float, vocabulary_size: int, width: int, deviation: float) -> bool:
    """True if the loss before any step is ln V + E s^2 / 2 to 0.05, as the documentation promises."""
    return bool(abs(loss - np.log(vocabulary_size) - width * deviation**2 / 2) <= 0.05)


def is_standard_normal(sample: np.ndarray) -> bool:
    """True if mean and deviation are those of N(0, 1); n draws know them to 1 / sqrt(n) and 1 / sqrt(2 n)."""
    n = sample.size
    is_centred = abs(sample.mean()) < FEWER_DEVIATIONS / np.sqrt(n)
    return bool(is_centred and abs(sample.std() - 1) < FEWER_DEVIATIONS / np.sqrt(2 * n))


def is_uniform(sample: np.ndarray, bound: float) -> bool:
    """True if the sample lies within the bounds, reaches both, and has the mean of U(-bound, bound).

    The largest of n amounts stays 10 / n of the bound below it once in e^10 draws, either end alone 20 / n.
    """
    n, farthest = sample.size, np.abs(sample).max()
    reaches = farthest > bound * (1 - STRAY / n) and min(sample.max(), -sample.min()) > bound * (1 - 2 * STRAY / n)
    is_centred = abs(sample.mean()) < DEVIATIONS * bound / np.sqrt(3 * n)
    return bool(farthest <= bound and reaches and is_centred)


def is_of_one_law(a: np.ndarray, b: np.ndarray) -> bool:
    """True if two samples may have the same law: zeros at the same places, one deviation, one mean, one bound.

    The ratio of two deviations errs by 1 / sqrt(n). A uniform number lies within sqrt(3) < 2 deviations, but the
    largest of 50 normal ones usually does not: only the former have a bound.
    """
    if (a.size > 1 and a.std() == 0) or not np.array_equal(a == 0, b == 0):
        return np.array_equal(a, b)
    a, b = a[a != 0], b[b != 0]
    if a.size < FEW:
        return True
    largest, spread = (abs(a).max(), abs(b).max()), (a.std(), b.std())
    is_bounded = max(largest[0] / spread[0], largest[1] / spread[1]) < 2
    return bool(
        abs(spread[0] / spread[1] - 1) <= OF_TWO_DEVIATIONS / np.sqrt(a.size)
        and abs(a.mean() - b.mean()) <= OF_TWO_DEVIATIONS * max(spread) * np.sqrt(2 / a.size)
        and (not is_bounded or abs(largest[0] / largest[1] - 1) <= OF_TWO_EXTREMES / a.size)
    )


# What people can see


def linear(colour: str) -> np.ndarray:
    """Red, green and blue of `#rgb` or `#rrggbb` as amounts of light (sRGB: IEC 61966-2-1)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    values = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def is_seen(colour: str, paper: str) -> bool:
    """True if the contrast is that of graphics needed to understand the content (WCAG 2.2, criterion 1.4.11)."""
    darker, brighter = sorted(float(linear(each) @ [0.2126, 0.7152, 0.0722]) for each in (colour, paper))
    return (brighter + 0.05) / (darker + 0.05) >= 3


def is_legible(pixels: float) -> bool:
    """True for letters in a figure that can be read on a phone."""
    return pixels >= 9


def is_dark(levels: Sequence[int]) -> bool:
    """True if all of red, green and blue are in the lowest quarter."""
    return max(levels) < 64


def is_bright(levels: Sequence[int]) -> bool:
    """True if all of red, green and blue are in the highest quarter."""
    return min(levels) > 192
