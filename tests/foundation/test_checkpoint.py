"""Checkpoint files keep every byte, run folders are complete or absent, and damage is reported in one sentence."""

import errno
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from damage import HARMS, flip_a_bit, truncate
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from places import ROOT, child_environment

from shared import atomic, checkpoint, digests, run_folder
from shared.errors import IsogradError

DTYPES = ["<f8", "<f4", ">f4", "<f2", "<c8", "?", "<i8", "<i4", ">i2", "|i1", "<u8", "|u1", ml_dtypes.bfloat16]
LAYOUTS = {
    "as it is": lambda array: array,
    "transposed": lambda array: array.T,
    "every second": lambda array: array[..., ::2] if array.ndim else array,
    "reversed": lambda array: array[::-1] if array.ndim else array,
    "Fortran order": np.asfortranarray,
    "broadcast": lambda array: np.broadcast_to(array, (3, *array.shape)),
}


@st.composite
def arrays(draw) -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    size = int(np.prod(shape)) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype.kind == "b":
        data = bytes(byte % 2 for byte in data)
    return np.frombuffer(data, dtype).reshape(shape)


def bytes_of(array: np.ndarray) -> bytes:
    """In the order of the axes and in native byte order."""
    return array.astype(array.dtype.newbyteorder("=")).tobytes()


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].shape == array.shape
        assert found[name].tobytes() == bytes_of(array)


@settings(max_examples=150, deadline=None)
@given(array=arrays(), layout=st.sampled_from(list(LAYOUTS)))
def test_every_dtype_shape_and_memory_layout_survives_the_round_trip_to_the_byte(array, layout, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "array.safetensors"
    expected = {"a": LAYOUTS[layout](array), "other": np.arange(3)}
    checkpoint.save(path, expected, {})
    assert_same(checkpoint.load(path)[0], expected)


def test_a_scalar_stays_a_scalar(tmp_path):
    checkpoint.save(tmp_path / "f", {"step": np.array(7)}, {})
    assert checkpoint.load(tmp_path / "f")[0]["step"].shape == ()


@pytest.mark.parametrize(
    "metadata", [{}, {"twin": "GRU", "arguments": {"sizes": [1, 2.5, None, True]}, "é": 'a "quoted" text'}]
)
def test_metadata_comes_back_unchanged(tmp_path, metadata):
    checkpoint.save(tmp_path / "f", {}, metadata)
    assert checkpoint.load(tmp_path / "f") == ({}, metadata)


def test_numpy_numbers_in_metadata_become_plain_numbers(tmp_path):
    checkpoint.save(tmp_path / "f", {}, {"step": np.int64(3), "loss": np.float32(0.5)})
    assert checkpoint.load(tmp_path / "f")[1] == {"step": 3, "loss": 0.5}


def test_a_foreign_header_is_returned_unchanged(tmp_path):
    import safetensors.numpy

    safetensors.numpy.save_file({"a": np.ones(2)}, tmp_path / "f", metadata={"format": "pt"})
    assert checkpoint.load(tmp_path / "f")[1] == {"format": "pt"}


def test_a_loaded_array_is_a_copy_that_may_be_written_to(tmp_path):
    checkpoint.save(tmp_path / "f", {"a": np.zeros(3)}, {})
    checkpoint.load(tmp_path / "f")[0]["a"][:] = 1
    assert not checkpoint.load(tmp_path / "f")[0]["a"].any()


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.zeros(2, "c16"), np.zeros(2, "M8[s]")])
def test_an_unsupported_dtype_is_refused_by_name_and_nothing_is_written(tmp_path, array):
    with pytest.raises(IsogradError, match="does not support a.weight"):
        checkpoint.save(tmp_path / "f", {"a.weight": array}, {})
    assert list(tmp_path.iterdir()) == []


def whole_file() -> bytes:
    import safetensors.numpy

    return safetensors.numpy.save({"a": np.arange(100.0)})


