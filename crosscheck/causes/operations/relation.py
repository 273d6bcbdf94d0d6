"""What one tensor is of another, in words: a multiple, a shift, another order, or other numbers in some places."""

from collections.abc import Iterator

import numpy as np

CLOSE = 1e-9  # derived: some hundred roundings of float64


def relation(ours: np.ndarray, theirs: np.ndarray) -> str:
    """What JAX's tensor is of torch's of the same shape; empty if nothing simple."""
    if ours.shape != theirs.shape or not ours.size or ours.dtype.kind not in "fiub":
        return ""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return _places(~((a == b) | (np.isnan(a) & np.isnan(b))))
    scale = np.abs(a).max() + np.abs(b).max()
    for what, made in _simple(a, b):
        if np.abs(b - made).max() <= CLOSE * scale:
            return what
    return _places(np.abs(a - b) > CLOSE * scale)


def _simple(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    factor = float((a * b).sum() / np.square(a).sum()) if a.any() else 0.0
    if factor:
        yield f"JAX's is torch's times {factor:.6g}", a * factor
    shift = float((b - a).mean())
    yield f"JAX's is torch's plus {shift:.6g}", a + shift
    if (a > 0).all() and (b > 0).all() and np.log(a).any():
        power = float((np.log(a) * np.log(b)).sum() / np.square(np.log(a)).sum())
        yield f"JAX's is torch's to the power {power:.6g}", a**power
    for axis, size in enumerate(a.shape):
        if size > 1:
            yield f"JAX's is torch's reversed along axis {axis}", np.flip(a, axis)
            for shift in (1, -1):
                yield f"JAX's is torch's rolled by {shift:+d} along axis {axis}", np.roll(a, shift, axis)
    if np.abs(np.sort(a, None) - np.sort(b, None)).max() <= CLOSE * np.abs(a).max():
        yield "JAX's holds torch's numbers in another order", b


def _places(differs: np.ndarray) -> str:
    """Where in index space tensors differ; empty if everywhere."""
    share = differs.mean() if differs.size else 0.0
    if share in (0.0, 1.0):
        return ""
    for axis, size in enumerate(differs.shape):
        others = tuple(each for each in range(differs.ndim) if each != axis)
        at = np.flatnonzero(differs.any(others))
        if 0 < len(at) < size:
            return f"they differ at {_range(at, size)} of axis {axis} alone"
    return f"they differ in {share:.0%} of the places"


def _range(at: np.ndarray, size: int) -> str:
    if len(at) == 1:
        return "the last place" if at[0] == size - 1 else f"place {at[0]}"
    if (np.diff(at) == 1).all():
        return f"places {at[0]} to {at[-1]}"
    return f"{len(at)} of {size} places"
