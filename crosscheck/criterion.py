"""When two tensors count as equal: the proof in float64, and the noise rule below it.

float64: the relative L2 error is at most 1e-12. Other dtypes: the bound is measured. The float64 run is the oracle;
a side's error against it may be at most 3 times the noise, which is the larger of the other side's error and the
oracle's own movement under random rounding (see recording/shadows.py).
A bound that zeros, the opposite sign or a different order of the entries would meet decides nothing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import ml_dtypes
import numpy as np

# derived: float64 roundoff is 1.1e-16; this allows for the 10**4 roundings of a deep gradient, but not for a fault
PROOF = 1e-12
NOISE_RATIO = 3.0  # two honest implementations round differently, but by the same amount
DRAWS, MORE_DRAWS = 12, 48  # of random rounding; the latter where an error is near the bound of the former
FEW_DRAWS = 2  # of a large module: a bound only grows with draws, so that what agrees by few agrees by all
LARGE = 5_000_000  # entries of parameters
BLOCK = 2**18  # entries that are judged at once: what is made of them stays in the processor's cache
SPREAD = 3**-0.5  # standard deviation of one rounding, which is off by up to one unit roundoff either way


@dataclass(frozen=True)
class Verdict:
    """Error and bound, both relative to the same norm, and `size`, the norm of the tensor itself relative to it.

    `undecided` if the error meets a bound that numbers with nothing in common with the right ones would meet too.
    `farther` is what the bound would be if the side nearer to the oracle were the one that is wrong.
    """

    error: float
    bound: float
    size: float = 1.0
    undecided: bool = False
    farther: float = 0.0

    @property
    def agrees(self) -> bool:
        return self.error <= self.bound and not self.undecided

    @property
    def sensitivity(self) -> float:
        """The smallest error of either side, relative to the tensor itself, that is beyond its bound; infinite if the
        tensor is zero in theory."""
        if self.bound == 0:
            return 0.0
        return max(self.bound, self.farther) / self.size if self.size > PROOF else float("inf")


def unit_roundoff(dtype: np.dtype) -> float:
    """Half the distance from 1 to the next larger number of `dtype`."""
    return float(ml_dtypes.finfo(dtype).eps) / 2


def widened(array: np.ndarray) -> np.ndarray:
    """The array in float64 with its dtype's largest number as infinity: a mask's fill would dwarf all other entries.

    Complex numbers become pairs of real ones along a new last axis.
    """
    array = as_real(array)
    wide = array.astype(np.float64, copy=False)
    largest = float(ml_dtypes.finfo(array.dtype).max) if array.dtype.kind not in "biu" else np.inf
    is_over = np.abs(wide) >= largest
    return np.where(is_over, np.copysign(np.inf, wide), wide) if is_over.any() else wide


def as_real(array: np.ndarray) -> np.ndarray:
    """A complex array's real and imaginary parts along a new last axis; others as they are."""
    return np.stack([array.real, array.imag], -1) if array.dtype.kind == "c" else array


def norm(array: np.ndarray) -> float:
    """L2 norm in float64 of the finite entries; `difference` handles the rest."""
    return math.hypot(*(_norm(array[at]) for at in blocks(array.shape)))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """L2 norm of a - b; infinite if either has NaN, or if their infinities differ."""
    return math.hypot(*(_difference(a[at], b[at]) for at in blocks(a.shape)))


def blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Where an array is cut along its longest axis, so that `BLOCK` entries are looked at at once."""
    whole, axis = (slice(None),) * len(shape), int(np.argmax(shape)) if shape else 0
    if math.prod(shape) <= BLOCK:
        yield whole
        return
    step = max(1, BLOCK * shape[axis] // math.prod(shape))
    for start in range(0, shape[axis], step):
        yield (*whole[:axis], slice(start, start + step), *whole[axis + 1 :])


def _norm(array: np.ndarray) -> float:
    wide = widened(array)
    finite = np.isfinite(wide)
    return float(np.linalg.norm(wide if finite.all() else np.where(finite, wide, 0.0)))


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    if np.array_equal(a, b):  # as of parameters, in a fraction of the time
        return 0.0
    a, b = widened(a), widened(b)
    finite = np.isfinite(a) & np.isfinite(b)
    if finite.all():  # without copies
        return float(np.linalg.norm(a - b))
    if not np.array_equal(a[~finite], b[~finite]):  # infinities can be equal, NaN never is
        return float("inf")
    return float(np.linalg.norm(a[finite] - b[finite]))


def movement(moved: np.ndarray, exact: np.ndarray) -> float:
    """How far a run with random rounding moved a tensor; 0 if it overflowed: an infinite bound would pass anything."""
    distance = difference(moved, exact)
    return distance if np.isfinite(distance) else 0.0


def prove(torch_array: np.ndarray, jax_array: np.ndarray, floor: float) -> Verdict:
    """The float64 criterion; `floor` is the model's largest gradient norm: one that is zero in theory is only noise."""
    size = norm(torch_array)
    scale = max(size, floor) or 1.0
    return Verdict(difference(torch_array, jax_array) / scale, PROOF, size / scale)


def compare_noise(
    torch_array: np.ndarray,
    jax_array: np.ndarray,
    floor: float,
    oracle: np.ndarray,
    moved: float,
    roundoff: float,
) -> Verdict:
    """The noise rule; `moved` is how far random rounding moves the oracle; `floor` as in `prove`."""
    size = norm(oracle)
    scale = max(size, floor) or 1.0
    errors = difference(torch_array, oracle), difference(jax_array, oracle)
    bound = NOISE_RATIO * max(min(errors), moved, SPREAD * roundoff * size)
    least = max(roundoff * size, PROOF * scale)  # the dtype, or the proof, can't tell numbers apart that are nearer
    agree = max(errors) <= bound
    is_exact = not (moved or any(errors))  # as of parameters, which nothing computes
    undecided = agree and not is_exact and any(least < distance <= bound for distance in impostors(oracle))
    farther = NOISE_RATIO * max(errors) if agree else 0.0
    return Verdict(max(errors) / scale, bound / scale, size / scale, undecided, farther / scale)


def impostors(oracle: np.ndarray) -> Iterator[float]:
    """How far the oracle is from zeros, and from its own entries in a different order (its negative is farther)."""
    yield norm(oracle)
    for axis in range(oracle.ndim):
        yield difference(np.flip(oracle, axis), oracle)
        yield difference(np.roll(oracle, oracle.shape[axis] // 2, axis), oracle)
