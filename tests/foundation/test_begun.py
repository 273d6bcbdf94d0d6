"""Arrays copied in threads while other things are done."""

import threading

import numpy as np
import pytest

from shared.lazy import begun as module
from shared.lazy.arrays import lazy
from shared.lazy.begun import begun

ARRAYS = lazy({name: np.full(size, size) for name, size in {"small": 1, "large": 9, "middle": 3}.items()})


def test_every_array_has_its_result_and_the_largest_is_the_first(monkeypatch):
    monkeypatch.setattr(module, "THREADS", 1)
    seen = []
    with begun(lambda name, array: seen.append(name) or array.sum(), ARRAYS) as results:
        assert {name: each.result() for name, each in results.items()} == {"small": 1, "large": 81, "middle": 9}
    assert seen == ["large", "middle", "small"]


def test_what_has_not_begun_is_given_up_after_an_error(monkeypatch):
    monkeypatch.setattr(module, "THREADS", 1)
    free, seen = threading.Event(), []

    def work(name, array):
        seen.append(name)
        free.wait()

    def fail(results):
        results["small"].add_done_callback(lambda _: free.set())
        raise ValueError("elsewhere")

    with pytest.raises(ValueError, match="elsewhere"), begun(work, ARRAYS) as results:
        fail(results)
    assert results["middle"].cancelled()
    assert results["small"].cancelled()
    assert set(seen) <= {"large"}


def test_an_error_of_the_work_is_that_of_its_result():
    def work(name, array):
        raise OSError(name)

    with begun(work, ARRAYS) as results, pytest.raises(OSError, match="middle"):
        results["middle"].result()
