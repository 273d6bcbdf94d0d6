"""Runs of thirty steps in a numpy backend or in their own process, for tests of what may end a run."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
from fake_backend import FakeBackend
from places import ROOT
from records import without_times

from experiments import cli
from experiments.catalogue import find_experiment
from experiments.training import launch
from shared.metrics_log import read
from shared.run_folder import latest_checkpoint, load_checkpoint

NEW = ["train", "reviews-1-small", "--steps", "30", "--out", "run"]
RESUME = ["train", "--resume", "run", "--quiet"]


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """A numpy backend, and checkpoints after every tenth step."""
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    often = {"evaluate_every": 5, "checkpoint_every": 10}
    monkeypatch.setattr(launch, "find_experiment", lambda name: replace(find_experiment(name), **often))
    monkeypatch.setattr(launch, "load_backend", lambda name, **given: FakeBackend(**given))


@pytest.fixture
def after_step(monkeypatch):
    """Call a function after every step of the backend."""

    def use(function):
        backend = partial(FakeBackend, after_step=function)
        monkeypatch.setattr(launch, "load_backend", lambda name, **given: backend(**given))

    return use


@pytest.fixture
def whole(tmp_path):
    """The uninterrupted run."""
    assert cli.main([*NEW[:-1], "whole", "--quiet"]) == 0
    return tmp_path / "whole"


def leftovers(run):
    """What is half-written; a folder that gets its name meanwhile is passed over."""
    names = [name for _, folders, files in os.walk(run) for name in (*folders, *files)]
    return [name for name in names if name.endswith((".tmp", ".old"))]


def assert_equal_runs(run, whole):
    assert without_times(read(run)) == without_times(read(whole))
    for found, expected in ((run / "best", whole / "best"), (latest_checkpoint(run)[0], latest_checkpoint(whole)[0])):
        arrays, state = load_checkpoint(found)
        expected_arrays, expected_state = load_checkpoint(expected)
        assert state == expected_state
        assert arrays.keys() == expected_arrays.keys()
        assert all(arrays[name].tobytes() == expected_arrays[name].tobytes() for name in arrays)
    assert leftovers(run) == []


def sentence(capsys):
    """The command's message: one sentence on one line."""
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("isograd: ")
    return said


def spawn(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(child, words):
    said = []
    for line in child.stderr:
        said.append(line)
        if words in line:
            return
    raise AssertionError(f"the run ended before it said {words!r}: {said}")
