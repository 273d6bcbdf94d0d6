"""Named arrays, the common currency of weights, gradients, optimiser moments and recordings."""

from collections.abc import Mapping

import numpy as np

Arrays = dict[str, np.ndarray]
ArrayMapping = Mapping[str, np.ndarray]  # read-only
BLOCK = 64  # rows of a matrix that is turned: they and what they become stay in the cache


def fill(copy: np.ndarray, array: np.ndarray) -> None:
    """Copy an array into one of its shape and dtype in C order, a turned matrix in blocks of rows."""
    if array.dtype.itemsize == 2:  # numpy has no fast copy of bfloat16
        copy, array = copy.view(np.uint16), array.view(np.uint16)
    if array.ndim != 2 or array.flags.c_contiguous:
        copy[...] = array
        return
    for start in range(0, array.shape[1], BLOCK):
        copy[:, start : start + BLOCK] = array[:, start : start + BLOCK]
