"""The commands that plant, locate and explain: what they print, their exit codes, one sentence for every bad input."""

import dataclasses
import json
import re

import pytest

from experiments import cli
from experiments.commands.check import check
from experiments.commands.options import command_line
from experiments.reports import fault_report

FAULT = "linear-bias-added-twice/jax"


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys, *arguments, code=0):
    """The stdout of a command."""
    assert cli.main(list(arguments)) == code
    return capsys.readouterr().out


# locate


def test_locate_marks_the_module_at_fault_and_exits_with_1(capsys):
    lines = printed(capsys, "locate", "MLP", "--fault", FAULT, code=1).splitlines()
    assert lines[0] == "MLP odd_sizes float64 eval cpu: MLP.in_proj is at fault (forward)"
    assert [line.split()[0] for line in lines if line.endswith("<-- here")] == ["in_proj"]
    first = next(number for number, line in enumerate(lines) if line.startswith("first: output"))
    assert [line.split()[0] for line in lines[first + 1 : first + 3]] == ["torch:", "jax:"]
    guilty = lines[lines.index("guilty by themselves:") + 1 :]  # a bias of each projection is added twice
    assert sorted(line.split()[0] for line in guilty) == ["in_proj", "out_proj"]


def test_locate_exits_with_0_where_twins_agree(capsys):
    out = printed(capsys, "locate", "Linear", "--dtype", "float32", "--case", "one_step")
    assert out.startswith("Linear one_step float32 eval cpu: agrees in all ")


def test_locate_is_readable_by_a_program(capsys):
    found = json.loads(printed(capsys, "locate", "MLP", "--fault", FAULT, "--json", code=1))
    assert (found["first_divergence"]["module"], found["case"]) == ("MLP.in_proj", "odd_sizes")
    assert [line["path"] for line in found["modules"] if line["guilty"]] == ["in_proj"]


@pytest.mark.slow
def test_locate_names_the_first_wrong_step_of_training(capsys):
    arguments = ["locate", "ReviewClassifierTransformer", "--steps", "2", "--fault", "rate-of-the-step-before/torch"]
    lines = printed(capsys, *arguments, code=1).splitlines()
    assert lines[0].endswith("run of 2 steps cpu: ReviewClassifierTransformer.optimizer is at fault (update)")
    assert re.match(r"first: weights of .* after 2 steps", lines[1])


# explain


@pytest.mark.slow
def test_explain_names_the_row_of_a_planted_fault_and_exits_with_1(capsys):
    out = printed(capsys, "explain", "MLP", "--fault", "linear-input-in-float32/torch", code=1)
    assert re.search(r"^  D53 x64-off explains it: ", out, re.MULTILINE)
    found = json.loads(
        printed(capsys, "explain", "Linear", "--fault", "decay-of-optax/jax", "--train", "--json", code=1)
    )
    assert found["divergence"]["id"] == "D56"


def test_explain_exits_with_0_where_twins_agree(capsys):
    out = printed(capsys, "explain", "Linear")
    assert out == "Linear odd_sizes float64 eval cpu: agrees, there is nothing to explain\n"


def test_explain_measures_a_row_of_the_catalogue(capsys):
    lines = printed(capsys, "explain", "--divergence", "D18").splitlines()
    assert lines[0] == "D18 ln-eps"
    assert re.match(r"  size: predicted \S+, measured \S+ +holds", lines[2])
    assert (
        json.loads(printed(capsys, "explain", "--divergence", "D18", "--json"))["divergences"][0]["status"] == "holds"
    )


def test_explain_measures_all_rows_as_a_table_and_exits_with_1_where_one_has_moved(capsys, monkeypatch):
    from crosscheck.divergences import table

    held = dataclasses.replace(table.find_divergence("D01"), predicted=1.0, measure=lambda: 1.0)
    moved = dataclasses.replace(held, id="D02", measure=lambda: 9.0)
    monkeypatch.setattr(table, "DIVERGENCES", {"D01": held, "D03": held})
    lines = printed(capsys, "explain", "--divergence", "all").splitlines()
    assert [line.split()[-1] for line in lines] == ["holds", "holds"]
    monkeypatch.setattr(table, "DIVERGENCES", {"D01": held, "D02": moved})
    lines = printed(capsys, "explain", "--divergence", "all", code=1).splitlines()
    assert [(line.split()[0], line.split()[-1]) for line in lines] == [("D01", "holds"), ("D02", "moved")]


# list


