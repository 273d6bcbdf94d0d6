"""Checks of what a study is given: one sentence each, before anything is computed."""

import math
from typing import Any

import numpy as np

from shared.errors import IsogradError


def check_matrix(name: str, array: Any, *, rows: int = 1) -> np.ndarray:
    """The array in float64; raises IsogradError unless it is a matrix of finite numbers with enough rows."""
    try:
        matrix = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise IsogradError(f"{name}: expected a matrix of numbers, got what numpy can't read as one") from error
    if matrix.ndim != 2 or len(matrix) < rows or not matrix.size:
        raise IsogradError(f"{name}: expected a matrix with at least {rows} rows, got the shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise IsogradError(f"{name}: expected finite numbers, got NaN or an infinity")
    return matrix


def check_same_rows(**matrices: np.ndarray) -> None:
    """Raise IsogradError unless the matrices have equally many rows."""
    if len({len(matrix) for matrix in matrices.values()}) > 1:
        shapes = " and ".join(f"{name} {matrix.shape}" for name, matrix in matrices.items())
        raise IsogradError(f"expected as many rows in each, got {shapes}: give one value for each key")


def check_size(name: str, got: Any, *, least: int = 1, most: int | None = None, why: str = "") -> int:
    """The size; raises IsogradError unless it is an integer from `least` to `most`."""
    is_integer = isinstance(got, int | np.integer) and not isinstance(got, bool)
    if not is_integer or got < least or (most is not None and got > most):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        raise IsogradError(f"{name}: expected an integer {limits}, got {got!r}{why and f': {why}'}")
    return int(got)


def check_sizes(name: str, got: Any, *, least: int = 1, count: int = 1) -> tuple[int, ...]:
    """The sizes, in ascending order; raises IsogradError unless there are enough different ones."""
    sizes = tuple(sorted({check_size(name, size, least=least) for size in got}))
    if len(sizes) < count:
        raise IsogradError(f"{name}: expected at least {count} different sizes, got {list(sizes)}")
    return sizes


def check_number(name: str, got: Any, *, above: float = -math.inf, why: str = "") -> float:
    """The number; raises IsogradError unless it is finite and above a limit."""
    is_number = isinstance(got, int | float | np.number) and not isinstance(got, bool)
    if not is_number or not math.isfinite(got) or got <= above:
        limit = "" if above == -math.inf else f" above {above:g}"
        raise IsogradError(f"{name}: expected a finite number{limit}, got {got!r}{why and f': {why}'}")
    return float(got)
