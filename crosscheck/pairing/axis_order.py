"""Tensors inside the two modules in one order of axes: batch first or last, channels first or last."""

import numpy as np

from crosscheck import criterion
from shared.arrays import Arrays

Shape = tuple[int, ...]
Order = tuple[int, ...]  # of axes, as np.transpose takes it
MOST_AXES = 5


def orders_used(ours: Arrays, theirs: Arrays) -> set[Order]:
    """The orders in which the other side holds tensors whose shape tells: channels last, say."""
    pairs = [(ours[name].shape, theirs[name].shape) for name in ours if name in theirs]
    return {order for mine, other in pairs if mine != other for order in _orders(mine, other)}


def aligned(ours: np.ndarray, theirs: np.ndarray, used: set[Order]) -> np.ndarray | None:
    """An intermediate of the other side in our order of axes, or None if it is written down in another way.

    Where its shape says nothing, it may stand in an order that others are `used` to. One with another number of
    elements is no other way of writing: it stays as it is.
    """
    if ours.ndim == theirs.ndim and ours.size != theirs.size:
        return theirs
    orders = _orders(ours.shape, theirs.shape)
    if ours.shape == theirs.shape:
        orders = [order for order in orders if order in used or order == tuple(range(ours.ndim))]
    found = (theirs.transpose(order) for order in orders)
    return min(found, key=lambda array: criterion.difference(ours, array), default=None)


def _orders(ours: Shape, theirs: Shape) -> list[Order]:
    """Every order that gives their axes our lengths and moves one axis alone, as layouts do: height and width that
    change places are a mistake."""
    if sorted(ours) != sorted(theirs) or len(ours) > MOST_AXES:
        return []
    places = range(len(ours))
    moves = {_moved(len(ours), old, new) for old in places for new in places} or {()}
    return sorted(order for order in moves if tuple(theirs[axis] for axis in order) == ours)


def _moved(ndim: int, old: int, new: int) -> Order:
    axes = [axis for axis in range(ndim) if axis != old]
    return (*axes[:new], old, *axes[new:])
