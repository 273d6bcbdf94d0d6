"""Outcomes are kept as soon as they are known, and what was stopped goes on where it was."""

import json
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import pytest

from crosscheck.faults.table import FAULTS
from crosscheck.scoring import journal as kept
from crosscheck.scoring import score
from crosscheck.scoring.journal import judge_all


class Square(NamedTuple):
    number: int
    version: int = 1

    @property
    def key(self):
        return str(self.number)

    @property
    def content(self):
        return self._asdict()

    @property
    def size(self):
        return (self.number,)


@pytest.fixture
def judged():
    """The numbers that were squared, in their order."""
    return []


@pytest.fixture
def judge(judged, tmp_path):
    """Square jobs, keeping the squares in a journal; `stops_at` is a number at which Ctrl-C is pressed."""

    def square(stops_at, job):
        if job.number == stops_at:
            raise KeyboardInterrupt
        judged.append(job.number)
        return job.number**2

    def judge(jobs, stops_at=None, journal=tmp_path / "new" / "squares.jsonl"):
        as_square, plain = partial(square, stops_at), {"plain": lambda square: {"square": square}}
        return judge_all(as_square, jobs, **plain, restored=lambda plain: plain["square"], journal=journal, workers=1)

    return judge


JOBS = [Square(number) for number in (2, 5, 3)]


def test_the_largest_jobs_go_first_and_outcomes_keep_the_order_of_their_jobs(judge, judged):
    assert judge(JOBS) == [4, 25, 9]
    assert judged == [5, 3, 2]


def test_what_is_known_is_not_judged_again(judge, judged):
    judge(JOBS[:2])
    assert judge(JOBS) == [4, 25, 9]
    assert judged == [5, 2, 3]


def test_a_job_whose_content_has_changed_is_judged_again(judge, judged):
    judge(JOBS)
    assert judge([JOBS[0], Square(5, version=2), JOBS[2]]) == [4, 25, 9]
    assert judged == [5, 3, 2, 5]


def test_a_stop_loses_nothing(judge, judged):
    assert judge(JOBS, stops_at=2) == [None, 25, 9]
    assert judge(JOBS) == [4, 25, 9]
    assert judged == [5, 3, 2]


def test_without_a_journal_a_stop_is_a_stop(judge):
    with pytest.raises(KeyboardInterrupt):
        judge(JOBS, stops_at=2, journal=None)


def test_the_longest_known_jobs_go_first_after_the_unknown(judge, judged, tmp_path):
    path = tmp_path / "squares.jsonl"
    for number, seconds in ((2, 9.0), (5, 1.0)):
        kept.append(path, kept.Line({"square": 0}, str(number), "of an older content", seconds))
    assert judge(JOBS, journal=path) == [4, 25, 9]
    assert judged == [3, 2, 5]


@pytest.mark.parametrize("half", ["", '{"outcome": {"squ', '{"outcome": 7}\n', "[]\n\n", '{"seconds": "1"}'])
def test_half_a_line_of_a_killed_process_says_nothing_and_spoils_nothing(judge, judged, tmp_path, half):
    path = tmp_path / "squares.jsonl"
    judge(JOBS[:1], journal=path)
    path.write_text(path.read_text() + half)
    assert judge(JOBS, journal=path) == judge(JOBS, journal=path) == [4, 25, 9]
    assert judged == [2, 5, 3]


def test_a_fault_is_judged_again_once_its_row_its_dtype_or_its_file_has_changed(monkeypatch):
    job = score.Job("fault", "linear-bias-frozen/torch", explained=True)
    fault, contents = FAULTS[job.name], [job.content, job._replace(dtype="float32").content]
    with monkeypatch.context() as changed:
        changed.setitem(FAULTS, job.name, replace(fault, module="elsewhere"))
        contents.append(job.content)
    with monkeypatch.context() as changed:
        changed.setattr(score, "current_source", lambda path: "other code")
        contents.append(job.content)
    assert len({json.dumps(content) for content in contents}) == len(contents)
    assert job.content == contents[0]
    assert job.key == "fault linear-bias-frozen/torch Linear float64"


def test_an_outcome_that_was_kept_is_the_same(tmp_path):
    path, faults = tmp_path / "faults.jsonl", ["linear-bias-dropped/*"]
    first = score.score(faults, explained=False, journal=path, workers=1)
    path.write_text(path.read_text().replace('"Bonsai"', '"Bonsai II"'))
    again = score.score(faults, explained=False, journal=path, workers=1)
    assert (first["judged"], first["of"]) == (again["judged"], again["of"]) == (2, 2)
    renamed = json.loads(json.dumps(first["outcomes"]).replace('"Bonsai"', '"Bonsai II"'))
    assert json.loads(json.dumps(again["outcomes"])) == renamed != first["outcomes"]
