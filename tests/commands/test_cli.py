"""The command line: what it prints, how fast it starts, and one sentence with exit code 2 for every bad input."""

import errno
import json
import os
import re
import subprocess
import sys
import zipfile
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
from fake_backend import FakeBackend
from places import ROOT

from experiments import cli
from experiments.catalogue import EXPERIMENTS
from experiments.commands import demo
from experiments.commands.bench import FILE as BENCH
from experiments.reports.fault_report import FILES as FAULTS
from experiments.training import launch
from experiments.training.folder import check_files
from shared.backend import PACKAGES
from shared.errors import IsogradError
from shared.run_folder import latest_checkpoint


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(launch, "load_backend", lambda name, **given: FakeBackend(**given))


@pytest.fixture
def run(fake, tmp_path):
    """A finished run of 6 steps."""
    assert cli.main(["train", "reviews-1-small", "--steps", "6", "--out", "run", "--quiet"]) == 0
    return tmp_path / "run"


@pytest.fixture
def inputs(tmp_path):
    """Bad files: malformed, empty, binary and foreign ones, an empty folder, a file where a folder is expected."""
    (tmp_path / "malformed").mkdir()
    (tmp_path / "malformed" / "train.csv").write_text('"1","good"\n"3","bad"\n')
    (tmp_path / "malformed" / "test.csv").write_text('"1","good"\n')
    (tmp_path / "empty").mkdir()
    (tmp_path / "vocab.txt").write_text("hello\nworld\n")
    (tmp_path / "file").write_text("")
    (tmp_path / "hollow").mkdir()
    for name in ("hollow/train.csv", "hollow/test.csv"):
        (tmp_path / name).write_text("")
    for name in ("binary.txt", "binary.json"):
        (tmp_path / name).write_bytes(bytes(range(256)) * 8)
    with zipfile.ZipFile(tmp_path / "foreign.zip", "w") as file:
        file.writestr("thesis.txt", "precious")


def start(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "experiments", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=900,
        **options,
    )