@pytest.mark.parametrize(
    ("what", "columns"), [("faults", {"name", "twin", "what"}), ("divergences", {"id", "name", "trigger"})]
)
def test_lists_of_faults_and_divergences(capsys, what, columns):
    rows = json.loads(printed(capsys, "list", what, "--json"))[what]
    assert len(rows) > 50
    assert all(row.keys() == columns and all(row.values()) for row in rows)
    lines = printed(capsys, "list", what).splitlines()
    assert lines[0] == f"{what}:"
    assert [line.split()[0] for line in lines[1:]] == [next(iter(row.values())) for row in rows]


def test_lists_that_need_both_frameworks_are_not_shown_by_default(capsys):
    listed = json.loads(printed(capsys, "list", "--json"))
    assert listed.keys() == {"twins", "experiments", "studies", "datasets", "optimizers"}


# check --faults


def test_faults_are_planted_and_scored(capsys, folder):
    arguments = ["check", "linear-bias-frozen/torch", "--faults", "--seeds", "0"]
    found = json.loads(printed(capsys, *arguments, "--json"))
    assert (found["total"], found["killed"], found["located"]) == (1, 1, 1)
    printed(capsys, *arguments, "--out", "scored")
    out = printed(capsys, *arguments, "--out", "scored")  # over its own results
    assert "1 of 1 faults are caught, 1 at the right module and phase" in out
    written = json.loads((folder / "scored" / "faults.json").read_text())
    assert [outcome["name"] for outcome in written["outcomes"]] == ["linear-bias-frozen/torch"]
    page = (folder / "scored" / "faults.md").read_text()
    assert "```bash\nisograd check linear-bias-frozen/torch --faults --seeds 0 --out scored\n```" in page
    assert "| layer | 1 | 1 | 1 |" in page
    page = (folder / "scored" / "faults.html").read_text()
    assert "isograd check linear-bias-frozen/torch --faults --seeds 0 --out scored" in page
    assert f"torch {written['versions']['torch']}" in page


def test_a_score_that_is_stopped_says_how_far_it_is_and_goes_on(capsys, folder, monkeypatch):
    from crosscheck.twins.suite import Check

    arguments, check, run = ["check", "linear-bias-*/torch", "--faults", "--out", "scored"], [], Check.run

    def stop_at_the_third(self):
        check.append(self)
        if len(check) == 3:
            raise KeyboardInterrupt
        return run(self)

    monkeypatch.setattr(Check, "run", stop_at_the_third)
    assert cli.main([*arguments, "--jobs", "1"]) == 130
    (of,) = re.findall(r"stopped: 2 of (\d+) pairs are judged; the same command goes on\n", capsys.readouterr().err)
    assert f"- 2 of {of} pairs are judged" in (folder / "scored" / "faults.md").read_text()
    printed(capsys, *arguments)
    assert len(check) == 1 + int(of)
    page = (folder / "scored" / "faults.md").read_text()
    assert "pairs are judged" not in page
    assert "isograd check 'linear-bias-*/torch' --faults --out scored\n" in page


def test_a_page_names_the_command_that_made_it(capsys, folder):
    out = printed(capsys, "check", "masked_*", "--dtype", "float64", "--out", "a folder")
    assert out.endswith("open a folder/report.html\n")
    page = (folder / "a folder" / "report.html").read_text()
    assert "<code>isograd check &#39;masked_*&#39; --dtype float64 --out &#39;a folder&#39;</code>" in page
    unchanged = {"faults": False, "families": False, "seeds": None, "jobs": None, "out": None}
    given = {"patterns": ("a",), "dtype": None, "device": "cuda", **unchanged, "json": True}
    assert command_line("check", check, given) == "isograd check a --device cuda --json"


def test_faults_are_named_without_their_families(capsys, folder):
    for _ in range(2):  # the second time over its own results, from what is kept
        out = printed(capsys, "check", "mean-without-weights/*", "--faults", "--families", "--out", "scored")
    assert out == (
        "2 of 2 faults that the catalogue knows are the very edit of a mistake of their row\n"
        "0 of 2 are named right without the mistakes of their row, 0 wrong, 2 not at all\n"
    )
    assert out.splitlines()[1] in (folder / "scored" / "families.md").read_text()
    assert json.loads((folder / "scored" / "families.json").read_text())["unnamed"] == 2


SCORES = {
    "judged": 9, "of": 9, "total": 2, "killed": 1, "located": 1, "known": 1, "named": 0,
    "kinds": [], "dtypes": [], "criteria": [],
    "survivors": ["a/jax"], "misplaced": [], "unnamed": ["b/jax: D18, named None"],
    "equivalents": {"checked": 3, "alarms": 1, "names": ["c/jax: A, forward, output"]},
    "seeds": {"checked": 4, "alarms": 0, "names": []},
}  # fmt: skip