DAMAGED = {
    "missing": (None, "there is no such file"),
    "empty": (b"", "the file is empty"),
    "a few bytes": (b"abc", "not a valid safetensors file"),
    "truncated in the data": (whole_file()[:-1], "not a valid safetensors file"),
    "truncated in the header": (whole_file()[:20], "not a valid safetensors file"),
    "header beyond the file": ((10**6).to_bytes(8, "little") + b"{}", "not a valid safetensors file"),
    "too long": (whole_file() + b"x", "not a valid safetensors file"),
    "random bytes": (random.Random(0).randbytes(1000), "not a valid safetensors file"),
    "a torch zip": (b"PK\x03\x04" + bytes(100), "torch or zip file"),
    "an old pickle": (b"\x80\x02}q\x00." + bytes(100), "torch or zip file"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_an_unusable_file_is_reported_in_one_sentence_with_its_path(tmp_path, damage):
    content, sentence = DAMAGED[damage]
    if content is not None:
        (tmp_path / "f").write_bytes(content)
    with pytest.raises(IsogradError, match=sentence) as caught:
        checkpoint.load(tmp_path / "f")
    assert str(tmp_path / "f") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_flipped_bit_of_a_file_of_ours_changes_a_number_or_the_metadata_unnoticed(tmp_path):
    path, metadata = tmp_path / "f", {"twin": "GRU", "sizes": [1, 2]}
    arrays = {"a": np.arange(4, dtype=np.float32), "b": np.ones((2, 1), np.float32)}
    checkpoint.save(path, arrays, metadata)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole)
        flip_a_bit(path, place)
        try:
            found, of_file = checkpoint.load(path)
        except IsogradError:
            continue
        assert_same(found, arrays)  # the bit was one of the name of the digests, or of all metadata
        assert b'"isograd"' not in path.read_bytes() or all(of_file[name] == metadata[name] for name in metadata)


def test_a_damaged_number_is_named(tmp_path):
    checkpoint.save(tmp_path / "f", {"a.weight": np.zeros(3), "b": np.ones(3)}, {})
    flip_a_bit(tmp_path / "f", -1)
    with pytest.raises(IsogradError, match="f is damaged: b changed since it was written: write it again"):
        checkpoint.load(tmp_path / "f")


@pytest.mark.parametrize("change", [lambda arrays: arrays.pop("b"), lambda arrays: arrays.update(c=np.ones(1))])
def test_an_array_more_or_less_than_was_written_is_damage(tmp_path, change):
    arrays = {"a": np.zeros(3), "b": np.ones(3)}
    metadata = digests.with_digests(arrays, {"twin": "GRU"})
    digests.check_digests(tmp_path / "f", arrays, metadata)
    change(arrays)
    with pytest.raises(IsogradError, match="f is damaged"):
        digests.check_digests(tmp_path / "f", arrays, metadata)


@pytest.mark.parametrize("other", [np.zeros((3, 2), np.float32), np.zeros((2, 3), np.int32)], ids=["shape", "dtype"])
def test_the_same_bytes_in_another_form_are_damage(tmp_path, other):
    metadata = digests.with_digests({"a": np.zeros((2, 3), np.float32)}, {})
    with pytest.raises(IsogradError, match="damaged"):
        digests.check_digests(tmp_path / "f", {"a": other}, metadata)


def test_a_file_that_was_written_before_there_were_digests_is_read(tmp_path):
    import safetensors.numpy

    safetensors.numpy.save_file({"a": np.ones(2)}, tmp_path / "f", metadata={"isograd": '{"twin": "GRU"}'})
    assert checkpoint.load(tmp_path / "f")[1] == {"twin": "GRU"}


def test_equal_files_have_equal_bytes(tmp_path):
    files = []
    for number in range(8):
        checkpoint.save(tmp_path / str(number), {"b": np.ones(2), "a": np.zeros(3)}, {"twin": "GRU", "arguments": {}})
        files.append((tmp_path / str(number)).read_bytes())
    assert len(set(files)) == 1


def test_metadata_that_json_writes_differently_is_no_damage(tmp_path):
    checkpoint.save(tmp_path / "f", {}, {"sizes": (1, np.float32(0.1)), "calls": {10: "b", 9: "a"}})
    found = checkpoint.load(tmp_path / "f")[1]
    assert list(found["calls"].items()) == [("10", "b"), ("9", "a")]
    assert found["sizes"][0] == 1


def test_a_folder_is_not_a_checkpoint_file(tmp_path):
    with pytest.raises(IsogradError, match="this is a folder"):
        checkpoint.load(tmp_path)


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "f", {"a": np.ones(3)}, {"old": True})
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(IsogradError, match="could not write .*No space left on device"):
        checkpoint.save(tmp_path / "f", {"a": np.zeros(3)}, {})
    assert checkpoint.load(tmp_path / "f")[1] == {"old": True}
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


