"""What a process keeps, reads ahead and leaves alone on its machine."""

import gc
import platform
import resource
import sys
import threading

import numpy as np
import pytest

from shared import process
from shared.process import read_ahead, without_collection

PAGES = 2**14
AROUND = 8  # so many times fewer, at least: other threads have faults of their own


def mapped(path):
    path.write_bytes(bytes(PAGES * resource.getpagesize()))
    return np.asarray(np.memmap(path, np.uint8, mode="c"))


def faults_of_reading(pages):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    assert int(pages[:: resource.getpagesize()].sum()) == 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def brings_pages():
    release = platform.release().split(".")[:2]
    return sys.platform == "linux" and tuple(int(part) for part in release if part.isdigit()) >= (5, 14)


@pytest.mark.skipif(not brings_pages(), reason="only Linux since 5.14 brings pages of a file on request")
def test_pages_that_were_read_ahead_need_no_fault_when_they_are_used(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "usable_cores", lambda: 2)
    before = set(threading.enumerate())
    pages, others = read_ahead(mapped(tmp_path / "ahead")), mapped(tmp_path / "others")
    for thread in set(threading.enumerate()) - before:
        thread.join()
    ahead, when_used = faults_of_reading(pages), faults_of_reading(others)
    assert ahead < when_used / AROUND


def test_a_process_with_one_core_starts_no_thread_to_read_ahead(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "usable_cores", lambda: 1)
    monkeypatch.setattr(process, "_populate", lambda pages: pytest.fail("reads ahead"))
    pages = mapped(tmp_path / "file")
    assert read_ahead(pages) is pages


@pytest.mark.parametrize("was_on", [True, False])
def test_garbage_is_collected_again_after_a_block_without_even_if_it_fails(was_on):
    before, seen = gc.isenabled(), []

    def fail():
        with without_collection():
            seen.append(gc.isenabled())
            raise ValueError("failed")

    (gc.enable if was_on else gc.disable)()
    try:
        with pytest.raises(ValueError, match="failed"):
            fail()
        assert [*seen, gc.isenabled()] == [False, was_on]
    finally:
        (gc.enable if before else gc.disable)()
