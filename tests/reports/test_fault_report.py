"""The score of planted faults: the promises behind its verdict, and how it is reported."""

import json
import re

import pytest

pytest.importorskip("torch")
pytest.importorskip("jax")

from experiments.reports import fault_report

CRITERION = {"name": "Theirs", "rule": "means", "caught": 7, "of": 100, "alarms": 2, "honest": 50}
SCORES = {  # every promise only just kept
    "device": "cpu",
    "versions": {"torch": "2.5", "jax": "0.10"},
    "judged": 150,
    "of": 150,
    "total": 100,
    "killed": 100,
    "located": 95,
    "known": 10,
    "named": 9,
    "kinds": [{"kind": "mask", "planted": 100, "killed": 100, "located": 95}],
    "dtypes": [{"dtype": "float64", "planted": 100, "killed": 100, "located": 95}],
    "criteria": [CRITERION],
    "equivalents": {"checked": 20, "alarms": 0, "names": []},
    "seeds": {"checked": 30, "alarms": 0, "names": []},
    "survivors": [],
    "misplaced": [],
    "unnamed": [],
}
ALARM = {"checked": 30, "alarms": 1, "names": ["7: MLP, forward, output"]}
BROKEN = {  # what happened, and the clause that reports it
    "too few judged": ({"judged": 149}, "149 of 150 judged, expected all"),
    "a fault that survives": ({"killed": 99, "survivors": ["a/jax"]}, "99 of 100 faults caught, expected all"),
    "too many located elsewhere": ({"located": 94}, "94 of 100 located, expected 95%"),
    "too many not named": ({"named": 8}, "8 of 10 named, expected 90%"),
    "an alarm of an equivalent": ({"equivalents": ALARM}, "1 false alarms, expected none"),
    "an alarm of a seed": ({"seeds": ALARM}, "1 false alarms, expected none"),
}


def test_a_score_that_keeps_all_promises_passes(capsys):
    assert fault_report.passed(SCORES)
    fault_report.print_scores(SCORES)
    assert "not as promised" not in capsys.readouterr().out


@pytest.mark.parametrize(("change", "clause"), BROKEN.values(), ids=BROKEN)
def test_a_broken_promise_fails_and_is_reported(capsys, change, clause):
    assert not fault_report.passed(SCORES | change)
    fault_report.print_scores(SCORES | change)
    assert f"not as promised: {clause}\n" in capsys.readouterr().out


def test_of_faults_in_a_dtype_that_was_asked_for_only_the_absence_of_alarms_is_promised():
    asked = SCORES | {"asked": ["bfloat16"], "killed": 60, "located": 50}
    assert fault_report.passed(asked)
    assert not fault_report.passed(asked | {"seeds": ALARM})
    assert not fault_report.passed(asked | {"judged": 149})


def test_planting_no_known_fault_breaks_no_promise():
    assert fault_report.passed(SCORES | {"known": 0, "named": 0})


def test_data_table_and_page_name_command_device_and_versions(tmp_path):
    command = "isograd check --faults --out scored"
    page = fault_report.write_scores(SCORES, tmp_path, command)
    assert {path.name for path in tmp_path.iterdir()} == {"faults.json", "faults.md", "faults.html"}
    assert json.loads((tmp_path / "faults.json").read_text()) == SCORES
    table = (tmp_path / "faults.md").read_text()
    assert table.endswith(f"\nMeasured on cpu with torch 2.5, jax 0.10.\n\n```bash\n{command}\n```\n")
    assert "| isograd | float64 proof, measured noise | 100 of 100 | 0 of 50 |" in table
    assert "| Theirs | means | 7 of 100 | 2 of 50 |" in table
    html = page.read_text()
    assert all(words in html for words in (command, "torch 2.5, jax 0.10", "100 of 100 planted faults caught"))
    assert not re.search(r'(src|href)="(?!#)|@import|url\(|https?:', html)  # nothing else is needed


def test_a_score_names_the_installed_versions():
    import torch

    found = fault_report.measured_here({"total": 1})
    assert (found["device"], found["total"], found["versions"]["torch"]) == ("cpu", 1, torch.__version__)
    assert found["versions"].keys() == {"python", "torch", "jax", "flax"}


def test_the_table_lists_every_name_that_went_wrong():
    text = fault_report.markdown(
        SCORES | {"unnamed": ["a/jax: D18, named None"], "killed": 99}, "isograd check --faults"
    )
    assert "Named wrong or not at all:\n\n- a/jax: D18, named None\n" in text
    assert "False alarms" not in text


def test_a_table_of_an_unfinished_score_says_how_much_of_it_is_there():
    text = fault_report.markdown(SCORES | {"judged": 149}, "isograd check --faults")
    assert "\n- 149 of 150 pairs are judged; the same command goes on\n" in text
    assert "are judged" not in fault_report.markdown(SCORES, "isograd check --faults")