LIMITED = """
import resource, sys
import numpy as np
from shared import checkpoint
from shared.errors import IsogradError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    checkpoint.save(sys.argv[1], {"a": np.zeros(10_000)}, {})
except IsogradError as error:
    print(error)
"""


def test_a_write_that_the_system_cuts_short_leaves_the_old_file_and_no_temporary(tmp_path):
    checkpoint.save(tmp_path / "f", {"a": np.ones(3)}, {"old": True})
    said = subprocess.run([sys.executable, "-c", LIMITED, tmp_path / "f"], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout.startswith("could not write"), said
    assert checkpoint.load(tmp_path / "f")[1] == {"old": True}
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_file_in_folders_that_there_are_not_makes_them(tmp_path):
    with atomic.new_file(tmp_path / "a" / "b" / "f") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a" / "b" / "f").read_text() == "new"


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes with names")
def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(IsogradError, match="pipe: expected a file or a free name"):
        checkpoint.save(tmp_path / "pipe", {"a": np.ones(3)}, {})
    assert (tmp_path / "pipe").is_fifo()


def test_an_interruption_leaves_the_old_file_and_no_temporary(tmp_path):
    (tmp_path / "f").write_text("old")

    def interrupted():
        with atomic.new_file(tmp_path / "f") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "f").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


# Run folders


def content(step: int) -> dict[str, np.ndarray]:
    """Arrays as from `Backend.state_to_arrays` that identify their step."""
    generator = np.random.default_rng(step)
    shapes = {"layer.weight": (50, 7), "layer.bias": (7,)}
    moments = ("weights", "exp_avg", "exp_avg_sq")
    named = {f"{kind}/{name}": generator.standard_normal(shape) for kind in moments for name, shape in shapes.items()}
    return {**named, "step": np.array(step)}


def state(step: int) -> dict:
    return {"step": step, "twin": "Linear", "arguments": {"in_features": 7}, "best": {"accuracy": step / 7}}


def save(run: Path, *steps: int) -> None:
    for step in steps:
        run_folder.save_checkpoint(run, step, content(step), state(step))


def assert_complete(folder: Path, step: int) -> None:
    found, found_state = run_folder.load_checkpoint(folder)
    assert_same(found, content(step))
    assert found_state == state(step)


def test_a_checkpoint_comes_back_with_its_arrays_and_its_state(tmp_path):
    save(tmp_path, 1000)
    assert_complete(tmp_path / "checkpoints" / "step-00001000", 1000)
    assert run_folder.latest_checkpoint(tmp_path) == (tmp_path / "checkpoints" / "step-00001000", [])


def test_the_weights_alone_have_canonical_names_and_say_which_model_they_belong_to(tmp_path):
    save(tmp_path, 1)
    weights, metadata = checkpoint.load(tmp_path / "checkpoints" / "step-00000001" / "weights.safetensors")
    assert weights.keys() == {"layer.weight", "layer.bias"}
    assert metadata == {"twin": "Linear", "arguments": {"in_features": 7}}


def test_best_has_the_same_layout(tmp_path):
    assert run_folder.best_checkpoint(tmp_path) is None
    run_folder.save_best(tmp_path, content(3), state(3))
    run_folder.save_best(tmp_path, content(5), state(5))
    assert run_folder.best_checkpoint(tmp_path) == tmp_path / "best"
    assert_complete(tmp_path / "best", 5)


def test_writing_over_a_step_replaces_it(tmp_path):
    save(tmp_path, 4)
    run_folder.save_checkpoint(tmp_path, 4, content(9), state(9))
    assert_complete(tmp_path / "checkpoints" / "step-00000004", 9)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
def test_a_damaged_newest_checkpoint_is_skipped_with_a_note(tmp_path, name, harm):
    save(tmp_path, 1, 2)
    damaged = tmp_path / "checkpoints" / "step-00000002"
    HARMS[harm](damaged / name)
    folder, notes = run_folder.latest_checkpoint(tmp_path)
    assert_complete(folder, 1)
    assert len(notes) == 1
    assert str(damaged) in notes[0]
    with pytest.raises(IsogradError, match=name):
        run_folder.load_checkpoint(damaged)