SMALL = ["train", "reviews-1-small", "--out", "new"]
LOADING = r"(loading (torch|jax|torch and jax)\n)?"  # said before what takes long
BAD = {  # what the one sentence must contain
    "unknown experiment": (["train", "review-5"], r"unknown experiment 'review-5': did you mean .*'reviews-5'"),
    "no experiment": (["train"], "expected the name of an experiment, got none"),
    "unknown backend": ([*SMALL, "--backend", "tensorflow"], "unknown backend 'tensorflow': did you mean 'torch'"),
    "unknown dtype": ([*SMALL, "--dtype", "float16"], "unknown dtype 'float16'.*'bfloat16'"),
    "unknown device": ([*SMALL, "--device", "gpu"], "unknown device 'gpu': did you mean 'cpu'"),
    "no such data": ([*SMALL, "--data", "nowhere"], "data folder nowhere: expected a folder with .* no such folder"),
    "data is a file": ([*SMALL, "--data", "file"], "data folder file: .* got a file; pass the folder"),
    "no data in the folder": ([*SMALL, "--data", "empty"], "data folder empty: expected .* an empty folder"),
    "malformed data": ([*SMALL, "--data", "malformed"], r"train\.csv, line 2: expected a label out of 1, 2, got '3'"),
    "data that is not built in": (["train", "reviews-5"], "yelp_polarity is not built in.*--data FOLDER.*--data hub"),
    "no such vocabulary": ([*SMALL, "--vocab", "nowhere.txt"], "vocabulary nowhere.txt: expected a vocab.txt"),
    "foreign vocabulary": ([*SMALL, "--vocab", "vocab.txt"], r"expected the tokens \[PAD\]"),
    "steps": ([*SMALL, "--steps", "0"], "--steps: expected at least 1, got 0"),
    "too many steps": ([*SMALL, "--steps", f"{2**63}"], f"--steps: expected a number below .*, got {2**63}"),
    "too large a batch": ([*SMALL, "--batch-size", f"{2**31}"], f"--batch-size: expected .*, got {2**31}"),
    "several at once": (
        [*SMALL, "--batch-size", "0", "--learning-rate", "-1", "--seed", "-1"],
        "--batch-size: expected at least 1, got 0; --seed: .*; --learning-rate: .* got -1",
    ),
    "a decay that changes nothing": ([*SMALL, "--schedule", "step"], "multiplies the rate .* expected --decay-factor"),
    "a decay without a schedule": (
        [*SMALL, "--decay-factor", "0.5", "--decay-to", "0.1"],
        "the constant schedule has no --decay-to and no --decay-factor: leave it out or change --schedule",
    ),
    "a decay of a different schedule": (
        [*SMALL, "--schedule", "cosine", "--decay-every", "3"],
        "the cosine schedule has no --decay-every",
    ),
    "a decay out of range": (
        [*SMALL, "--schedule", "linear", "--decay-to", "2"],
        "--decay-to: expected a fraction",
    ),
    "a fold that is not there": ([*SMALL, "--fold", "6", "5"], "--fold: expected a number and a count, such as 1 5"),
    "an average of the past alone": ([*SMALL, "--average-decay", "1"], "--average-decay: .* below 1, got 1"),
    "a certificate in bfloat16": (
        ["train", "lockstep-2", "--backend", "both", "--certify", "--dtype", "bfloat16"],
        "--certify: expected --dtype float64 or float32, got bfloat16, whose rounding makes two runs diverge",
    ),
    "a certificate of different masks": (
        ["train", "lockstep-2", "--backend", "both", "--certify", "--dropout-rng", "native"],
        "--certify needs equal dropout masks: leave out --dropout-rng native",
    ),
    "resuming nothing": (["train", "--resume", "nowhere"], "expected a run folder with config.json, got nowhere"),
    "evaluating nothing": (["eval", "empty"], "expected a run folder with config.json, got empty"),
    "reporting nothing": (["report", "empty"], "expected a run folder with config.json, got empty"),
    "run folder is a file": ([*SMALL[:2], "--out", "file"], "expected a folder for the run, got the file file"),
    "run folder is in use": ([*SMALL[:2], "--out", "malformed"], "malformed is not empty: choose a different folder"),
    "unknown twin": (["check", "LayerNrom"], "unknown twin 'LayerNrom': did you mean 'LayerNorm'"),
    "unknown dtype of a check": (["check", "--dtype", "float8"], "unknown dtype 'float8'"),
    "unknown list": (["list", "modles"], "unknown list 'modles': did you mean 'studies'"),
    "reporting no run": (["report"], "expected run folders, got none"),
    "a table and a page": (
        ["report", "empty", "--table", "t.md", "--out", "o"],
        "--out has no effect with `isograd report --table`",
    ),
    "reporting a file": (["report", "file"], "expected a run folder with config.json, got file"),
    "an empty file of reviews": ([*SMALL, "--data", "hollow"], r"hollow/train\.csv: expected reviews .* got none"),
    "a binary vocabulary": ([*SMALL, "--vocab", "binary.txt"], "vocabulary binary.txt: expected a UTF-8 file"),
    "a binary tokenizer": ([*SMALL, "--vocab", "binary.json"], "vocabulary binary.json: expected a tokenizer.json"),
    "a learning rate that is not a number": ([*SMALL, "--learning-rate", "nan"], "--learning-rate: .* got nan"),
    "a run folder below a file": ([*SMALL[:2], "--out", "file/x"], "--out file/x: expected a folder .* got the file"),
    "resuming a file": (["train", "--resume", "file"], "expected a run folder with config.json, got file"),
    "evaluating a file": (["eval", "file"], "expected a run folder with config.json, got file"),
    "a check into a file": (["check", "GRU", "--out", "file"], "--out file: expected a folder to write to"),
    "porting a folder without weights": (["port", "empty", "new.pt"], "no weights in the folder empty"),
    "porting a binary file": (["port", "binary.txt", "new.pt", "--model", "GRU"], "can't read binary.txt: not a valid"),
    "porting a foreign zip": (
        ["port", "foreign.zip", "new.safetensors", "--model", "GRUCell"]
        + ["--arguments", '{"input_size": 2, "hidden_size": 3}'],
        "foreign.zip",
    ),
    "porting nothing": (["port", "nowhere", "new", "--to", "torch"], "nowhere"),
    "demo in a folder with other files": (["demo", "--out", "malformed"], "malformed is not a demo folder .*test.csv"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(inputs, fake, capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.setattr(launch, "load_backend", _checking_load_backend)
    before = sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts)
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(rf"{LOADING}isograd: .*{words}.*\n", captured.err)
    assert sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts) == before


def _checking_load_backend(name, **given):
    from shared.backend import DEVICES, DTYPES, PACKAGES, check_choice

    for what, got, choices in (("backend", name, PACKAGES), ("dtype", given["dtype"], DTYPES)):
        check_choice(what, got, choices)
    check_choice("device", given["device"], DEVICES)
    return FakeBackend(**given)


NO_EFFECT = {
    "--steps 6 --stop-at 9": "--stop-at: expected a step from 0 to 6, the last of the run, got 9",
    "--batch-size 2147483647": "batch_size: expected fewer than 2,147,483,648 tokens in a batch",
    "--batch-size 1000000": "--batch-size 1000000: the data has only 640 training examples: expected at most as many",
    "--steps 1 --accumulate 1000": "--accumulate 1000: a run of 1 steps makes no update",
    "--steps 6 --warmup 7": "--warmup 7: the run has only 6 updates",
    "--data one-class": "expected training examples of several labels, got positive alone",
    "--data twice": "expected one file train.csv, got train.csv, train.csv.gz; keep one of them",
    "--data folder": "expected a file train.csv, got a folder of that name",
    "--data from-0": r"train.csv, line 1: expected a label out of 1, 2, got '0' (2 of 3 rows ",
    "--data header": r"train.csv, line 1: expected a label out of 1, 2, got 'label' (1 of 2 rows ",
}


@pytest.fixture
def odd_folders(tmp_path):
    """Data folders that each have one thing wrong, besides a good test.csv."""
    contents = {
        "one-class": '"2","good"\n',
        "from-0": '"0","bad"\n"1","good"\n"0","worse"\n',
        "header": '"label","text"\n"1","good"\n',
        "twice": '"1","bad"\n"2","good"\n',
    }
    for name, text in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.csv").write_text(text)
        (tmp_path / name / "test.csv").write_text('"2","good"\n"2","fine"\n')
    (tmp_path / "twice" / "train.csv.gz").write_bytes(b"")
    (tmp_path / "folder" / "train.csv").mkdir(parents=True)


@pytest.mark.parametrize(("line", "words"), NO_EFFECT.items(), ids=NO_EFFECT)
def test_what_would_have_no_effect_is_refused(odd_folders, fake, capsys, line, words):
    name = "reviews-1" if "--data" in line else "reviews-1-small"
    assert cli.main(["train", name, "--out", "new", *line.split()]) == 2
    error = re.sub(f"^{LOADING}", "", capsys.readouterr().err)
    assert words in error
    assert error.count("\n") == 1
    assert not Path("new").exists()


def test_a_fault_that_changes_nothing_in_a_twin_is_refused(capsys):
    from crosscheck.faults.table import FAULTS

    fault = next(fault for fault in FAULTS.values() if fault.name.startswith("norm-eps"))
    for command in ("locate", "explain"):
        assert cli.main([command, "Linear", "--fault", fault.name]) == 2
        assert f"isograd {command} {fault.twin} --fault {fault.name}" in capsys.readouterr().err


UNREADABLE = {
    "trian": "unknown command 'trian': did you mean train or translate?",
    "": "expected a command, got none",
    "train --lerning-rate 3": "unknown option --lerning-rate: did you mean --learning-rate?",
    "train x --steps 1.5": "--steps: expected a whole number, got '1.5'",
    "train x --clip-norm abc": "--clip-norm: expected a number, got 'abc'",
    "train x --steps": "--steps",
    "train x y": "unexpected argument 'y'",
    "locate": "expected TWIN, got none",
    "check --dtype": "--dtype: expected at least one value",
    "check --dtype flaot32": "unknown dtype 'flaot32': did you mean 'float32'",
    "report x --out=": "--out: expected a value, got an empty one",
    "train x\x1b[31m": "unknown experiment",
}


@pytest.mark.parametrize(("line", "words"), UNREADABLE.items(), ids=UNREADABLE)
def test_unreadable_arguments_are_one_sentence_and_exit_code_2(capsys, line, words):
    assert cli.main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("isograd: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert "\x1b" not in captured.err


@pytest.mark.parametrize("option", ["--data", "--vocab", "--resume", "--out"])
def test_an_empty_path_is_refused(capsys, option):
    assert cli.main(["train", "reviews-1-small", option, ""]) == 2
    assert capsys.readouterr().err.startswith(f"isograd: {option}: expected a value, got an empty one")
    assert cli.main(["report", ""]) == 2


def test_a_report_overwrites_nothing_but_a_report(run, tmp_path, capsys):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "report.html").write_text("precious")
    for arguments in (["report", "run", "--out"], ["check", "GRU", "--out"]):
        assert cli.main([*arguments, "thesis"]) == 2
        assert "holds no report of isograd's" in capsys.readouterr().err
    assert cli.main(["report", "run", "--table", "thesis/report.html"]) == 2
    assert (thesis / "report.html").read_text() == "precious"
    for _ in range(2):
        assert cli.main(["report", "run"]) == 0
        assert cli.main(["report", "run", "--table", "table.md"]) == 0


RESULTS = {
    "faults.md": ["check", "--faults"],
    "faults.json": ["check", "--faults"],
    "faults.html": ["check", "--faults"],
    "faults.jsonl": ["check", "--faults"],
    "families.json": ["check", "--faults", "--families"],
    "families.jsonl": ["check", "--faults", "--families"],
    "bench.json": ["bench"],
}


@pytest.mark.parametrize(("name", "command"), RESULTS.items(), ids=RESULTS)
def test_results_overwrite_nothing_but_results(tmp_path, capsys, name, command):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / name).write_text("precious")
    assert cli.main([*command, "--out", "thesis"]) == 2
    assert f"{name} there is not isograd's, so nothing is overwritten" in capsys.readouterr().err
    assert [path.read_text() for path in (tmp_path / "thesis").iterdir()] == ["precious"]


