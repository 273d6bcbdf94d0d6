"""`isograd study`: the same claims as text, as JSON and on a page; the exit code says whether theory is right."""

import json

import pytest

from experiments import cli
from experiments.studies.study import Both, Claim, Curve, Figure, Findings, Study
from experiments.studies.table import STUDIES

RIGHT = Claim("Two is even", "2 / 2 = 1", Both(0.0, 1e-17), 1e-16)
FOIL = Claim("Three is even, <too>", "3 / 2 = 1", Both(0.5, 0.5), 1e-16, wrong=True)
MEASURED = Claim("How odd it is", "3 mod 2", Both(1.0, 1.0))
WRONG = Claim("Four is odd", "4 / 2 = 1", Both(0.0, float("nan")), 1e-16)
FIGURE = Figure(
    "parity", "Rest by number.", "n", "n mod 2", [Curve("rest", (1, 2, 3), Both([1, 0, 1], [1, 0, 1]))], "xy"
)


@pytest.fixture
def pretend(monkeypatch):
    """Two studies, of which one finds what theory doesn't say."""
    findings = {"parity": [RIGHT, FOIL, MEASURED], "oddity": [WRONG]}
    for name in list(STUDIES):
        monkeypatch.delitem(STUDIES, name)
    for name, claims in findings.items():
        study = Study(name, f"The {name}", "A course", lambda seed, claims=claims: Findings(claims, [FIGURE]))
        monkeypatch.setitem(STUDIES, name, study)


@pytest.mark.parametrize(("claim", "verdict", "as_expected"), [
    (RIGHT, "holds", True),
    (FOIL, "fails", True),
    (MEASURED, "measured", True),
    (WRONG, "fails", False),
    (Claim("", "", Both(0.0, 0.0), 0.0, wrong=True), "holds", False),
], ids=["right", "wrong", "measured", "not a number", "wrong and right"])  # fmt: skip
def test_a_claim_holds_if_both_numbers_are_within_its_bound(claim, verdict, as_expected):
    assert (claim.verdict, claim.as_expected) == (verdict, as_expected)


def test_the_text_says_verdict_words_formula_and_both_numbers(pretend, capsys):
    assert cli.main(["study", "parity"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "parity: The parity (A course)",
        "holds     Two is even",
        "          2 / 2 = 1",
        "          torch 0, jax 1e-17, bound 1e-16",
        "fails     Three is even, <too>",
        "          3 / 2 = 1",
        "          torch 0.5, jax 0.5, bound 1e-16, a wrong answer",
        "measured  How odd it is",
        "          3 mod 2",
        "          torch 1, jax 1",
        "1 of 1 claims hold; 1 of 1 wrong answers fail",
    ]


def test_a_verdict_that_is_not_theorys_is_marked_and_is_exit_code_1(pretend, capsys):
    assert cli.main(["study", "all"]) == 1
    assert "fails!    Four is odd" in capsys.readouterr().out


def test_json_holds_all_claims_and_curves(pretend, capsys):
    assert cli.main(["study", "all", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["as_expected"] is False
    assert list(found["studies"]) == ["parity", "oddity"]
    assert found["studies"]["parity"]["claims"][1] == {
        "claim": "Three is even, <too>",
        "formula": "3 / 2 = 1",
        "torch": 0.5,
        "jax": 0.5,
        "bound": 1e-16,
        "wrong": True,
        "verdict": "fails",
        "as_expected": True,
    }
    (figure,) = found["studies"]["parity"]["figures"]
    assert figure["curves"] == [{"label": "rest", "x": [1, 2, 3], "torch": [1, 0, 1], "jax": [1, 0, 1]}]
    assert found["studies"]["oddity"]["claims"][0]["jax"] is None


def test_the_page_shows_claims_and_figures_and_replaces_an_older_one(pretend, tmp_path, capsys):
    for _ in range(2):
        assert cli.main(["study", "all", "--out", str(tmp_path)]) == 1
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg role=") == 2
    for text in (
        "Two is even",
        "Three is even, &lt;too&gt; (wrong answer)",
        "fails!",
        "Measured, not judged",
        "Rest by number.",
    ):
        assert text in page
    assert json.loads((tmp_path / "report.json").read_text())["command"].startswith("isograd study all --out")
    assert capsys.readouterr().out.endswith(f"open {tmp_path / 'report.html'}\n")


def test_studies_are_listed(capsys):
    assert cli.main(["list", "studies", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["studies"]] == list(STUDIES)