def test_files_of_two_checkpoints_are_not_mixed(tmp_path):
    save(tmp_path, 1, 2)
    one, two = run_folder.list_checkpoints(tmp_path)
    shutil.copy(one / "optimizer.safetensors", two / "optimizer.safetensors")
    with pytest.raises(IsogradError, match="optimizer.safetensors is damaged"):
        run_folder.load_checkpoint(two)


@pytest.mark.parametrize("damaged", [0, 2])
def test_a_run_without_a_usable_checkpoint_says_so(tmp_path, damaged):
    save(tmp_path, *range(damaged))
    for folder in run_folder.list_checkpoints(tmp_path):
        truncate(folder / "weights.safetensors")
    with pytest.raises(IsogradError, match="no usable checkpoint"):
        run_folder.latest_checkpoint(tmp_path)


def steps_of(run: Path) -> list[int]:
    return [int(folder.name.partition("-")[2]) for folder in run_folder.list_checkpoints(run)]


def test_pruning_keeps_the_newest_and_best(tmp_path):
    save(tmp_path, 1, 2, 3, 4)
    run_folder.save_best(tmp_path, content(2), state(2))
    assert [folder.name for folder in run_folder.keep_last(tmp_path, 2)] == ["step-00000001", "step-00000002"]
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-00000003", "step-00000004"]
    assert_complete(tmp_path / "best", 2)


def test_pruning_keeps_the_last_good_checkpoint(tmp_path):
    save(tmp_path, 1, 2, 3, 4)
    for step in (3, 4):
        truncate(tmp_path / "checkpoints" / f"step-0000000{step}" / "weights.safetensors")
    run_folder.keep_last(tmp_path, 2)
    assert steps_of(tmp_path) == [2, 3, 4]
    assert_complete(run_folder.latest_checkpoint(tmp_path)[0], 2)


@pytest.mark.parametrize("left", [".step-00000002.123.tmp", ".step-00000001.old"])
def test_what_a_killed_process_left_is_ignored_and_cleaned_up(tmp_path, left):
    save(tmp_path, 1)
    stale = tmp_path / "checkpoints" / left
    shutil.copytree(tmp_path / "checkpoints" / "step-00000001", stale)
    assert steps_of(tmp_path) == [1]
    save(tmp_path, 3)
    assert not stale.exists()
    assert steps_of(tmp_path) == [1, 3]


def test_a_step_is_found_when_the_process_was_killed_between_the_two_renames_of_a_replacement(tmp_path):
    save(tmp_path, 1)
    folder = tmp_path / "checkpoints" / "step-00000001"
    folder.rename(atomic.set_aside(folder))
    assert_complete(run_folder.latest_checkpoint(tmp_path)[0], 1)
    save(tmp_path, 2)  # the next writer restores it
    assert_complete(folder, 1)


def test_a_folder_takes_the_place_of_another_whatever_a_killed_process_set_aside(tmp_path):
    for text in ("old", "new"):
        (tmp_path / ".w.old" / "left").mkdir(parents=True)
        with atomic.new_folder(tmp_path / "w") as temporary:
            temporary.mkdir()
            (temporary / "a").write_text(text)
    assert (tmp_path / "w" / "a").read_text() == "new"
    assert os.listdir(tmp_path) == ["w"]


@pytest.mark.parametrize("renames", [0, 1])
def test_best_is_there_at_every_moment_of_its_replacement(tmp_path, monkeypatch, renames):
    run_folder.save_best(tmp_path, content(1), state(1))
    left, rename = [renames], Path.rename

    def killed_after_some(path, target):
        if path.parent == tmp_path and not left[0]:
            raise KeyboardInterrupt
        left[0] -= path.parent == tmp_path
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed_after_some)
    with pytest.raises(KeyboardInterrupt):
        run_folder.save_best(tmp_path, content(2), state(2))
    assert_complete(run_folder.best_checkpoint(tmp_path), 1)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, 1)
    monkeypatch.setattr(os, "fsync", full_disk)
    named = re.escape(str(tmp_path / "checkpoints" / "step-00000001" / "weights.safetensors"))
    with pytest.raises(IsogradError, match=f"could not write {named}: No space left"):
        run_folder.save_checkpoint(tmp_path, 1, content(2), state(2))
    assert_complete(run_folder.latest_checkpoint(tmp_path)[0], 1)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