def test_the_results_of_the_checkout_may_be_measured_again():
    results = ROOT / "experiments" / "results"
    check_files(results, FAULTS)
    for folder in (results / "bench", *(results / "bench").iterdir()):
        check_files(folder, [BENCH])


def test_names_of_twins_may_follow_dtypes(monkeypatch, capsys):
    from crosscheck.twins import suite

    asked = []
    monkeypatch.setattr(suite, "check", lambda *given, **options: asked.append(given[:2]) or [])
    cli.main(["check", "--dtype", "float32", "GRU", "attn*"])
    assert asked == [(["GRU", "attn*"], ["float32"])]


def test_a_backend_that_is_not_installed_is_reported(tmp_path):
    block = "import sys; sys.modules['flax'] = None; from experiments.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", block, *SMALL, "--backend", "jax"]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert ended.returncode == 2
    assert re.fullmatch(
        rf"{LOADING}isograd: the jax backend needs jax, flax, optax, but 'flax' is not installed: .*\n", ended.stderr
    )
    assert not (tmp_path / "new").exists()


def test_a_run_is_never_overwritten(run, capsys):
    assert cli.main(["train", "reviews-1-small", "--out", "run"]) == 2
    assert "run is not empty: resume its run with `isograd train --resume run`" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--seed", "1"], ["--batch-size", "3"], ["--bucketing"], ["--out", "x"]])
