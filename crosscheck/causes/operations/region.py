"""Where two runs begin to differ: operations whose results the other side has nowhere, of inputs that it has.

Results are paired by their numbers, whatever the order of their axes. Of equal code written otherwise many results
have no pair, too, but all that follows has one; so the operations are those from which the first tensor that differs
is computed, back to results that both sides have.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crosscheck.causes.flips.flip import OWN, Flip, Site
from crosscheck.causes.operations.operation import Operation

TOLERANCE = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-5}  # derived: some thousand roundings
LARGEST = 1e100  # what is beyond counts as this
MASKED = 1e4  # numbers of this size may be a mask's
MOVING = ("slice", "squeeze", "reshape", "transpose", "broadcast_in_dim", "convert_element_type", "copy", "expand_dims")
MOST_AXES = 5  # of which all orders are tried
MOST = 64  # places in the code of a region: a larger one says nothing


@dataclass(frozen=True)
class Region:
    """The operations of each side, in order, from which the tensor that differs is computed, and what both share.

    Of a gradient that differs, both sides' `slopes` are kept, and the operations are all of the module's own code.
    """

    ours: list[Operation]
    theirs: list[Operation]
    shared: list[Operation]
    run: Sequence[Operation]  # all of torch's
    their_run: Sequence[Operation]
    tap: str = ""
    path: str = ""  # of the module where it lies
    slopes: tuple[np.ndarray, ...] = ()

    @property
    def target(self) -> Operation:
        return self.ours[-1]

    def behind(self, operation: Operation) -> "Region":
        """The part of the region from which one of its operations is computed."""
        inside, place = {id(each) for each in self.ours}, {id(each): n for n, each in enumerate(self.run)}
        found, left = {place[id(operation)]}, [operation]
        while left:
            new = {n for n in left.pop().inputs if id(self.run[n]) in inside} - found
            found |= new
            left += [self.run[n] for n in new]
        return replace(self, ours=[self.run[n] for n in sorted(found)])

    def made(self, operation: Operation) -> Operation:
        """The operation of JAX's that computes the numbers of one that only moves them."""
        while operation.name in MOVING and operation.inputs:
            operation = self.their_run[operation.inputs[0]]
        return operation

    def calls_of(self, operation: Operation) -> list[Operation]:
        """All calls of torch's run that are made in an operation's place in the code, each once."""
        same = [each for each in self.run if (each.place, each.function) == (operation.place, operation.function)]
        return list({each.site: each for each in same}.values())


def region_of(
    ours: Sequence[Operation],
    theirs: Sequence[Operation],
    tensor: np.ndarray,
    other: np.ndarray,
    tap: str = "",
    path: str = "",
) -> Region | None:
    """The region behind a tensor of torch's side and the other's, which enters or leaves a module at a tap if it is no
    output; None if it isn't found or is too large."""
    tolerance = 0.0 if tensor.dtype.kind in "iub" else TOLERANCE.get(np.dtype(tensor.real.dtype))
    if tolerance is None:
        return None
    order = 1 if tap else -1  # an output is what was computed last
    last, their_last = (_place(side, array, tolerance, order) for side, array in ((ours, tensor), (theirs, other)))
    if last is None or their_last is None:
        return None
    both = _Sums(theirs), _Sums(ours)
    paired = [
        [_is_given(each) or (not _does_nothing(each, side) and sums.has(each.result, tolerance)) for each in side]
        for side, sums in zip((ours, theirs), both, strict=True)
    ]
    mine, given = _behind(ours, last, paired[0])
    found, _ = _behind(theirs, their_last, paired[1])
    if len({ours[n].place for n in mine}) > MOST:
        return None
    return Region(
        [ours[n] for n in mine], [theirs[n] for n in found], [ours[n] for n in given], ours, theirs, tap, path
    )


def region_of_gradient(
    ours: Sequence[Operation], theirs: Sequence[Operation], slopes: tuple[np.ndarray, ...], tap: str, path: str
) -> Region | None:
    """The region of a gradient of a tap or a parameter that differs in a module's code; None if it is too large."""
    mine = [each for each in ours if each.site[0] == f"{OWN}{path}" and each.place is not None]
    if len({each.place for each in mine}) > MOST:
        return None
    return Region(mine, [*theirs], [], ours, theirs, tap, path, slopes)


