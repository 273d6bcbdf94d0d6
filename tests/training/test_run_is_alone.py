"""A run has its folder to itself, can write to it, and responds to Ctrl-C and SIGTERM."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import short_runs
from places import child_environment
from short_runs import NEW, RESUME, assert_equal_runs, leftovers, sentence, spawn, wait_for

from experiments import cli
from experiments.commands.side_by_side import run_command
from experiments.exit_codes import ChildFailed
from experiments.training import launch
from experiments.training.folder import locked
from experiments.training.interrupt import ONE_PRESS, SIGNALS
from experiments.training.runner import Runner
from shared.metrics_log import read
from shared.run_folder import latest_checkpoint, list_checkpoints, read_state

pytestmark = pytest.mark.slow

small, whole, after_step = short_runs.small, short_runs.whole, short_runs.after_step  # fixtures


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(Runner, "run", lambda *given, **options: 1 / 0)


def refuse(number):
    def fail(*given, **options):
        raise OSError(number, os.strerror(number), "run/.lock")

    return fail


def test_a_run_folder_that_can_not_be_written_to_is_refused_before_training(no_training, tmp_path, monkeypatch, capsys):
    (tmp_path / "run").mkdir()
    monkeypatch.setattr("tempfile.TemporaryFile", refuse(errno.EACCES))
    assert cli.main(NEW) == 2
    assert "can't be written to (Permission denied): choose a different one" in sentence(capsys)
    monkeypatch.undo()
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_run_that_can_not_be_written_to_is_not_resumed(whole, tmp_path, monkeypatch, capsys, number):
    whole.rename(tmp_path / "run")
    monkeypatch.setattr(Runner, "run", lambda *given, **options: 1 / 0)
    open_file, fail = Path.open, refuse(number)
    monkeypatch.setattr(
        Path, "open", lambda path, *g, **o: (fail if path.name == ".lock" else open_file)(path, *g, **o)
    )
    assert cli.main([*RESUME, "--steps", "40"]) == 2
    assert f"the run folder run can't be written to ({os.strerror(number)}): make it writable" in sentence(capsys)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody can write to")
def test_not_even_root_trains_into_a_file_system_of_the_kernel(no_training, capsys):
    assert cli.main([*NEW[:-1], "/proc/isograd-run"]) == 2
    assert "/proc" in sentence(capsys)


def test_a_second_process_is_refused_while_the_first_runs_until_sigterm_saves_it(tmp_path, capsys):
    with spawn("train", "reviews-1-small", "--steps", "100000", "--out", "run") as first:
        wait_for(first, "validation")
        assert cli.main(RESUME) == 2
        assert "run is in use by another isograd process" in sentence(capsys)
        assert cli.main(NEW) == 2
        assert "run is not empty" in sentence(capsys)
        wait_for(first, "validation")
        first.send_signal(signal.SIGTERM)
        words = first.stderr.read()
    assert first.returncode == 128 + signal.SIGTERM
    step = re.search(r"isograd: stopped at step (\d+) of 100000 and saved: .*--resume run", words)[1]
    assert read_state(latest_checkpoint(tmp_path / "run")[0])["step"] == int(step)
    assert [r["step"] for r in read(tmp_path / "run") if r["kind"] == "train"] == list(range(1, int(step) + 1))


@pytest.mark.parametrize("has_ended", [False, True])
def test_of_two_processes_that_start_at_once_one_gets_the_folder(tmp_path, monkeypatch, capsys, has_ended):
    """The second comes while the first, having found the folder free, still reads its data."""
    make, lock = launch.backend_for, locked(tmp_path / "run")

    def beaten(*given):
        monkeypatch.setattr(launch, "backend_for", make)
        if has_ended:
            assert cli.main([*NEW, "--quiet"]) == 0
        else:
            (tmp_path / "run").mkdir()
            lock.__enter__()
        return make(*given)

    monkeypatch.setattr(launch, "backend_for", beaten)
    assert cli.main(NEW) == 2
    assert ("is not empty" if has_ended else "is in use by another") in sentence(capsys)
    if not has_ended:
        lock.__exit__(None, None, None)


def test_a_file_system_without_locks_can_be_trained_on(monkeypatch):
    import fcntl

    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    assert cli.main([*NEW, "--quiet"]) == 0


def test_ctrl_c_while_jax_compiles_is_noticed_at_once_and_saves_the_first_step(tmp_path):
    arguments = ["train", "reviews-5-small", "--backend", "jax", "--steps", "100000", "--out", "run"]
    with spawn(*arguments, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "jax")) as child:
        wait_for(child, "100000 steps")
        child.send_signal(signal.SIGINT)
        wait_for(child, "stopping after this step")
        words = child.stderr.read()
    assert child.returncode == 130
    assert "isograd: stopped at step 1 of 100000 and saved: resume with `isograd train --resume run`" in words
    assert read_state(latest_checkpoint(tmp_path / "run")[0])["step"] == 1
    assert leftovers(tmp_path / "run") == []


STUCK = """
import hashlib, sys
from dataclasses import replace
from fake_backend import FakeBackend
from experiments import cli
from experiments.training import checkpoints, launch
from experiments.catalogue import find_experiment