def test_the_settings_of_a_run_can_not_be_changed_on_resuming(run, capsys, options):
    assert cli.main(["train", "--resume", "run", *options]) == 2
    assert f"a resumed run keeps its settings: remove {options[0]}" in capsys.readouterr().err


def test_a_run_of_a_different_experiment_is_not_resumed(run, capsys):
    assert cli.main(["train", "reviews-5-small", "--resume", "run"]) == 2
    assert "run is a run of reviews-1-small, not of reviews-5-small" in capsys.readouterr().err


def damage(path, change):
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: b"", lambda data: b"PK" + data[2:]])
def test_damaged_checkpoints_are_named(run, capsys, change):
    for folder in [run / "best", *(run / "checkpoints").iterdir()]:
        damage(folder / "weights.safetensors", change)
    assert cli.main(["eval", "run"]) == 2
    assert "weights.safetensors is damaged" in capsys.readouterr().err
    assert cli.main(["train", "--resume", "run", "--steps", "9"]) == 2
    assert "run has no usable checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"experiment": 3}'])
def test_a_config_that_isograd_did_not_write_is_named(run, capsys, text):
    (run / "config.json").write_text(text)
    assert cli.main(["eval", "run"]) == 2
    assert "config.json: expected a run configuration written by isograd" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("batch_size", 0),
        ("length", -1),
        ("seed", -1),
        ("optimizer.learning_rate", -0.5),
        ("training.accumulate", 0),
        ("model.arguments.hidden_size", 0),
        ("model.arguments.dropout", 2.0),
        ("model.inputs", ["words"]),
    ],
)
def test_a_value_of_a_config_that_is_out_of_range_is_named(run, capsys, path, value):
    config = json.loads((run / "config.json").read_text())
    *parents, name = path.split(".")
    reduce(getitem, parents, config["experiment"])[name] = value
    (run / "config.json").write_text(json.dumps(config))
    assert cli.main(["eval", "run"]) == 2
    assert f"{Path('run/config.json')}: expected" in (sentence := capsys.readouterr().err)
    assert f"got values out of range: {name}: expected " in sentence


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"batch_size": 64', '"batch_size": "64"', "experiment.batch_size '64'"),
        ('"length": 8', '"length": null', "experiment.length None"),
        ('"steps": 6', '"steps": true', "experiment.steps True"),
        ('"learning_rate": 0.001', '"learning_rate": "fast"', "experiment.optimizer.learning_rate 'fast'"),
        ('"accumulate": 1', '"accumulate": 1.5', "experiment.training.accumulate 1.5"),
        ('"resumed": []', '"resumed": null', "resumed None"),
    ],
)
def test_a_value_of_the_wrong_type_in_a_config_is_named(run, capsys, old, new, named):
    path = run / "config.json"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    for command in (["eval", "run"], ["report", "run"], ["train", "--resume", "run"]):
        assert cli.main(command) == 2
        assert capsys.readouterr().err.endswith(f"got values of the wrong type: {named}\n")


