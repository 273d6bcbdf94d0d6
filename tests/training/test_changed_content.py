"""What was changed in a run folder is noticed and said, and blocks only what needs it."""

import json
import shutil

import pytest
import short_runs
from damage import HARMS
from short_runs import RESUME, sentence

from experiments import cli
from experiments.porting.formats import recognise
from shared import metrics_log
from shared.metrics_log import _from_line as from_line
from shared.metrics_log import read
from shared.run_folder import list_checkpoints

small, whole = short_runs.small, short_runs.whole  # fixtures
CONTINUE = [*[part for part in RESUME if part != "--quiet"], "--steps", "35"]


@pytest.fixture
def run(whole, tmp_path):
    return whole.rename(tmp_path / "run")


def edit(path, change):
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), "utf-8")


def swap_two_tokens(values):
    vocabulary = values["model"]["vocab"]
    first, second = list(vocabulary)[5:7]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]


@pytest.mark.parametrize("command", [RESUME, ["eval", "run"]], ids=["resume", "eval"])
def test_a_tokenizer_with_two_tokens_swapped_is_refused(run, capsys, command):
    edit(run / "tokenizer.json", swap_two_tokens)
    assert cli.main(command) == 2
    assert "tokenizer.json has changed since" in sentence(capsys)


@pytest.mark.parametrize("state", ["today's", "before it had all settings"])
def test_an_edited_learning_rate_is_named(run, capsys, monkeypatch, state):
    if state != "today's":
        monkeypatch.setattr("experiments.training.same_settings.SETTINGS", "absent")
    edit(run / "config.json", lambda values: values["experiment"]["optimizer"].update(learning_rate=0.125))
    assert cli.main(CONTINUE) == 2
    said = sentence(capsys)
    assert "config.json was edited" in said
    assert "optimizer.learning_rate 0.125 instead of" in said


EDITS = {
    "learning rate": lambda values: values["experiment"]["optimizer"].update(learning_rate=0.125),
    "seed": lambda values: values["experiment"].update(seed=1),
    "dtype": lambda values: values.update(dtype="bfloat16"),
}


@pytest.mark.parametrize("edited", EDITS)
@pytest.mark.parametrize("checkpoints", ["some", "none"])
def test_an_edited_setting_is_noticed_with_and_without_a_checkpoint(run, capsys, edited, checkpoints):
    if checkpoints == "none":
        shutil.rmtree(run / "checkpoints")
    edit(run / "config.json", EDITS[edited])
    before = (run / "config.json").read_bytes()
    assert cli.main(CONTINUE) == 2
    assert "config.json was edited: expected the settings " in sentence(capsys)
    assert (run / "config.json").read_bytes() == before


def test_the_length_and_the_title_of_a_run_may_be_edited(run):
    edit(run / "config.json", lambda values: values["experiment"].update(steps=33, patience=99, title="of mine"))
    assert cli.main(RESUME) == 0
    assert read(run)[-1]["step"] == 33


def test_an_edited_model_is_not_evaluated(run, capsys):
    edit(run / "config.json", lambda values: values["experiment"]["model"]["arguments"].update(num_classes=5))
    assert cli.main(["eval", "run"]) == 2
    assert "model.arguments.num_classes 5 instead of 3" in sentence(capsys)


LOST = {"its end": (-2, "1 steps (30 to 30)"), "all": (None, "30 steps (1 to 30)")}  # the last line is a validation


@pytest.mark.parametrize(("kept", "words"), LOST.values(), ids=LOST)
def test_a_lost_log_is_said_and_the_run_goes_on(run, capsys, kept, words):
    path = run / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.unlink() if kept is None else path.write_bytes(b"".join(lines[:kept]))
    assert cli.main(CONTINUE) == 0
    assert f"metrics.jsonl lacks the records of {words}" in capsys.readouterr().err
    assert read(run)[-1]["step"] == 35


@pytest.mark.parametrize("patience", [[], ["--patience", "9"]], ids=["plain", "patient"])
def test_a_resumed_run_parses_each_line_of_its_log_once(run, monkeypatch, patience):
    lines = (run / "metrics.jsonl").read_text().split("\n")
    parsed = []
    monkeypatch.setattr(metrics_log, "_from_line", lambda line: parsed.append(line) or from_line(line))
    assert cli.main([*CONTINUE, *patience]) == 0
    assert parsed == lines


def test_damage_among_records_that_a_resumed_run_drops_blocks_nothing(run):
    shutil.rmtree(list_checkpoints(run)[-1])
    path = run / "metrics.jsonl"
    *kept, last = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*kept, last.replace('"accuracy"', '"accurate"')]))
    assert cli.main(RESUME) == 0
    assert read(run)[-1]["step"] == 30


def test_early_stopping_needs_the_lost_records(run, capsys):
    (run / "metrics.jsonl").unlink()
    assert cli.main([*CONTINUE, "--patience", "3"]) == 2
    assert "from which --patience counts" in sentence(capsys)


def test_a_report_says_what_its_curves_lack(run, tmp_path):
    path = run / "metrics.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-9]))
    assert cli.main(["report", "run", "--out", "page"]) == 0
    assert "metrics.jsonl lacks the records of" in (tmp_path / "page" / "report.md").read_text("utf-8")


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_optimiser_file_blocks_neither_an_evaluation_nor_a_port(run, harm):
    for folder in (run / "best", *list_checkpoints(run)):
        HARMS[harm](folder / "optimizer.safetensors")
    assert cli.main(["eval", "run"]) == 0
    assert cli.main(["eval", "run", "--newest"]) == 0
    assert recognise(run).path == run / "best" / "weights.safetensors"


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (["eval", "run"], "; `isograd eval run --newest` evaluates run/checkpoints/step-00000020"),
        (["port", "run", "w.pt"], "; you can port run/checkpoints/step-00000020 instead"),
    ],
)
def test_a_damaged_best_is_refused_with_the_newest_intact_checkpoint_as_the_way_out(run, capsys, harm, command, advice):
    for folder in (run / "best", list_checkpoints(run)[-1]):
        HARMS[harm](folder / "weights.safetensors")
    assert cli.main(command) == 2
    assert sentence(capsys).endswith(advice)
    for folder in list_checkpoints(run):
        HARMS[harm](folder / "state.json")
    assert cli.main(command) == 2
    assert "best" in (said := sentence(capsys))
    assert advice not in said


def test_the_advice_on_a_damaged_best_works(run):
    HARMS["a flipped bit"](run / "best" / "weights.safetensors")
    assert cli.main(["eval", "run"]) == 2
    assert cli.main(["eval", "run", "--newest"]) == 0


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_best_is_said_and_does_not_block_the_run(run, capsys, harm):
    HARMS[harm](run / "best" / "weights.safetensors")
    assert cli.main(CONTINUE) == 0
    assert "the best checkpoint is damaged" in capsys.readouterr().err