def sites_in(region: Region, flip: Flip) -> list[Site]:
    """The calls in a region that a flip of functions replaces."""
    numbers: Counter[str] = Counter()
    found: list[Site] = []
    seen: set[tuple[Any, Site]] = set()
    inside = {(each.function, each.site) for each in region.ours}
    for each in region.run:
        if each.function in flip.functions and (each.function, each.site) not in seen:
            seen.add((each.function, each.site))
            if not flip.only(*each.args, **each.kwargs):
                continue
            path = each.site[0]
            if (each.function, each.site) in inside:
                found.append((path, numbers[path]))
            numbers[path] += 1
    return found


def _is_given(operation: Operation) -> bool:
    return operation.name == "parameter"


def _does_nothing(operation: Operation, side: Sequence[Operation]) -> bool:
    """True if an operation of several tensors or with numbers returns one as it is, as a clamp that clamps nothing."""
    return len(operation.inputs) + len(operation.numbers) > 1 and any(
        side[each].result.shape == operation.result.shape and np.array_equal(side[each].result, operation.result)
        for each in operation.inputs
    )


def _behind(side: Sequence[Operation], last: int, is_paired: Sequence[bool]) -> tuple[list[int], list[int]]:
    """The operations without a pair from which the last one is computed, it included, and those with one before."""
    found, given, left = {last}, set(), [last]
    while left:
        for each in side[left.pop()].inputs:
            if is_paired[each]:
                given.add(each)
            elif each not in found:
                found.add(each)
                left.append(each)
    return sorted(found), sorted(given)


class _Sums:
    """The results of a side by size, with sums that no order of axes changes."""

    def __init__(self, side: Sequence[Operation]):
        self.arrays: dict[int, list[np.ndarray]] = {}
        for each in side:
            self.arrays.setdefault(each.result.size, []).append(each.result)
        self.sums = {size: np.array([_sums(each) for each in arrays]) for size, arrays in self.arrays.items()}

    def has(self, array: np.ndarray, tolerance: float) -> bool:
        """True if a result holds the same numbers."""
        sums = self.sums.get(array.size)
        if sums is None or not array.size:
            return False
        mine = np.array(_sums(array))
        with np.errstate(invalid="ignore"):
            near = (np.abs(sums - mine) <= np.sqrt(tolerance) * np.abs(mine)).all(-1) | np.isnan(mine).any()
        return any(is_same(array, self.arrays[array.size][n], tolerance) for n in np.flatnonzero(near))


def _sums(array: np.ndarray) -> tuple[float, float]:
    sizes = np.abs(_numbers(array))
    return float(sizes.sum()), float(np.square(sizes).sum())


def _numbers(array: np.ndarray) -> np.ndarray:
    """The numbers in order, of complex ones the real and imaginary parts as their last axis."""
    real = np.stack([array.real, array.imag], -1) if array.dtype.kind == "c" else array
    return np.clip(real.astype(np.float64), -LARGEST, LARGEST).ravel()


def alike(array: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    """True if two arrays hold the same numbers, but for rounding, in whatever order."""
    if array.size != other.size or (array.dtype.kind == "c") != (other.dtype.kind == "c"):
        return False
    return _near(np.sort(_numbers(array)), np.sort(_numbers(other)), tolerance)


def is_same(array: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    """True if two arrays are equal in some order of their axes, but for rounding."""
    if not alike(array, other, tolerance):
        return False
    parts = (2,) if other.dtype.kind == "c" else ()
    other, mine = _numbers(other).reshape((*[n for n in other.shape if n != 1], *parts)), _numbers(array)
    orders = itertools.permutations(range(other.ndim)) if other.ndim <= MOST_AXES else [range(other.ndim)]
    return any(_near(mine, other.transpose(each).ravel(), tolerance) for each in orders)


def _near(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    """True if numbers differ by rounding alone; those that a mask may hold hide the others, so they stand apart."""
    if not (np.isnan(a) == np.isnan(b)).all():
        return False
    masked = np.abs(a) >= MASKED
    return (masked == (np.abs(b) >= MASKED)).all() and all(
        np.linalg.norm(np.nan_to_num(a - b)[part]) <= tolerance * np.linalg.norm(np.nan_to_num(a)[part])
        for part in (masked, ~masked)
    )


def _place(side: Sequence[Operation], tensor: np.ndarray, tolerance: float, order: int) -> int | None:
    """The first operation with these numbers as its result, in this order if one has it; the last, if `order` is -1."""
    places, mine = range(len(side))[::order], _numbers(tensor)
    same = (n for n in places if side[n].result.shape == tensor.shape)
    numbers = ((n, _numbers(side[n].result)) for n in same)  # of complex ones of this shape, twice as many
    found = next((n for n, each in numbers if each.size == mine.size and _near(mine, each, tolerance)), None)
    return next((n for n in places if alike(tensor, side[n].result, tolerance)), None) if found is None else found
