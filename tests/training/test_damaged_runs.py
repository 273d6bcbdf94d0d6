"""A damaged checkpoint is skipped and reported; pruning never removes the last good one or the best."""

import os
from itertools import count

import numpy as np
import pytest
import short_runs
from damage import HARMS
from hypothesis import given, settings
from hypothesis import strategies as st
from short_runs import RESUME, assert_equal_runs, sentence

from experiments import cli
from shared.errors import IsogradError
from shared.run_folder import (
    best_checkpoint,
    keep_last,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    read_state,
    save_best,
    save_checkpoint,
)

FILES = ["weights.safetensors", "optimizer.safetensors", "state.json"]
small, whole, after_step = short_runs.small, short_runs.whole, short_runs.after_step  # fixtures


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", FILES)
def test_a_run_resumes_from_the_checkpoint_before_a_damaged_one_and_says_so(whole, tmp_path, capsys, name, harm):
    run = tmp_path / "run"
    run.symlink_to(whole)
    assert cli.main(["train", "reviews-1-small", "--steps", "30", "--out", "other", "--quiet"]) == 0
    damaged = list_checkpoints(run)[-1]
    HARMS[harm](damaged / name)
    assert cli.main([part for part in RESUME if part != "--quiet"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert len(told) == 1
    assert str(damaged.name) in told[0]
    assert name in told[0]
    assert_equal_runs(whole, tmp_path / "other")


@pytest.mark.parametrize("harm", HARMS)
def test_a_run_whose_checkpoints_are_all_damaged_says_so_in_one_sentence(whole, tmp_path, capsys, harm):
    whole.rename(tmp_path / "run")
    for folder, name in zip(list_checkpoints(tmp_path / "run"), FILES, strict=True):
        HARMS[harm](folder / name)
    assert cli.main(RESUME) == 2
    assert "run has no usable checkpoint: " in sentence(capsys)


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_best_is_replaced_by_the_next_validation(whole, tmp_path, name, harm):
    whole.rename(tmp_path / "run")
    HARMS[harm](tmp_path / "run" / "best" / name)
    assert cli.main([*RESUME, "--steps", "35"]) == 0
    assert read_state(tmp_path / "run" / "best")["step"] == 35


ACTIONS = st.one_of(
    st.tuples(st.just("save"), st.none(), st.none(), st.none()),
    st.tuples(st.just("again"), st.integers(0, 9), st.none(), st.none()),
    st.tuples(st.just("best"), st.none(), st.none(), st.none()),
    st.tuples(st.just("damage"), st.integers(0, 9), st.sampled_from(FILES), st.sampled_from(sorted(HARMS))),
    st.tuples(st.just("prune"), st.integers(0, 4), st.none(), st.none()),
)


def is_whole(folder):
    try:
        load_checkpoint(folder)
    except IsogradError:
        return False
    return True


def arrays(step):
    return {"weights/a": np.full(3, float(step)), "exp_avg/a": np.zeros(3), "step": np.array(step)}


def write(run, step):
    save_checkpoint(run, step, arrays(step), {"step": step})


def prune(run, kept):
    """Remove all but the newest; the newest good one and best/ are never removed."""
    before = list_checkpoints(run)
    good = [folder for folder in before if is_whole(folder)]
    best = best_checkpoint(run)
    removed = keep_last(run, kept)
    left = list_checkpoints(run)
    must_stay = set(before[max(len(before) - kept, 0) :]) | set(good[-1:])
    assert set(left) == must_stay
    assert set(removed) == set(before) - must_stay
    assert [folder for folder in left if is_whole(folder)][-1:] == good[-1:]
    assert best_checkpoint(run) == best


@settings(max_examples=60, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=14))
def test_pruning_never_removes_the_last_good_checkpoint_or_the_best(actions, tmp_path_factory):
    run, steps, best = tmp_path_factory.mktemp("run"), count(1), None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)  # no power cuts here
        for action, number, name, harm in actions:
            folders = list_checkpoints(run)
            if action == "save":
                write(run, next(steps))
            elif action == "best":
                best = next(steps)
                save_best(run, arrays(best), {"step": best})
            elif action == "prune":
                prune(run, number)
            elif folders and action == "again":
                write(run, int(folders[number % len(folders)].name[-8:]))
            elif folders and (folders[number % len(folders)] / name).exists():
                damage_unless_empty(folders[number % len(folders)] / name, harm)
    if best is not None:
        assert read_state(best_checkpoint(run)) == {"step": best}
    good = [folder for folder in list_checkpoints(run) if is_whole(folder)]
    if good:
        assert latest_checkpoint(run)[0] == good[-1]


def damage_unless_empty(path, harm):
    if path.stat().st_size > 1:
        HARMS[harm](path)
