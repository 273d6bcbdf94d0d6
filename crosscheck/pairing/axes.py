"""Outputs and gradients of inputs in torch's axis order, where the tensors inside show that JAX keeps channels last."""

from dataclasses import replace

from crosscheck.recording.axis_order import Order, aligned, orders_used
from crosscheck.recording.values import Values
from shared.arrays import Arrays

MOVED = ("outputs", "input_gradients")


def in_order_of(theirs: Values, ours: Values, orders: frozenset[Order] = frozenset()) -> Values:
    """JAX's values with those outputs and gradients whose axes are in another order than torch's in torch's order.

    Only one of `orders`, or an order that tensors inside the modules have too, is read so: any other is a mistake.
    """
    used = set(orders) | orders_used(ours.intermediates, theirs.intermediates)
    if not used:
        return theirs
    return replace(theirs, **{field: _moved(getattr(theirs, field), getattr(ours, field), used) for field in MOVED})


def _moved(theirs: Arrays, ours: Arrays, used: set[Order]) -> Arrays:
    found = dict(theirs)
    for name, array in theirs.items():
        mine = ours.get(name)
        if mine is not None and mine.shape != array.shape and sorted(mine.shape) == sorted(array.shape):
            moves = [order for order in used if len(order) == array.ndim and array.transpose(order).shape == mine.shape]
            found[name] = array if not moves else aligned(mine, array, set(moves))
    return found
