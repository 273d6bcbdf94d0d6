"""Aligns the axis order of intermediate tensors: batch first or last, channels first or last."""

import numpy as np

from crosscheck import criterion
from shared.arrays import Arrays

Shape = tuple[int, ...]
Order = tuple[int, ...]  # of axes, as for np.transpose
MOST_AXES = 5


def orders_used(ours: Arrays, theirs: Arrays) -> set[Order]:
    """The axis orders of the other side's tensors that their shapes reveal, such as channels last."""
    pairs = [(ours[name].shape, theirs[name].shape) for name in ours if name in theirs]
    return {order for mine, other in pairs if mine != other for order in _orders(mine, other)}


def aligned(ours: np.ndarray, theirs: np.ndarray, used: set[Order]) -> np.ndarray | None:
    """An intermediate of the other side in our axis order, or None if the shapes can't be aligned.

    If its shape is ambiguous, any order in `used` may apply. A tensor with a different number of elements is a
    mismatch, not a layout, and is returned unchanged.
    """
    if ours.ndim == theirs.ndim and ours.size != theirs.size:
        return theirs
    orders = _orders(ours.shape, theirs.shape)
    if ours.shape == theirs.shape:
        orders = [order for order in orders if order in used or order == tuple(range(ours.ndim))]
    found = (theirs.transpose(order) for order in orders)
    return min(found, key=lambda array: criterion.difference(ours, array), default=None)


def in_their_order(array: np.ndarray, theirs: Shape) -> np.ndarray | None:
    """An array of ours in the axis order that a shape of the other side has; None if no order gives that shape."""
    if array.shape == theirs:
        return array
    orders = _orders(theirs, array.shape)
    return array.transpose(orders[0]) if orders else None


def _orders(ours: Shape, theirs: Shape) -> list[Order]:
    """Every order that gives their axes our lengths and moves a single axis, as layouts do; swapped height and width
    are a mistake."""
    if sorted(ours) != sorted(theirs) or len(ours) > MOST_AXES:
        return []
    places = range(len(ours))
    moves = {_moved(len(ours), old, new) for old in places for new in places} or {()}
    return sorted(order for order in moves if tuple(theirs[axis] for axis in order) == ours)


def _moved(ndim: int, old: int, new: int) -> Order:
    axes = [axis for axis in range(ndim) if axis != old]
    return (*axes[:new], old, *axes[new:])
