"""What one tensor is of another, in words: a multiple, a shift, another order, or other numbers in some places."""

from collections.abc import Callable, Iterator

import ml_dtypes
import numpy as np

CLOSE = 1e-9  # derived: some hundred roundings of float64
SHORT = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16, "float32": np.float32}
LARGEST = 1e150  # whose squares are still numbers: a mask's fill is larger
MOST_PLACES = 64  # of an axis whose order is looked for


def relation(ours: np.ndarray, theirs: np.ndarray) -> str:
    """What JAX's tensor is of torch's of the same shape; empty if nothing simple."""
    if ours.shape != theirs.shape or not ours.size or ours.dtype.kind not in "fiub":
        return ""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    if not all((np.abs(each) < LARGEST).all() for each in (a, b)):
        return _places(~((a == b) | (np.isnan(a) & np.isnan(b))))
    scale = np.abs(a).max() + np.abs(b).max()
    for kind in KINDS if a.size > 1 else OF_ONE:
        for what, made in kind(a, b):
            if np.abs(b - made).max() <= CLOSE * scale:
                return what
    differs = np.abs(a - b) > CLOSE * scale
    return _where(a, differs) or _places(differs)


def _one_number(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    factor = float((a * b).sum() / np.square(a).sum()) if a.any() else 0.0
    if factor:
        yield f"JAX's is torch's times {factor:.6g}", a * factor
    shift = float((b - a).mean())
    yield f"JAX's is torch's plus {shift:.6g}", a + shift
    if (a > 0).all() and (b > 0).all() and np.log(a).any():
        power = float((np.log(a) * np.log(b)).sum() / np.square(np.log(a)).sum())
        yield f"JAX's is torch's to the power {power:.6g}", a**power


def _whole(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """A multiple by a whole number, or by one's reciprocal: any number is another's times some factor."""
    if a.any() and b.any():
        factor = float((b / a).item())
        nearest = round(factor) if abs(factor) >= 1 else 1 / round(1 / factor)
        yield f"JAX's is torch's times {nearest:.6g}", a * nearest


def _rounded(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for name, dtype in SHORT.items():
        for whose, other, array in (("JAX's is torch's", a, b), ("torch's is JAX's", b, a)):
            with np.errstate(over="ignore"):
                short = other.astype(dtype)
            if np.array_equal(array, short.astype(np.float64)):
                yield f"{whose} rounded to {name}", b


def _in_order(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for axis, size in enumerate(a.shape):
        if size > 1:
            yield f"JAX's is torch's reversed along axis {axis}", np.flip(a, axis)
            for shift in (1, -1):
                yield f"JAX's is torch's rolled by {shift:+d} along axis {axis}", np.roll(a, shift, axis)
                yield (
                    f"JAX's is torch's moved by {shift:+d} along axis {axis}, with zeros behind",
                    _moved(a, shift, axis),
                )
            for parts in range(2, size // 2 + 1):
                if size % parts == 0:
                    yield (f"JAX's is torch's with axis {axis} read as ({size // parts}, {parts}), not "
                           f"({parts}, {size // parts})"), _interleaved(a, axis, parts)  # fmt: skip
    for axis, other in [(n, m) for n in range(a.ndim) for m in range(n) if 1 < a.shape[n] == a.shape[m]]:
        yield f"JAX's is torch's with axes {other} and {axis} exchanged", np.swapaxes(a, axis, other)
    for axis, size in enumerate(a.shape):
        if 1 < size <= MOST_PLACES and (order := _order(a, b, axis)) is not None:
            yield f"JAX's is torch's with axis {axis} in the order {order}", np.take(a, order, axis)
    if np.abs(np.sort(a, None) - np.sort(b, None)).max() <= CLOSE * np.abs(a).max():
        yield "JAX's holds torch's numbers in another order", b


def _along_an_axis(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Factors and shifts that one axis decides, among others that have several places, and that change all of them."""
    for axis in range(a.ndim if sum(size > 1 for size in a.shape) > 1 else 0):
        others = tuple(each for each in range(a.ndim) if each != axis)
        squares = np.square(a).sum(others, keepdims=True)
        factors = (a * b).sum(others, keepdims=True) / np.where(squares, squares, 1)
        if (np.abs(factors - 1) > CLOSE).all():
            yield f"JAX's is torch's times a factor of each place of axis {axis}: {_some(factors)}", a * factors
        shifts = (b - a).mean(others, keepdims=True)
        if (np.abs(shifts) > CLOSE * np.abs(a).max()).all():
            yield f"JAX's is torch's plus a number of each place of axis {axis}: {_some(shifts)}", a + shifts


KINDS: tuple[Callable[[np.ndarray, np.ndarray], Iterator[tuple[str, np.ndarray]]], ...] = (
    _one_number, _rounded, _in_order, _along_an_axis,
)  # fmt: skip
OF_ONE = (_whole, _rounded)  # of a single number


def _moved(a: np.ndarray, shift: int, axis: int) -> np.ndarray:
    place = np.arange(a.shape[axis]).reshape(-1, *[1] * (a.ndim - axis - 1))
    return np.roll(a, shift, axis) * (place != (0 if shift > 0 else a.shape[axis] - 1))


def _interleaved(a: np.ndarray, axis: int, parts: int) -> np.ndarray:
    split = a.reshape(*a.shape[:axis], parts, -1, *a.shape[axis + 1 :])
    return np.swapaxes(split, axis, axis + 1).reshape(a.shape)


def _order(a: np.ndarray, b: np.ndarray, axis: int) -> list[int] | None:
    """Which place of an axis of torch's each place of JAX's is; None if some is none."""
    mine, other = (np.moveaxis(each, axis, 0).reshape(each.shape[axis], -1) for each in (a, b))
    apart = np.abs(other[:, None] - mine[None]).max(-1)
    nearest = apart.argmin(1)
    return nearest.tolist() if (apart.min(1) <= CLOSE * (np.abs(a).max() + np.abs(b).max())).all() else None


def _some(numbers: np.ndarray) -> str:
    shown = ", ".join(f"{each:.4g}" for each in numbers.ravel()[:4])
    return f"{shown}, ..." if numbers.size > 4 else shown


def _where(a: np.ndarray, differs: np.ndarray) -> str:
    """The region of a mask, or the range of torch's numbers, in which tensors differ; empty if none."""
    if differs.all() or not differs.any():
        return ""
    if a.ndim > 1 and min(a.shape[-2:]) > 1:
        row, column = np.ogrid[: a.shape[-2], : a.shape[-1]]
        for words, inside in (("above the diagonal", column > row), ("below the diagonal", column < row),
                              ("on the diagonal", column == row)):  # fmt: skip
            if (differs <= inside).all() and differs.any(tuple(range(a.ndim - 2)))[inside].all():
                return f"they differ {words} of the last two axes alone"
    here, elsewhere = a[differs], a[~differs]
    for words, is_so in ((f"below {elsewhere.min():.4g}", here.max() < elsewhere.min()),
                         (f"above {elsewhere.max():.4g}", here.min() > elsewhere.max())):  # fmt: skip
        if is_so and len(here) > 1:
            return f"they differ where torch's is {words}, alone"
    return ""


def _places(differs: np.ndarray) -> str:
    """Where in index space tensors differ; empty if everywhere."""
    share = differs.mean() if differs.size else 0.0
    if share in (0.0, 1.0):
        return ""
    found = []
    for axis, size in enumerate(differs.shape):
        others = tuple(each for each in range(differs.ndim) if each != axis)
        at = np.flatnonzero(differs.any(others))
        if 0 < len(at) < size:
            found.append(f"{_range(at, size)} of axis {axis}")
    return f"they differ at {', '.join(found)} alone" if found else f"they differ in {share:.0%} of the places"


def _range(at: np.ndarray, size: int) -> str:
    if len(at) == 1:
        return "the last place" if at[0] == size - 1 else f"place {at[0]}"
    if (np.diff(at) == 1).all():
        return f"places {at[0]} to {at[-1]}"
    step = int(at[1] - at[0])
    return f"each place {at[0]} + {step}n" if (np.diff(at) == step).all() else f"{len(at)} of {size} places"
