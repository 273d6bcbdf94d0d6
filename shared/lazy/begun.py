"""Work on many arrays in threads, which copying is worth: numpy lets other threads run meanwhile."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from shared.lazy.arrays import LazyArray
from shared.process import usable_cores

K = TypeVar("K")
T = TypeVar("T")
THREADS = min(4, usable_cores())  # more of them wait for the same memory


@contextmanager
def begun(
    work: Callable[[K, np.ndarray], T], arrays: Mapping[K, np.ndarray | LazyArray]
) -> Iterator[dict[K, Future[T]]]:
    """The results of `work` on every key and its array, begun with the largest array while other things are done.

    What has not begun when the block ends, by an error or otherwise, is given up.
    """
    ordered = sorted(arrays, key=lambda key: -arrays[key].nbytes)
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            yield {key: pool.submit(_done, work, key, arrays[key]) for key in ordered}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _done(work: Callable[[K, np.ndarray], T], key: K, array: np.ndarray | LazyArray) -> T:
    return work(key, np.asarray(array))