def test_a_nan_loss_ends_with_exit_code_2_and_names_the_step(monkeypatch, capsys):
    monkeypatch.setattr(launch, "load_backend", lambda name, **given: FakeBackend(**given, nan_at=27))
    assert cli.main([*SMALL, "--quiet"]) == 2
    words = r"isograd: training stopped: the loss is nan at step 27; no checkpoint had been written yet; .*\n"
    assert re.fullmatch(words, capsys.readouterr().err)


def test_a_huge_loss_ends_a_run_and_float32_is_not_advised_in_float32(fake, monkeypatch, capsys):
    from experiments.training import runner

    monkeypatch.setattr(runner, "LARGEST_LOSS", 0.0)  # every loss of the stand-in is above it
    assert cli.main([*SMALL, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "so the run diverges; " in error
    assert error.endswith("try a smaller --learning-rate\n")


def test_a_full_disk_names_the_folder_of_the_run(run, monkeypatch, capsys):
    def fail(arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "run/checkpoints/x")

    monkeypatch.setattr(cli, "_run", fail)
    assert cli.main([]) == 2
    assert "then resume with `isograd train --resume run`" in capsys.readouterr().err


ERRORS = {
    "a mistake": (IsogradError("this and that"), 2, "this and that"),
    "a full disk": (OSError(errno.ENOSPC, "No space left on device"), 2, "the disk is full: free some space"),
    "a folder without rights": (PermissionError(errno.EACCES, "Permission denied", "x"), 2, r"Permission denied \(x\)"),
    "Ctrl-C": (KeyboardInterrupt(), 130, "stopped"),
    "no memory for numpy": (MemoryError("Unable to allocate 9 GiB"), 2, r"not enough memory: .* \(Unable to allocate"),
    "no memory for torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory: you"), 2, "not enough memory: "),
    "no memory on a GPU": (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\n"), 2, "not enough memory: "),
    "a kernel's assertion": (
        RuntimeError("CUDA error: device-side assert triggered"),
        2,
        "a kernel on the GPU gave up",
    ),
    "no memory for jax": (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating"), 2, "not enough memory: "),
}


@pytest.mark.parametrize(("error", "code", "words"), ERRORS.values(), ids=ERRORS)
def test_errors_become_exit_codes(monkeypatch, capsys, error, code, words):
    def fail(arguments):
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    assert cli.main([]) == code
    assert re.match(f"isograd: {words}", capsys.readouterr().err)


@pytest.mark.parametrize("bug", [ZeroDivisionError, RuntimeError("shapes do not fit")])
def test_a_bug_is_not_hidden_behind_a_sentence(monkeypatch, bug):
    def fail(arguments):
        raise bug

    monkeypatch.setattr(cli, "_run", fail)
    with pytest.raises((ZeroDivisionError, RuntimeError)):
        cli.main([])


@pytest.mark.parametrize(("stop_at", "told"), [("3", ["stopped at step 3 of 6, as requested: resume with"]), ("6", [])])
def test_a_run_says_that_it_stopped_only_if_it_did(fake, capsys, stop_at, told):
    assert cli.main([*SMALL, "--steps", "6", "--stop-at", stop_at]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "stopped" in line]
    assert [line[: len(words)] for line, words in zip(lines, told, strict=True)] == told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a shell and devices")
@pytest.mark.parametrize(
    ("command", "out", "err"),
    [
        ("list nonsense 2>&-", "", ""),
        ("list >&-", "", ""),
        ("list >/dev/full", "", "isograd: the disk is full.*\n"),
        ("list nonsense 2>/dev/full", "", ""),
    ],
)
def test_streams_that_are_closed_or_full_end_in_no_traceback(command, out, err):
    shell = ["sh", "-c", f"{sys.executable} -m experiments {command}; echo $? >code"]
    ended = subprocess.run(shell, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert ended.stdout == out
    assert re.fullmatch(err, ended.stderr)
    assert Path("code").read_text() == ("0\n" if command == "list >&-" else "2\n")


def test_help_and_lists_import_no_framework(tmp_path):
    code = (
        "import sys; from experiments.cli import main\ntry: main({arguments})\nexcept SystemExit: pass\n"
        "sys.exit(bool({{'torch', 'jax', 'matplotlib', 'datasets'}} & set(sys.modules)))"
    )
    for arguments in (["--help"], ["train", "--help"], ["list"]):
        command = [sys.executable, "-c", code.format(arguments=arguments)]
        ended = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert ended.returncode == 0, (arguments, ended.stderr)


FIRST_IMPORT = """
import sys

class Told:
    def find_spec(self, name, *rest):
        if name in ("torch_impl", "jax_impl", "crosscheck"):  # only they import the frameworks
            print("importing", name, file=sys.stderr)
            sys.exit(3)

sys.meta_path.insert(0, Told())
from experiments.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train reviews-1-small --backend torch --out new", "loading torch"),
        ("train reviews-1-small --backend jax --out new", "loading jax"),
        ("train lockstep-2 --backend both --certify --out new", "loading torch and jax"),
        ("train --resume run --steps 9", "loading torch"),
        ("eval run --backend jax", "loading jax"),
    ],
)
def test_a_framework_is_announced_before_it_is_imported(run, line, said):
    command = [sys.executable, "-c", FIRST_IMPORT, *line.split()]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    first, second = ended.stderr.splitlines()
    assert (first, second.split()[0], ended.returncode) == (said, "importing", 3)


def test_lists_are_readable_by_a_program(capsys):
    assert cli.main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["experiments"]] == list(EXPERIMENTS)
    assert {"GRU", "MultiHeadedAttention"} <= {row["name"] for row in found["twins"]}
    sources = {row["name"]: row["sources"] for row in found["datasets"]}
    assert sources["yelp_polarity"] == "--data FOLDER, --data hub (fancyzhx/yelp_polarity)"
    assert sources["verbal_arithmetic"] == "built in, --data FOLDER"


def test_training_prints_json_lines_only(fake, capsys):
    assert cli.main([*SMALL, "--steps", "6", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["kind"] for record in records] == ["train"] * 6 + ["validation"]


def test_quiet_training_prints_nothing(fake, capsys):
    assert cli.main([*SMALL, "--steps", "6", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_plain_training_shows_validations_and_where_the_run_is(fake, capsys):
    assert cli.main([*SMALL, "--steps", "6"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "loading torch"
    assert re.match(r"step 6/6  validation loss \d", lines[2])
    assert lines[-1] == "the run is in new: plot it with `isograd report new`"


def test_the_default_run_folder_is_named_after_experiment_and_backend(fake, tmp_path):
    assert cli.main(["train", "reviews-1-small", "--steps", "2", "--quiet"]) == 0
    assert (tmp_path / "runs" / "reviews-1-small-torch" / "config.json").is_file()


def test_evaluation_repeats_the_validation_of_the_best_checkpoint(run, capsys):
    assert cli.main(["eval", "run", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][-1]
    assert result["step"] == 6
    assert {name: result["metrics"][name] for name in ("loss", "accuracy", "f1")} == {
        name: logged[name] for name in ("loss", "accuracy", "f1")
    }


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--average-decay", "0.5"]], ids=["weights", "averages"])
def test_a_run_is_evaluated_as_it_was_validated_and_in_float64_by_both_frameworks_alike(
    settings_of_jax, capsys, options, tmp_path
):
    from crosscheck.criterion import PROOF

    assert cli.main([*SMALL, "--backend", "torch", "--steps", "2", "--quiet", *options]) == 0
    assert cli.main(["eval", "new", "--json"]) == 0
    logged = json.loads((tmp_path / "new" / "metrics.jsonl").read_text().splitlines()[-1])
    assert json.loads(capsys.readouterr().out)["metrics"]["loss"] == logged["loss"]
    losses = []
    for side in PACKAGES:
        assert cli.main(["eval", "new", "--backend", side, "--dtype", "float64", "--json"]) == 0
        losses.append(json.loads(capsys.readouterr().out)["metrics"]["loss"])
    assert abs(losses[0] - losses[1]) <= PROOF * losses[0]


def test_evaluation_of_a_run_works_where_the_folder_was_moved_to(run, tmp_path, capsys):
    run.rename(tmp_path / "elsewhere")
    assert cli.main(["eval", "elsewhere"]) == 0
    assert re.search(r"accuracy +0\.\d", capsys.readouterr().out)


@pytest.mark.slow
def test_a_report_names_the_file_to_open_last(run, tmp_path, capsys):
    assert cli.main(["report", "run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"open {Path('run/report/report.html')}"
    assert (run / "report" / "report.html").is_file()


@pytest.fixture
def fault(monkeypatch):
    """One part in a billion more, in the PyTorch twin of LayerNorm."""
    from torch_impl import LayerNorm

    right = LayerNorm.forward
    monkeypatch.setattr(LayerNorm, "forward", lambda self, inputs: right(self, inputs) * (1 + 1e-9))


CHECK = ["check", "LayerNorm", "--dtype", "float64", "--out", "checked"]


def test_a_check_of_twins_that_agree_ends_with_0_and_a_table(capsys, tmp_path):
    assert cli.main(CHECK) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["twin", "dtype", "cases", "worst", "error", "bound", "sees", "from", "verdict"]
    assert re.fullmatch(r"LayerNorm +float64 +\d+ +\d\.\de-\d\d +1\.0e-12 +\d\.\de-\d\d +agree *", lines[1])
    assert lines[-3] == "6 comparisons of 1 twin, no disagreement"
    assert lines[-2].startswith("seconds: torch ")
    assert lines[-1] == f"open {Path('checked/report.html')}"
    assert json.loads((tmp_path / "checked" / "report.json").read_text())["agrees"] is True


def test_a_planted_fault_ends_a_check_with_1_and_every_wrong_tensor(fault, capsys, tmp_path):
    assert cli.main(CHECK) == 1
    out = capsys.readouterr().out
    assert "6 of 6 DISAGREE" in out
    assert re.search(r"output .*\(5, 11, 17\): error 1.00e-09, bound 1.00e-12, worst at \(\d, \d+, \d+\): torch ", out)
    assert re.search(r"worst at .*: torch (\S+), jax (?!\1\n)", out), "the two values look equal"
    written = json.loads((tmp_path / "checked" / "report.json").read_text())
    assert (written["agrees"], written["disagreements"], written["device"]) == (False, 6, "cpu")
    assert {"python", "torch", "jax", "flax"} <= written["versions"].keys()
    page = (tmp_path / "checked" / "report.html").read_text()
    assert page.count('<pre class="wrong">') == 6


def test_a_check_is_readable_by_a_program(fault, capsys):
    assert cli.main([*CHECK[:-2], "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["agrees"], found["comparisons"]) == (False, 6)
    assert {row["tensor"] for row in found["reports"][0]["rows"]} >= {"output", "weight", "bias"}


LOUD = """
import logging, subprocess, sys, warnings
from experiments import cli
from experiments.commands import demo

def loud(arguments):
    warnings.warn("a library warns")
    logging.getLogger("absl").error("a library reports")
    logging.getLogger("isograd").warning("a sentence of ours")
    subprocess.run([sys.executable, "-c", "import warnings; warnings.warn('a worker warns')"])

cli._run = loud
sys.exit(cli.main())
"""


@pytest.mark.parametrize(
    ("options", "shown"),
    [([], []), (["-W", "default"], ["a library warns", "a worker warns"])],
    ids=["by default", "with -W"],
)
def test_only_our_own_sentences_reach_the_terminal_unless_the_user_asks_for_more(options, shown):
    ended = subprocess.run(
        [sys.executable, *options, "-c", LOUD],
        capture_output=True,
        text=True,
        env={**{name: text for name, text in os.environ.items() if name != "PYTHONWARNINGS"}, "PYTHONPATH": str(ROOT)},
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    lines = ended.stderr.splitlines()
    assert [line for line in lines if line.startswith("isograd: ")] == ["isograd: a sentence of ours"]
    assert [words for words in ("a library warns", "a library reports", "a worker warns") if words in ended.stderr] == (
        shown
    )
    assert shown or len(lines) == 1


STARTED = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from experiments import cli
from shared.backend import COMPILING

cli.keep_freed_memory = lambda: print("freed memory is kept")
cli._run = lambda arguments: ThreadPoolExecutor(1, COMPILING).submit(time.sleep, 3600) and 1
sys.exit(cli.main())
"""


@pytest.mark.parametrize(
    ("options", "kept"), [([], "freed memory is kept\n"), (["--device", "cuda"], ""), (["--device=cuda"], "")]
)
def test_a_command_on_a_gpu_compiles_in_threads_and_does_not_wait_for_what_it_no_longer_needs(options, kept):
    command = [sys.executable, "-c", STARTED, "train", *options]
    ended = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=600
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, kept, "")


@pytest.mark.parametrize("name", ["tyro", "jinja2"])
def test_a_library_that_is_not_installed_is_one_sentence(run, capsys, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    assert cli.main(["report", "run"]) == 2
    assert (
        capsys.readouterr().err == f"isograd: this command needs '{name}', which is not installed: pip install {name}\n"
    )


def test_a_missing_module_of_isograd_is_a_bug_and_not_hidden(monkeypatch):
    monkeypatch.setitem(sys.modules, "experiments.reports.report", None)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["report", "run"])


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_missing_gpu_is_found_before_any_data_is_read(monkeypatch, capsys, backend):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr(launch, "prepare", lambda *arguments: 1 / 0)
    assert cli.main([*SMALL, "--backend", backend, "--device", "cuda"]) == 2
    assert "--device cuda was asked for" in capsys.readouterr().err


def test_compiled_programs_are_kept_unless_the_user_chose_otherwise(monkeypatch, tmp_path):
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_COMPILATION_CACHE_MAX_SIZE"):
        monkeypatch.setenv(name, "")  # removed afterwards, with what the command sets
        monkeypatch.delenv(name)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "7")
    cli.main(["list", "datasets"])
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "cache" / "programs" / "jax")
    assert int(os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"]) == cli.LARGEST_CACHE
    assert os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "7"


def test_a_folder_for_compiled_programs_that_the_user_chose_has_no_limit_of_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_MAX_SIZE", raising=False)
    cli.main(["list", "datasets"])
    assert "JAX_COMPILATION_CACHE_MAX_SIZE" not in os.environ


@pytest.mark.slow
def test_both_backends_are_trained_compared_and_drawn(tmp_path):
    from crosscheck.criterion import PROOF

    ended = start(
        "train", "reviews-1-small", "--backend", "both", "--steps", "6", "--out", "both", "--dtype", "float64"
    )
    assert ended.returncode == 0, ended.stderr
    difference = re.search(r"differ by at most ([\d.e-]+) \(step \d of 6\)", ended.stdout)
    assert float(difference[1]) < PROOF
    assert ended.stdout.splitlines()[-1] == f"open {Path('both/report/report.html')}"
    assert 'id="loss_difference"' in (tmp_path / "both" / "report" / "report.html").read_text()


@pytest.mark.slow
def test_ctrl_c_on_the_command_line_saves_and_exits_with_130(tmp_path):
    import signal

    command = [sys.executable, "-m", "experiments", "train", "reviews-1-small", "--steps", "100000", "--out", "run"]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    ) as child:
        said = next((line for line in child.stderr if "validation" in line), None)
        assert said, "the run ended before its first validation"
        child.send_signal(signal.SIGINT)
        words = child.stderr.read()
    assert child.returncode == 130
    assert re.search(r"isograd: stopped at step \d+ of 100000 and saved: .*isograd train --resume run", words)
    assert latest_checkpoint(tmp_path / "run")[1] == []


