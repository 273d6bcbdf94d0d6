"""The kernel of a GRU layer stands what `isograd stress` does to it, in Triton's interpreter and on a GPU."""

import importlib.util
import subprocess
import sys

import pytest
from places import child_environment

from crosscheck.kernels import stress
from crosscheck.kernels.faults import DELAYS, KERNEL_FAULTS, NEVER_COMPLETE
from crosscheck.kernels.planting import FILE
from experiments import cli

SMALLER = {"shapes": 64, "delays": 1000, "sharing": 50}


def stressed(*arguments):
    """In a process of its own: the interpreter is chosen before PyTorch is imported."""
    command = [sys.executable, "-m", "experiments", "stress", *arguments]
    return subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=900)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton: pip install triton")
def test_every_planted_fault_is_caught_and_no_group_waits_for_ever():
    run = stressed()
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{sum(not fault.only_on_gpu for fault in KERNEL_FAULTS)} planted faults, 0 wrong" in run.stdout


@pytest.mark.gpu
@pytest.mark.parametrize("name", stress.CHECKS)
def test_the_kernel_stands(name):
    number = ["--number", str(SMALLER[name])] if name in SMALLER else []
    run = stressed(name, "--device", "cuda", *number)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_change_of_a_kernel_changes_a_text_that_occurs_once():
    source = FILE.read_text()
    changes = {fault.name: fault.changes for fault in KERNEL_FAULTS} | {"": DELAYS, "wait": NEVER_COMPLETE}
    assert {name: [source.count(old) for old, _ in each] for name, each in changes.items()} == {
        name: [1] * len(each) for name, each in changes.items()
    }
    assert len(KERNEL_FAULTS) == len(changes) - 2  # no name twice


def test_random_shapes_reach_from_one_to_the_largest():
    shapes = [sizes for part in stress.random_sizes(1000) for sizes in part]
    assert len(set(shapes)) > len(shapes) // 2
    for name, largest in stress.LARGEST.items():
        found = [getattr(sizes, name) for sizes in shapes]
        assert min(found) == 1
        assert largest // 2 < max(found) <= largest


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["faluts"], "unknown check 'faluts': did you mean 'faults'"),
        (["shapes"], "shapes needs a GPU: --device cuda"),
        (["--number", "0"], "--number: expected at least 1, got 0"),
    ],
)
def test_bad_input_is_one_sentence(capsys, monkeypatch, arguments, words):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert cli.main(["stress", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"isograd: {words}")
