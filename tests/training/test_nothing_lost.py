"""A kill at any moment and a full disk cost nothing that was saved."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import short_runs
from places import SUPPORT
from short_runs import NEW, RESUME, ROOT, assert_equal_runs, leftovers, sentence

from experiments import cli
from experiments.catalogue import find_experiment
from experiments.progress.display import Progress
from experiments.training import launch
from experiments.training.checkpoints import Checkpoints
from experiments.training.folder import check_unused
from shared import metrics_log, run_folder
from shared.errors import IsogradError
from shared.metrics_log import MetricsLog, read
from shared.run_folder import list_checkpoints, read_state, save_checkpoint
from shared.tasks.table import TASKS

pytestmark = pytest.mark.slow

FIGURES = TASKS["classification"].figures

small, whole, after_step = short_runs.small, short_runs.whole, short_runs.after_step  # fixtures

FEW, MANY = {"torch": 12, "jax": 4}, {"torch": 40, "jax": 10}
KILLS = list(FEW.items())
KILLS += [pytest.param(*row, marks=pytest.mark.exhaustive) for row in MANY.items()]
NO_ROOM = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize(("backend", "kills"), KILLS)
def test_a_run_killed_at_random_moments_ends_in_the_bits_of_the_uninterrupted_one(tmp_path, backend, kills):
    command = [sys.executable, str(SUPPORT / "killed_runs.py"), str(tmp_path), backend]
    environment = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jax"), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [*command, str(kills), "0"], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    hit = json.loads(ended.stdout)
    print(backend, hit)
    assert hit["kills"] == kills


@pytest.mark.parametrize("left", [[".lock"], [".lock", ".tokenizer.json.9.tmp"], [".lock", "tokenizer.json"]])
def test_a_run_killed_before_it_had_started_is_started_again(whole, tmp_path, left):
    (tmp_path / "run").mkdir()
    for name in [*left, ".config.json.9.tmp"]:
        (tmp_path / "run" / name).write_text("half of")
    assert cli.main([*NEW, "--quiet"]) == 0
    assert_equal_runs(tmp_path / "run", whole)


@pytest.mark.parametrize("names", [["tokenizer.json"], ["x.tmp"], [".lock", "thesis.txt"], [".lock", "metrics.jsonl"]])
def test_a_folder_with_files_of_the_user_is_never_mistaken_for_an_abandoned_run(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("precious")
    with pytest.raises(IsogradError, match="is not empty"):
        check_unused(tmp_path)


def test_a_checkpoint_gets_its_name_only_when_all_of_it_is_written(monkeypatch):
    renamed, rename = [], Path.rename

    def watched(path, target):
        if Path(target).name.startswith("step-") or Path(target).name == "best":
            assert read_state(path)["step"] > 0
            renamed.append(target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", watched)
    assert cli.main([*NEW, "--quiet"]) == 0
    assert len(renamed) >= 3


def test_the_records_of_all_its_steps_are_in_the_log_before_a_checkpoint_is_written(monkeypatch):
    seen, save, often = [], run_folder.save_checkpoint, {"evaluate_every": 8, "checkpoint_every": 6}

    def watched(run, step, arrays, state):
        logged = {kind: [r["step"] for r in read(run) if r["kind"] == kind] for kind in ("train", "validation")}
        assert logged["train"][:step] == list(range(1, step + 1))
        assert logged["validation"][: step // 8] == list(range(8, step + 1, 8))
        seen.append(step)
        return save(run, step, arrays, state)

    monkeypatch.setattr(launch, "find_experiment", lambda name: replace(find_experiment(name), **often))
    monkeypatch.setattr("experiments.training.checkpoints.save_checkpoint", watched)
    assert cli.main([*NEW, "--quiet"]) == 0
    assert seen == [6, 12, 18, 24, 30]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_does_not_claim_to_have_saved_what_it_could_not(monkeypatch, capsys, after_step, number):
    monkeypatch.setattr("experiments.training.checkpoints.save_checkpoint", fail_for_room)
    after_step(lambda step: os.kill(os.getpid(), number) if step == 3 else None)
    assert cli.main(NEW) == 2
    assert "isograd: training stopped: [Errno 28] No space left on device" in sentence(capsys)


def fail_for_room(*given):
    raise NO_ROOM


def test_a_resumed_run_knows_the_best_validation_of_the_process_before_it(tmp_path):
    best, same, better, worse = (
        {"accuracy": accuracy, "loss": loss} for accuracy, loss in ((0.5, 2.0), (0.5, 2.0), (0.5, 1.0), (0.25, 1.0))
    )
    with Checkpoints(tmp_path, lambda state: {"weights/a": np.ones(1)}, FIGURES) as before:
        before.save_best({}, {"step": 1, "validation": best})
    with Checkpoints(tmp_path, lambda state: {}, FIGURES) as after:
        assert [after.is_best(validation) for validation in (same, worse, better)] == [False, False, True]


@pytest.fixture
def full_disk(monkeypatch):
    """The n-th weights file (or any later one) gets half of its bytes onto the disk; fixed by `make_room`."""
    left, save = {"files": 0}, safetensors.numpy.save_file

    def save_half(arrays, path, metadata):
        save(arrays, path, metadata=metadata)
        left["files"] -= 1
        if left["files"] < 0:
            os.truncate(path, Path(path).stat().st_size // 2)
            raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device")

    def after(files):
        left["files"] = files
        monkeypatch.setattr(safetensors.numpy, "save_file", save_half)
        return lambda: monkeypatch.setattr(safetensors.numpy, "save_file", save)

    return after


@pytest.mark.parametrize("files", range(0, 9, 2))
@pytest.mark.parametrize("odd", [0, 1])
def test_a_disk_that_is_full_in_the_middle_of_a_checkpoint_costs_nothing_that_was_saved(
    whole, tmp_path, capsys, full_disk, files, odd
):
    make_room = full_disk(files + odd)
    assert cli.main([*NEW, "--quiet"]) == 2
    words = sentence(capsys)
    assert re.search(
        r"could not write run/(best|checkpoints/step-\d+)/(weights|optimizer)\.safetensors: .*No space", words
    )
    assert "then resume with `isograd train --resume run`" in words
    assert leftovers(tmp_path / "run") == []
    for folder in list_checkpoints(tmp_path / "run"):
        read_state(folder)
    make_room()
    assert cli.main(RESUME) == 0
    assert_equal_runs(tmp_path / "run", whole)


def test_a_failed_write_ends_the_run_at_the_next_step_and_not_at_the_next_save(tmp_path, monkeypatch, after_step):
    failed = threading.Event()

    def fail(*given):
        failed.set()
        raise NO_ROOM

    monkeypatch.setattr("experiments.training.checkpoints.save_checkpoint", fail)
    after_step(lambda step: failed.wait() and time.sleep(0.1) if step not in range(11) else None)
    with pytest.raises(IsogradError, match="No space left on device; no checkpoint had been written yet; then resume"):
        launch.start("reviews-1-small", launch.Settings(steps=30), tmp_path / "run", Progress())
    assert read(tmp_path / "run")[-1]["step"] < 15  # neither the next best/ nor the next checkpoint


def test_checking_for_errors_does_not_wait_for_an_unfinished_write(tmp_path, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr("experiments.training.checkpoints.save_checkpoint", lambda *given: go_on.wait())
    with Checkpoints(tmp_path, lambda state: {"weights/a": np.ones(1)}, FIGURES) as checkpoints:
        checkpoints.save({}, {"step": 1})
        checkpoints.check()
        go_on.set()


def test_a_new_best_and_a_checkpoint_of_one_step_do_not_wait_for_each_other(tmp_path, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr("experiments.training.checkpoints.save_best", lambda *given: go_on.wait())
    with Checkpoints(tmp_path, lambda state: {"weights/a": np.ones(1)}, FIGURES) as checkpoints:
        checkpoints.save_best({}, {"step": 1, "validation": {"accuracy": 1.0, "loss": 0.0}})
        checkpoints.save({}, {"step": 1})
        assert list_checkpoints(tmp_path) == []  # the first write is unfinished
        go_on.set()
    assert len(list_checkpoints(tmp_path)) == 1


def test_a_checkpoint_holds_no_step_that_its_log_could_lose_in_a_power_cut(tmp_path, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(MetricsLog, "sync", told_of(told, "log", MetricsLog.sync))
    monkeypatch.setattr(
        "experiments.training.checkpoints.save_checkpoint", told_of(told, "checkpoint", save_checkpoint)
    )
    launch.start("reviews-1-small", launch.Settings(steps=30), tmp_path / "run", Progress())
    assert "checkpoint" in told
    assert all(told[place - 1] == "log" for place, what in enumerate(told) if what == "checkpoint")


def told_of(told, what, method):
    """The method, which also records that it was called."""

    def call(*given):
        told.append(what)
        return method(*given)

    return call


class FullAfter:
    """A text file with room for some lines; the last one is written as far as it fits."""

    def __init__(self, file, lines):
        self._file, self._lines = file, lines

    def write(self, line):
        self._lines -= 1
        self._file.write(line if self._lines >= 0 else line[: len(line) // 2])

    def flush(self):
        self._file.flush()
        if self._lines < 0:
            raise NO_ROOM

    def fileno(self):
        return self._file.fileno()

    def close(self):
        self._file.close()


def test_a_disk_that_is_full_for_the_records_ends_in_one_sentence_and_the_run_goes_on_later(
    whole, tmp_path, capsys, monkeypatch
):
    open_log = metrics_log._open
    monkeypatch.setattr(metrics_log, "_open", lambda folder: FullAfter(open_log(folder), lines=17))
    assert cli.main([*NEW, "--quiet"]) == 2
    said = sentence(capsys)
    assert "the disk is full (run/metrics.jsonl): free some space" in said
    assert "then resume with `isograd train --resume run`" in said
    monkeypatch.setattr(metrics_log, "_open", open_log)
    assert cli.main(RESUME) == 0
    assert_equal_runs(tmp_path / "run", whole)


def test_a_disk_that_is_full_for_tensorboard_ends_in_one_sentence_and_not_in_a_run_that_hangs(monkeypatch, capsys):
    pytest.importorskip("tensorboardX")
    rooms = iter([None] * 5)  # for as many events
    monkeypatch.setattr(
        "tensorboardX.event_file_writer.EventsWriter.write_event",
        lambda writer, event: next(rooms, fail_for_room) and fail_for_room(),
    )
    assert cli.main([*NEW, "--quiet"]) == 2
    assert "the disk is full: free some space" in sentence(capsys)


TINY_DISK = """
mkdir disk && mount -t tmpfs -o size=$1 none disk || exit 77
shift
"$@" --out disk/run; echo "code $?"
find disk -name '*.tmp'
mount -o remount,size=50m disk
"$1" "$2" "$3" train --resume disk/run --quiet; echo "code $?"
cp -r disk/run run
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs namespaces")
@pytest.mark.parametrize("size", ["20k", "700k"], ids=["the records", "a checkpoint"])
def test_a_real_full_disk_ends_a_real_run_in_one_sentence(tmp_path, size):
    command = [sys.executable, "-m", "experiments", "train", "reviews-1-small", "--steps", "300", "--quiet"]
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", TINY_DISK, "sh", size, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    if ended.returncode == 77 or "unshare" in ended.stderr:
        pytest.skip("this system does not allow mounting a small disk")
    assert ended.stdout.splitlines() == ["code 2", "code 0"], ended
    assert re.fullmatch(r"isograd: .*(No space left on device|the disk is full).*\n", ended.stderr)
    assert [r["step"] for r in read(tmp_path / "run") if r["kind"] == "train"] == list(range(1, 301))