CTRL_C = {  # when it comes
    "while the commands are imported": """
class Pressed:
    def find_spec(self, name, *rest):
        if name == "tyro":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Pressed())
""",
    "in a callback of the garbage collector, where Python drops it": """
def press(*when):
    gc.callbacks.remove(press)
    signal.raise_signal(signal.SIGINT)

def run(arguments):
    gc.callbacks.append(press)
    gc.collect()
    time.sleep(60)

cli._run = run
""",
    "twice, the second time as the process ends": """
def run(arguments):
    signal.raise_signal(signal.SIGINT)

cli._run, cli._drop_what_nobody_reads = run, lambda: signal.raise_signal(signal.SIGINT)
""",
}


@pytest.mark.parametrize("code", CTRL_C.values(), ids=CTRL_C)
def test_ctrl_c_at_any_time_ends_a_command_in_one_word(code):
    program = f"import gc, signal, sys, time\nfrom experiments import cli\n{code}\nsys.exit(cli.main())"
    command = [sys.executable, "-c", program, "list", "twins"]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "isograd: stopped\n")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that refuses files to everybody")
def test_a_demo_that_can_not_write_its_output_says_so_before_any_work(capsys):
    assert cli.main(["demo", "--out", "/proc/demo"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("isograd: --out /proc/demo: the folder /proc can't be written to")
    assert captured.out == ""


def test_the_demo_says_how_small_its_sample_of_all_comparisons_is():
    from shared.registry import TWINS

    sample, number, twins = map(int, re.findall(r"\d+", demo.what_is_left_out()))
    assert 0 < sample < number
    assert twins == len(TWINS)
