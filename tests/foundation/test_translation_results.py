"""The figures of docs/translation.md are those of the result files, and bear out what is said about them."""

import itertools
import json
import re
from itertools import pairwise

import pytest
from places import ROOT

from experiments.catalogue.translation import COURSE

RESULTS = ROOT / "experiments" / "results" / "translation"
PAGE = (ROOT / "docs" / "translation.md").read_text()
ROW = re.compile(r"^\| `(translate-[\w-]+)` \| ([\d.]+ - [\d.]+|-) \|", re.MULTILINE)
PUBLISHED = dict(ROW.findall(PAGE))
LENGTHS = ("4", "6", "8", "10", "12")
SIDES = ("torch", "jax")
BY_BOTH = [
    (name, backend)
    for name, backend in itertools.product(PUBLISHED, SIDES)
    if (RESULTS / "held-out" / f"{name}-{backend}-by-jax.json").exists()
]


def cells(line):
    return [cell.strip().strip("*") for cell in line.split("|")[1:-1]]


def table():
    """(experiment, backend) -> heading -> cell."""
    lines = [line for line in (RESULTS / "runs.md").read_text().splitlines() if line.startswith("| ")]
    rows = (dict(zip(cells(lines[0]), cells(line), strict=True)) for line in lines[1:])
    return {(row["experiment"], row["backend"]): row for row in rows}


TABLE = table()


def held_out(name, backend, side):
    return json.loads((RESULTS / "held-out" / f"{name}-{backend}-by-{side}.json").read_text())


def test_every_run_of_the_course_has_a_row():
    assert {run.name for run in COURSE} <= PUBLISHED.keys()
    assert {(run.name, side) for run in COURSE for side in SIDES} <= TABLE.keys()
    assert {name for name, _ in TABLE} == PUBLISHED.keys()


def loss_of(row):
    return row["L_val"]


def words_of(row):
    return f"{float(row['W_val']):.1%}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_row_of_a_run_is_that_of_the_result_file(name):
    both = [TABLE.get((name, side)) for side in SIDES]
    losses, words = ([show(row) if row else "-" for row in both] for show in (loss_of, words_of))
    assert f"| `{name}` | {PUBLISHED[name]} | {' | '.join((*losses, *words))} |" in PAGE


@pytest.mark.parametrize("name", [run.name for run in COURSE])
@pytest.mark.parametrize("side", SIDES)
def test_the_loss_of_a_run_of_the_course_is_in_the_published_range_or_below(name, side):
    highest = max(map(float, PUBLISHED[name].split(" - ")))
    assert float(TABLE[name, side]["L_val"]) <= highest


def test_the_page_says_how_many_runs_both_frameworks_translate():
    assert f"the held-out words of {len(BY_BOTH)} of these runs" in PAGE


@pytest.mark.parametrize(("name", "backend"), BY_BOTH)
def test_both_frameworks_translate_the_held_out_words_of_a_run_alike(name, backend):
    by_torch, by_jax = (held_out(name, backend, side) for side in SIDES)
    assert {**by_torch, "backend": ""} == {**by_jax, "backend": ""}
    assert f"{by_torch['word_accuracy']:.4f}" == TABLE[name, backend]["W_val"]


@pytest.mark.parametrize("name", re.findall(r"^\| `(translate-[\w-]+)`, exact", PAGE, re.MULTILINE))
def test_the_words_by_length_are_those_of_the_result_file(name):
    shares = [f"{held_out(name, 'torch', 'torch')['by_length'][length]['word_accuracy']:.1%}" for length in LENGTHS]
    assert f"| `{name}`, exact | {' | '.join(shares)} |" in PAGE


@pytest.mark.parametrize("words", ["3k", "22k"])
@pytest.mark.parametrize("backend", SIDES)
def test_a_plain_decoder_is_the_worse_the_longer_the_word(words, backend):
    found = held_out(f"translate-gru-h32-{words}", backend, backend)["by_length"]
    assert all(found[more]["word_accuracy"] < found[less]["word_accuracy"] for less, more in pairwise(LENGTHS))
