"""Prefetching: the same items, errors where they belong, and no thread left behind."""

import gc
import threading

import pytest

from shared.data import prefetch
from shared.errors import IsogradError


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_the_items_are_the_same_in_the_same_order():
    assert list(prefetch(iter(range(100)))) == list(range(100))
    assert list(prefetch([])) == []
    assert not threads()


def test_items_are_prepared_ahead_but_no_more_than_requested():
    made, fourth = [], threading.Event()

    def numbers():
        for i in range(100):
            made.append(i)
            if i == 3:
                fourth.set()
            yield i

    items = prefetch(numbers())
    assert [next(items), next(items)] == [0, 1]
    assert [thread.daemon for thread in threads()] == [True]  # a process may end whatever is prepared
    assert fourth.wait(10), "nothing was prepared ahead"
    items.close()
    assert made == [0, 1, 2, 3]
    assert not threads()


@pytest.mark.parametrize("kind", [ValueError, OSError, IsogradError, MemoryError, KeyboardInterrupt])
def test_an_error_is_raised_after_the_items_before_it(kind):
    def broken():
        yield 1
        yield 2
        raise kind("line 3 is bad")

    items = prefetch(broken())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(kind, match="line 3 is bad"):
        next(items)
    assert not threads()


def test_an_iterator_left_half_way_leaves_no_thread():
    for item in prefetch(iter(range(1000))):
        if item == 3:
            break
    gc.collect()
    assert not threads()


def test_an_iterator_never_started_starts_no_thread():
    items = prefetch(iter(range(3)))
    assert not threads()
    items.close()
