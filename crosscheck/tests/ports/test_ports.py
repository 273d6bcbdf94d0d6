"""The benchmark of public ports: its tables fit together, and its report counts what its lines say."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from places import ROOT

from crosscheck.divergences.table import DIVERGENCES
from crosscheck.ports.benchmark import CORRECT, HEADINGS, Line, _is_right, kept_lines, main, summary, table
from crosscheck.ports.mistakes import MISTAKES, _one_ahead, _without_scale
from crosscheck.ports.model import arguments
from crosscheck.ports.models import BUGS, MODELS
from crosscheck.ports.models import ROWS as MODEL_ROWS
from shared.errors import IsogradError

RIGHT = Line("bert", CORRECT, "agrees", "", None, None, "", 1.0, 0)
NAMED = Line("bert", "epsilon", "differs", "encoder.LayerNorm", True, True, "D18", 1.0, 0)
MISNAMED = Line("bert", "no scale", "differs", "encoder.attention", True, False, "D18", 1.0, 0)
MISSED = Line("bert", "activation", "agrees", "", False, False, "", 1.0, 0)


def test_models_have_names_of_their_own_and_take_known_arguments():
    assert len(MODELS) == len(MODEL_ROWS) + len(BUGS)
    assert all(model.bug for model in BUGS)
    assert {name for model in MODEL_ROWS for name in model.arguments} <= set(arguments())


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_changes_something_and_is_in_the_catalogue(name):
    mistake = MISTAKES[name]
    assert bool(mistake.config) + bool(mistake.arguments) + bool(mistake.function) == 1
    assert set(mistake.ids) <= set(DIVERGENCES)
    for argument, change in mistake.arguments.items():
        assert not np.array_equal(change(arguments()[argument]), arguments()[argument])


def test_wrong_functions_change_what_the_right_ones_do():
    query = np.full((2, 4), 3.0)
    assert np.array_equal(_without_scale(lambda q, k: q)(query, query), 2 * query)
    ahead = np.asarray(_one_ahead(lambda x: np.tril(np.ones((3, 3))))(None))
    assert ahead.tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 1]]


def test_the_summary_counts_what_is_caught_located_named_and_named_wrongly():
    assert summary([RIGHT, NAMED, MISNAMED, MISSED]) == [
        "1 of 1 correct ports agree. 2 of 3 planted mistakes are caught, 2 located, 1 named, 1 named wrongly."
    ]


def test_every_line_of_the_table_has_a_cell_for_each_heading():
    lines = [line for line in table([RIGHT, NAMED, MISSED], 5.0).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {len(HEADINGS) + 1}
    assert lines[3] == "| bert | epsilon | differs | encoder.LayerNorm | yes | yes (D18) | 1.0 | 0 |"


def test_the_environment_pins_transformers_4_and_shares_the_rest():
    lines = (ROOT / "crosscheck" / "ports" / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins["transformers"].startswith("4.")
    assert not {"torch", "jax", "jaxlib", "flax", "numpy"} & set(pins)


PUBLISHED = ROOT / "experiments" / "results" / "ports.md"
ROWS_OF_TABLE = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PUBLISHED.read_text().splitlines()
                 if line.startswith("| ")][1:]  # fmt: skip
PLANTED = [dict(zip(HEADINGS, row, strict=True)) for row in ROWS_OF_TABLE[1:] if row[1] != CORRECT]


def test_the_page_gives_the_counts_of_the_published_table():
    found = next(line for line in PUBLISHED.read_text().splitlines() if "planted mistakes" in line)
    assert found in (ROOT / "docs" / "ports.md").read_text()


def test_the_published_table_has_every_port_that_agrees_and_what_it_promises_of_mistakes():
    correct = {row[0]: row[2] for row in ROWS_OF_TABLE if row[1] == CORRECT}
    assert correct == {model.name: "agrees" for model in MODEL_ROWS}
    located, named, wrong = (
        [line for line in PLANTED if test(line)]
        for test in (
            lambda line: line["located"] == "yes",
            lambda line: line["named"].startswith("yes"),
            lambda line: line["named"].startswith("no ("),
        )
    )
    assert all(line["verdict"] == "differs" for line in PLANTED)
    assert 20 * len(located) >= 19 * len(PLANTED)
    assert 10 * len(named) >= 7 * len(PLANTED)
    assert 50 * len(wrong) <= len(PLANTED)


def test_a_run_goes_on_with_the_lines_that_a_stopped_one_left(tmp_path):
    kept = tmp_path / "ports.md.part"
    whole = [json.dumps(["bert", NAMED.mistake, asdict(NAMED)]), json.dumps(["gpt2", "no scale", None])]
    kept.write_text("\n".join([*whole, whole[0][:40]]))
    assert kept_lines(kept) == {("bert", "epsilon"): NAMED, ("gpt2", "no scale"): None}
    assert kept_lines(tmp_path / "nothing") == {}


@pytest.mark.parametrize(("place", "mistake", "is_right"), [
    ("encoder.layer.0.attention", "mask forgotten", True), ("", "mask forgotten", True), ("", "epsilon", False),
])  # fmt: skip
def test_a_wrong_argument_is_the_callers_too(place, mistake, is_right):
    assert _is_right(place, MISTAKES[mistake]) is is_right


def test_an_unknown_port_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(IsogradError, match=r"unknown ports nosuch: known are bert, "):
        main([str(tmp_path / "ports.md"), "1", "1", "nosuch"])
    assert not list(tmp_path.iterdir())
