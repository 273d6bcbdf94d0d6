"""The table of lockstep certificates: every quantity under its own name, every run with its settings and versions."""

import json
from types import SimpleNamespace

import pytest

from crosscheck.runs.one_step import Judged
from experiments.reports.certificate_table import QUANTITIES, STEP, find_certificates, write_certificates
from experiments.training import certificate as module

GROUPS = {  # group of a certificate -> column of the table, in the order of the table
    "loss": "loss (absolute)",
    "gradients": "gradients",
    "gradient_sum": "sum of gradients",
    "momentum_buffer": "momentum",
    "exp_avg": "first moment",
    "exp_avg_sq": "second moment",
    "square_avg": "mean of squares",
    "sum": "sum of squares",
    "weights": "weights",
    "average": "averaged weights",
}
FIGURES = {group: float(f"{place}e-{place}") for place, group in enumerate(GROUPS, 1)}


def certificate_of(groups, **changes):
    return {
        "experiment": {"name": "run", "title": "A model"},
        "command": "isograd train run --backend both --certify",
        "dtype": "float32",
        "device": "cpu",
        "versions": {"torch": "2", "jax": "0.10", "device": "a chip", "dtype": "float32"},
        "steps": 1200,
        "one_step": {"loss": {"part": 0.25}},
        "parting": None,
        "largest": {group: {"difference": FIGURES[group], "step": 3, "tensor": "a"} for group in groups},
        **changes,
    }


def table_of(folder, *certificates):
    """The rows of the table as dicts, and the text around it."""
    for number, certificate in enumerate(certificates):
        (folder / str(number)).mkdir()
        (folder / str(number) / "certificate.json").write_text(json.dumps(certificate))
    write_certificates(find_certificates([folder]), folder / "table.md", "isograd report . --table table.md")
    text = (folder / "table.md").read_text()
    heads, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in text.split("\n") if line[:1] == "|")
    return [dict(zip(heads, row, strict=True)) for row in rows], text


def test_the_largest_drift_is_named_with_the_tensor_of_its_own_step():
    steps = [SimpleNamespace(step=1, differences={"weights": 2.0}, worst={"weights": "a"})]
    steps += [SimpleNamespace(step=2, differences={"weights": 1.0}, worst={"weights": "b"})]
    assert module._largest(steps) == {"weights": {"difference": 2.0, "step": 1, "tensor": "a"}}


def test_the_steps_that_are_kept_are_1_2_and_5_times_powers_of_ten():
    assert [step for step in range(1, 300) if module._is_shown(step)] == [1, 2, 5, 10, 20, 50, 100, 200]


def test_every_quantity_has_a_column_of_its_own_name(tmp_path):
    assert QUANTITIES == GROUPS
    (row,), _ = table_of(tmp_path, certificate_of(reversed(GROUPS)))
    assert {group: float(row[name]) for group, name in GROUPS.items()} == FIGURES
    assert list(row)[5:-2] == list(GROUPS.values())


def test_a_quantity_that_one_run_lacks_is_left_blank_and_one_that_all_lack_has_no_column(tmp_path):
    ours, theirs = certificate_of(["loss", "exp_avg"]), certificate_of(["loss", "sum"])
    theirs["largest"]["loss"]["difference"] = None
    rows, _ = table_of(tmp_path, ours, theirs)
    assert [list(row)[5:-2] for row in rows] == [["loss (absolute)", "first moment", "sum of squares"]] * 2
    assert [list(row.values())[5:-2] for row in rows] == [["1.0e-01", "5.0e-05", ""], ["not finite", "", "8.0e-08"]]


@pytest.mark.parametrize(("parting", "verdict"), [(None, "agrees"), ({"step": 7}, "diverges at step 7")])
def test_a_row_names_the_run_and_its_verdict(tmp_path, parting, verdict):
    (row,), text = table_of(tmp_path, certificate_of(["loss"], parting=parting))
    assert list(row.values())[:5] == ["run", "A model", "float32", "a chip", "1,200"]
    assert (row[STEP], row[""]) == ("0.25", verdict)
    assert "Measured with torch 2, jax 0.10." in text


@pytest.mark.parametrize(
    ("one_step", "shown"),
    [
        ({"loss": {"part": 0.25}, "weights": {"part": 0.5}}, "0.5"),
        ({"loss": {"part": 0.25}, "weights": {"part": None}}, "not finite"),
        ({}, ""),
    ],
)
def test_the_part_of_the_bound_is_the_largest_of_all_quantities(tmp_path, one_step, shown):
    (row,), _ = table_of(tmp_path, certificate_of(["loss"], one_step=one_step))
    assert row[STEP] == shown


def test_the_error_that_is_shown_is_the_one_nearest_to_its_bound():
    errors = [Judged("w", 8.0, 80.0), Judged("v", 1.0, 2.0), Judged("w", 4.0, 9.0)]
    steps = [SimpleNamespace(step=number, judged={"weights": each}) for number, each in enumerate(errors, 1)]
    found = module._nearest(steps)["weights"]
    assert (found["step"], found["tensor"], found["part"]) == (2, "v", errors[1].part)