def test_a_fault_that_survives_or_a_false_alarm_fails(capsys, monkeypatch):
    from crosscheck.scoring import score

    monkeypatch.setattr(score, "score", lambda *arguments, **options: SCORES)
    out = printed(capsys, "check", "--faults", code=1)
    for words in ("not caught:\n  a/jax", "named wrong or not at all:\n  b/jax", "false alarms:\n  c/jax: A"):
        assert words in out
    assert fault_report.summary(SCORES).splitlines()[-1] == (
        "1 false alarms in 3 equivalent variants, 0 in 4 unchanged pairs with different seeds"
    )


BAD = {  # what the one sentence must contain
    "locate: unknown twin": (["locate", "LayerNrom"], "unknown twin 'LayerNrom': did you mean 'LayerNorm'"),
    "locate: unknown fault": (["locate", "MLP", "--fault", FAULT[:-1]], f"unknown fault '.*': did you mean '{FAULT}'"),
    "locate: unknown case": (["locate", "MLP", "--case", "odd"], "unknown case of MLP 'odd': did you mean 'odd_sizes'"),
    "locate: unknown dtype": (["locate", "MLP", "--dtype", "float8"], "unknown dtype 'float8'"),
    "locate: unknown device": (["locate", "MLP", "--device", "gpu"], "unknown device 'gpu'"),
    "locate: nothing to train": (["locate", "MLP", "--steps", "2"], "MLP can't be trained on its own: expected one of"),
    "locate: no steps": (["locate", "ReviewClassifierGRU", "--steps", "0"], "steps: expected at least 1, got 0"),
    "explain: unknown twin": (["explain", "Lineer"], "unknown twin 'Lineer': did you mean 'Linear'"),
    "explain: unknown fault": (["explain", "MLP", "--fault", "?"], r"unknown fault '\?': .* or one of \d+ others\?"),
    "explain: unknown row": (["explain", "--divergence", "D00"], "unknown divergence 'D00': did you mean 'D"),
    "explain: nothing": (["explain"], "expected either a twin or --divergence ID, such as"),
    "explain: both": (["explain", "MLP", "--divergence", "D18"], "expected either a twin or --divergence ID, such as"),
    "faults: unknown": (["check", "no-such", "--faults"], "unknown fault 'no-such'"),
    "faults: a twin": (["check", "MLP", "--faults"], "unknown fault 'MLP'"),
    "faults: a device": (
        ["check", FAULT, "--faults", "--device", "cuda"],
        r"--device has no effect with `isograd check --faults`: leave",
    ),
    "faults: an unknown dtype": (["check", FAULT, "--faults", "--dtype", "float8"], "unknown dtype 'float8'"),
    "check: no processes": (["check", "MLP", "--jobs", "0"], "--jobs: expected at least 1, got 0"),
    "faults: fewer than no seeds": (
        ["check", FAULT, "--faults", "--seeds", "-1"],
        "--seeds: expected at least 0, got -1",
    ),
    "faults: some and seeds": (
        ["check", "a/jax", "--faults", "--seeds", "9"],
        "--seeds checks unchanged pairs only with all faults",
    ),
    "families: no faults": (["check", "MLP", "--families"], "--families needs --faults: add --faults"),
    "families: seeds": (["check", "--faults", "--families", "--seeds", "3"], "--seeds has no effect with"),
    "families: dtype": (["check", "--faults", "--families", "--dtype", "float32"], "--dtype has no effect with"),
    "families: unknown": (["check", "no-such", "--faults", "--families"], "unknown fault 'no-such'"),
    "check: seeds": (["check", "MLP", "--seeds", "100"], "--seeds needs --faults: add --faults"),
    **{
        f"explain: a row and {option}": (
            ["explain", "--divergence", "D18", option, *value],
            f"{option} has no effect with ",
        )
        for option, value in {
            "--fault": [FAULT],
            "--case": ["mask"],
            "--train": [],
            "--dtype": ["float32"],
            "--device": ["cuda"],
            "--budget": ["3"],
        }.items()
    },
    "report: a table as data": (["report", "a", "--table", "t.md", "--json"], "--json has no effect with"),
    "report: a table and a text": (
        ["report", "a", "--table", "t.md", "--attention", "t"],
        "--attention has no effect with",
    ),
    "locate: a run in train mode": (
        ["locate", "MLP", "--steps", "2", "--train"],
        "--train has no effect with `isograd locate --steps`",
    ),
    "locate: a run of a case": (
        ["locate", "MLP", "--steps", "2", "--case", "mask"],
        "--case has no effect with `isograd locate --steps`",
    ),
    "list: unknown": (["list", "fault"], "unknown list 'fault': did you mean 'faults'"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(capsys, arguments, words):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(rf"isograd: .*{words}.*\n", captured.err)
    assert len(captured.err) < 1000
