"""Parallel jobs give the same outcome as sequential ones."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import child_environment

from crosscheck.twins import workers
from crosscheck.twins.workers import JOBS_FOR_A_WORKER, run_all, run_as_done
from shared.errors import IsogradError

pytestmark = pytest.mark.slow

MANY = range(2 * JOBS_FOR_A_WORKER)
SLOW = "from test_workers import *\nif __name__ == '__main__': print(list(run_all(sleep_for_ever, MANY)))"


def where(job: int) -> tuple[int, int]:
    return job, os.getpid()


def fail_at_three(job: int) -> int:
    if job == 3:
        raise IsogradError("three is refused")
    return job


def kill_at_three(job: int) -> int:
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def sleep_for_ever(job: int) -> None:
    print(f"started in {os.getpid()}", flush=True)
    time.sleep(1000)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(workers, "usable_cores", lambda: 2)


def test_many_jobs_run_in_other_processes_and_come_back_in_their_order():
    jobs, processes = zip(*run_all(where, MANY), strict=True)
    assert jobs == tuple(MANY)
    assert os.getpid() not in processes


@pytest.mark.parametrize("count", [0, 1, len(MANY) - 1])
def test_a_few_jobs_run_here(count):
    assert list(run_all(where, range(count))) == [(job, os.getpid()) for job in range(count)]


def first_is_slow(job: int) -> int:
    time.sleep(2 if job == 0 else 0)
    return job


def test_what_is_known_first_comes_first_where_the_order_does_not_matter():
    found = list(run_as_done(first_is_slow, range(3), workers=2))
    assert found[-1] == (0, 0)
    assert sorted(found) == [(job, job) for job in range(3)]


@pytest.mark.parametrize("jobs", [range(4), MANY], ids=["here", "in workers"])
def test_what_a_job_raises_is_raised(jobs):
    with pytest.raises(IsogradError, match="three is refused"):
        list(run_all(fail_at_three, jobs))


def test_a_killed_worker_is_one_sentence():
    with pytest.raises(IsogradError, match="one of 2 worker processes was killed, perhaps for lack of memory"):
        list(run_all(kill_at_three, MANY))


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.exhaustive)]
)
def test_workers_end_with_their_parent(tmp_path, number):
    (tmp_path / "parent.py").write_text(f"{SLOW}\n")
    command = [sys.executable, tmp_path / "parent.py"]
    environment = child_environment(Path(__file__).parent)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout.readline().startswith(b"started in ")
        parent.send_signal(number)
        parent.stdout.read()  # until nobody holds the other end: a surviving worker would hold it forever
    assert parent.returncode != 0
