"""The progress of a run: the figures of a line, the time left at the steps' own pace, and the quiet and JSON forms."""

import json
import os
import re

import pytest

from experiments.catalogue import find_experiment
from experiments.progress import display
from experiments.progress import line as progress_line
from experiments.progress.display import Bar, JsonLines, Lines, Progress, make_progress
from experiments.training.threads import choose_threads
from shared.tasks.table import TASKS

TASK = TASKS["classification"]


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand, instead of the system's."""
    now = {"seconds": 1000.0}
    for module in (display, progress_line):
        monkeypatch.setattr(module.time, "monotonic", lambda: now["seconds"])
    return now


def record(step, compiled=0.0, **changes):
    figures = {"loss": 0.43124, "learning_rate": 1e-3, "examples_per_second": 21594.4, "steady_bytes": 1_234_567_890}
    totals = {"compile_seconds": compiled, "peak_bytes": 2_345_678_901}
    return {"kind": "train", "step": step, **totals, **figures, **changes}


def validation(step):
    return {"kind": "validation", "step": step, "loss": 0.5, "accuracy": 0.75, "f1": 0.25, "compile_seconds": 0.0}


def lines_of(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_line_holds_step_loss_rate_speed_time_left_and_memory(clock, capsys):
    shown = Lines()
    shown.start("a run", 0, 1000, TASK)
    for step, at in ((20, 1000.0), (120, 1010.0)):
        clock["seconds"] = at
        shown.record(record(step))
    assert lines_of(capsys) == [
        "a run: 1000 steps",
        "step 120/1000  loss 0.4312, rate 1e-3, 21,594 examples/s, 1:28 left, 1.2 GB",
    ]


@pytest.mark.parametrize("done", [0, 500])
def test_the_time_left_follows_the_steps_of_this_process_without_compilation(clock, done):
    pace = progress_line.Pace(1000)
    clock["seconds"] = 1030.0  # the first step came after 30 seconds in the compiler and of reading checkpoints
    assert pace.seconds_left(record(done + 1, compiled=20.0)) is None
    clock["seconds"] = 1030.0 + 100 * 0.5 + 7.0  # half a second per step, and the validation was compiled in 7
    assert pace.seconds_left(record(done + 101, compiled=27.0)) == (1000 - done - 101) * 0.5
    assert pace.seconds_left({"kind": "train", "step": done + 102, "loss": 1.0}) is None


def test_plain_lines_come_every_few_seconds_and_with_each_validation(clock, capsys):
    shown = Lines()
    shown.start("a run", 5, 1000, TASK)
    for step in range(6, 31):
        clock["seconds"] += 1.0
        shown.record(record(step))
        shown.record({"kind": "train", "step": step, "loss": 1.0})
    shown.record(validation(30))
    lines = lines_of(capsys)
    assert lines[0] == "a run: 1000 steps, from step 5"
    assert [line.split()[1] for line in lines[1:]] == ["15/1000", "25/1000", "30/1000"]
    assert lines[-1] == "step 30/1000  validation loss 0.5000, accuracy 0.7500, F1 0.2500"


WORDS = {
    "a small rate": ({"learning_rate": 3.14e-5}, "rate 3.1e-5,"),
    "no rate": ({"learning_rate": 0.0}, "rate 0,"),
    "a rate of one": ({"learning_rate": 1.0}, "rate 1e0,"),
    "little memory": ({"steady_bytes": 21_400_000}, ", 21 MB"),
    "much memory": ({"steady_bytes": 141_000_000_000}, ", 141.0 GB"),
    "a loss that is not finite": ({"loss": float("nan")}, "loss nan,"),
}


@pytest.mark.parametrize(("changes", "words"), WORDS.values(), ids=WORDS)
def test_figures_are_short(changes, words):
    assert words in progress_line.describe(record(3, **changes), TASK)


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "0:00"), (41, "0:41"), (3599.6, "1:00:00"), (93_784, "26:03:04")])
def test_the_time_left_is_shown_as_a_clock_shows_it(seconds, words):
    assert f", {words} left, " in progress_line.describe(record(3), TASK, seconds)


def test_the_bar_shows_the_same_figures(clock, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with Bar() as shown:
        shown.start("a run", 0, 1000, TASK)
        shown.record(record(20))
        clock["seconds"] += 10.0
        shown.record(record(120))
        shown.advance(121)
        shown.record(validation(121))
        shown._bar.refresh()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "121/1000 loss 0.4312, rate 1e-3, 21,594 examples/s, 1:28 left, 1.2 GB" in text
    assert "step 121/1000  validation loss 0.5000, accuracy 0.7500, F1 0.2500" in text


def no_constants(name):
    raise AssertionError(f"{name} is not JSON")


def test_json_lines_are_strict_json_one_record_per_line(capsys):
    shown = JsonLines()
    shown.start("a run", 0, 10, TASK)
    shown.record(record(1, loss=float("nan"), gradient_norm=float("inf")))
    shown.record(validation(1))
    shown.note("a note")
    captured = capsys.readouterr()
    first, second = (json.loads(line, parse_constant=no_constants) for line in captured.out.splitlines())
    assert (first["loss"], first["gradient_norm"], first["steady_bytes"]) == (None, None, 1_234_567_890)
    assert second == validation(1)
    assert captured.err == "a note\n"


def test_quiet_shows_nothing(capsys):
    with make_progress(quiet=True) as shown:
        shown.start("a run", 0, 10, TASK)
        shown.advance(1)
        shown.record(record(1))
        shown.note("a note")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "terminal", "kind"),
    [
        ({}, True, Bar),
        ({}, False, Lines),
        ({"quiet": True}, True, Progress),
        ({"json_lines": True}, True, JsonLines),
        ({"json_lines": True, "quiet": True}, False, JsonLines),
    ],
)
def test_the_form_fits_the_options_and_the_terminal(monkeypatch, options, terminal, kind):
    monkeypatch.setattr(display.sys.stderr, "isatty", lambda: terminal, raising=False)
    assert type(make_progress(**options)) is kind


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
def test_a_bar_keeps_step_loss_and_time_left_in_a_narrow_terminal(monkeypatch, clock, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Bar() as shown:
        shown.start("a run", 0, 100_000, TASK)
        for step, at in ((20, 1000.0), (1_120, 1010.0)):
            clock["seconds"] = at
            shown.record(record(step))
            shown.advance(step)
        shown._bar.refresh()
    last = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", capsys.readouterr().err).replace("\r", "\n")
    line = next(line for line in reversed(last.splitlines()) if "loss" in line)
    assert re.search(r"1120/100000 .*loss 0\.4312, .*\d:\d\d left", line)
    assert len(line.rstrip()) <= columns


def test_a_narrow_model_gets_one_thread_unless_the_user_chose(monkeypatch):
    for name, given, expected in (
        ("reviews-5-small", None, "1"),
        ("lm-shakespeare-char-small", None, None),  # 128 wide
        ("reviews-5", None, None),
        ("reviews-5-small", "3", "3"),
    ):
        monkeypatch.setenv("OMP_WAIT_POLICY", "")
        monkeypatch.setenv("OMP_NUM_THREADS", given or "")
        if given is None:
            monkeypatch.delenv("OMP_NUM_THREADS")
        choose_threads(find_experiment(name))
        assert os.environ.get("OMP_NUM_THREADS") == expected
        monkeypatch.setenv("OMP_NUM_THREADS", "")