def compile_for_long(step):
    if step == 25 and WHERE == "step":
        print("it compiles", file=sys.stderr, flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

def write_for_long(run, step, arrays, state):
    if step == 20 and WHERE == "write":
        print("it writes", file=sys.stderr, flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
    return save(run, step, arrays, state)

WHERE, save, checkpoints.save_checkpoint = sys.argv[1], checkpoints.save_checkpoint, write_for_long
launch.load_backend = lambda name, **given: FakeBackend(**given, after_step=compile_for_long)
launch.find_experiment = lambda name: replace(find_experiment(name), evaluate_every=5, checkpoint_every=10)
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("number", "where"), [
    (signal.SIGINT, "step"),
    (signal.SIGTERM, "write"),
    pytest.param(signal.SIGTERM, "step", marks=pytest.mark.exhaustive),
    pytest.param(signal.SIGINT, "write", marks=pytest.mark.exhaustive),
])  # fmt: skip
def test_a_second_signal_ends_at_once_a_process_that_can_not_respond(whole, tmp_path, capsys, where, number):
    environment = child_environment()
    command = [sys.executable, "-c", STUCK, where, *NEW]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as child:
        wait_for(child, "it compiles" if where == "step" else "it writes")
        child.send_signal(number)
        wait_for(child, "stopping after this step")
        time.sleep(2 * ONE_PRESS)
        child.send_signal(number)
        words = child.stderr.read()
    assert (child.returncode, words.splitlines()[-1:]) == (  # the current work takes many minutes, and then says more
        128 + number,
        ["stopped at once: earlier checkpoints are intact"],
    )
    assert {folder.name for folder in list_checkpoints(tmp_path / "run")} >= {"step-00000010"}
    for folder in list_checkpoints(tmp_path / "run"):
        read_state(folder)
    assert cli.main(RESUME) == 0
    assert_equal_runs(tmp_path / "run", whole)


@pytest.fixture
def child_does(monkeypatch):
    """Let the process of one backend run this program instead."""
    popen = subprocess.Popen
    program = "import os, signal, sys, time\n"

    def use(text):
        monkeypatch.setattr(subprocess, "Popen", lambda command, env: popen([sys.executable, "-c", program + text]))

    return use


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(("child", "code"), [("sys.exit(7)", 7), ("os._exit(0)", None)])
def test_a_signal_that_only_the_parent_gets_reaches_the_backend_and_no_other_is_started(
    child_does, number, child, code
):
    child_does(f"signal.signal({number:d}, lambda *_: {child})\nos.kill(os.getppid(), {number:d})\ntime.sleep(60)")
    with pytest.raises(ChildFailed) as failed:
        run_command(["train"])
    assert failed.value.code == (128 + number if code is None else code)


def test_a_backend_that_is_killed_is_reported_with_its_signal(child_does, monkeypatch, capsys):
    child_does("os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(cli, "_run", lambda arguments: run_command(["train", "a b"]))
    assert cli.main([]) == 128 + signal.SIGKILL
    assert sentence(capsys) == "isograd: `isograd train 'a b'` was killed by signal 9"