def test_a_folder_and_a_file_are_on_disk_before_they_have_their_names(tmp_path, monkeypatch):
    synced: list[tuple[str, bool]] = []
    monkeypatch.setattr(atomic, "_sync", lambda path: synced.append((path.name, (tmp_path / "new").exists())))
    with atomic.new_folder(str(tmp_path / "new")) as temporary:
        (temporary / "inner").mkdir(parents=True)
        (temporary / "a").write_text("a")
        (temporary / "inner" / "b").write_text("b")
    names = [name for name, has_its_name in synced if not has_its_name]
    assert sorted(names) == sorted(["a", "inner", "b", temporary.name])
    assert synced[len(names) :] == [(tmp_path.name, True)]
    shutil.rmtree(tmp_path / "new")
    with atomic.new_file(str(tmp_path / "new")) as temporary:
        temporary.write_text("c")
    assert synced[len(names) + 1 :] == [(temporary.name, False), (tmp_path.name, True)]


SAVING = """
import sys
from pathlib import Path
from test_checkpoint import content, state
from shared.run_folder import keep_last, save_best, save_checkpoint
run, first = Path(sys.argv[1]), int(sys.stdin.readline())
print("ready", flush=True)
for step in range(first, first + 100_000):
    save_checkpoint(run, step // 2, content(step), state(step))  # every second save replaces the one before
    save_best(run, content(step), state(step))
    keep_last(run, 3)
    print("saved", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_process_killed_while_it_saves_leaves_an_intact_and_correct_checkpoint(tmp_path):
    save(tmp_path, 0)
    run_folder.save_best(tmp_path, content(0), state(0))
    generator, newest = random.Random(0), 0
    command = [sys.executable, "-c", SAVING, str(tmp_path)]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": child_environment(Path(__file__).parent)}
    savers = [subprocess.Popen(command, **options, text=True) for _ in range(15)]
    try:
        for saver in savers:  # they start together and save one after another
            print(2 * newest + 2, file=saver.stdin, flush=True)
            for said in ["ready\n", *["saved\n"] * generator.randrange(3)]:
                assert saver.stdout.readline() == said
            time.sleep(generator.uniform(0.0, 0.03))
            saver.send_signal(signal.SIGKILL)
            saver.wait()
            folder, notes = run_folder.latest_checkpoint(tmp_path)
            step = run_folder.read_state(folder)["step"]
            assert_complete(folder, step)
            assert notes == []
            assert step // 2 >= newest
            newest = step // 2
            best = run_folder.best_checkpoint(tmp_path)
            assert_complete(best, json.loads((best / "state.json").read_text())["step"])
    finally:
        for saver in savers:
            saver.kill()
            saver.communicate()
    assert newest > 0


def test_what_a_library_still_writes_after_its_failure_is_removed_too(tmp_path, monkeypatch):
    late, hindered = iter([True] * 5 + [False]), iter([True])
    beside, rmdir = None, os.rmdir

    def write_while_the_failure_is_cleared_up(seconds: float) -> None:
        if next(late):
            (beside / "d").mkdir(parents=True, exist_ok=True)
            (beside / "d" / "late").write_text("late")

    def written_to_meanwhile(path: str, **options: int) -> None:
        if next(hindered, False):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        rmdir(path, **options)

    monkeypatch.setattr(atomic.time, "sleep", write_while_the_failure_is_cleared_up)
    monkeypatch.setattr(os, "rmdir", written_to_meanwhile)

    def fail() -> None:
        nonlocal beside
        with atomic.new_folder(tmp_path / "w") as temporary:
            beside = temporary.with_name(f"{temporary.name}.of-a-library")  # does not exist yet when the library fails
            raise OSError("no space")

    with pytest.raises(IsogradError, match="no space"):
        fail()
    assert (list(late), list(hindered), list(tmp_path.iterdir())) == ([], [], [])


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_a_checkpoint_can_be_read_by_those_whom_the_umask_permits(tmp_path, umask):
    before = os.umask(umask)
    try:
        checkpoint.save(tmp_path / "w.safetensors", {"a": np.ones(3)}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w.safetensors").stat().st_mode) == 0o666 & ~umask
