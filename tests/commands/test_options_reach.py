"""Every option of a command reaches the function that does the work, and what is wrong its exit code."""

import importlib
import inspect
import itertools
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import ANY

import pytest

from crosscheck.twins import suite
from experiments.catalogue import find_experiment
from experiments.cli import main
from experiments.commands import search
from experiments.commands.evaluate import Chosen
from experiments.commands.table import COMMANDS
from experiments.training import certificate
from experiments.training.settings import OF_SCHEDULES, SCHEDULE_FIELDS, Settings, flag, typed, with_settings
from shared.configs.optimizer import ScheduleConfig, SGDConfig, TrainingConfig
from shared.schedules import make_schedule

OF_TEXTS = SimpleNamespace(backend="torch", device="cpu", dtype="float32", experiment=SimpleNamespace(task=""))
CODEC = SimpleNamespace(end=3, encode=lambda text: [len(text)])
TASKS = {"generate": "language_modelling", "translate": "translation"}
IMAGES = [Path("images/a_cat/1.png"), Path("images/dog/2.png")]
RUNS = [Path("a"), Path("b")]
REPLACED = {  # what stands between a command and its work
    "experiments.commands.embed.find_folder": lambda folder: Path(folder),
    "experiments.commands.embed.encoded": lambda folder, texts: (folder, texts),
    "experiments.commands.clip.find_images": lambda folder: IMAGES,
    "experiments.commands.bench._load_frameworks": lambda device, dtype: None,
    "experiments.commands.train.choose_threads": lambda experiment: None,
    "experiments.commands.train.read_config": lambda folder: SimpleNamespace(experiment=SimpleNamespace(name="e")),
    "experiments.commands.report._seen": lambda runs, text: ("seen", runs, text),
    "experiments.reports.runs.expand_runs": lambda runs: RUNS,
    "experiments.commands.scaling.expand_runs": lambda runs: RUNS,
    "experiments.commands.scaling.read_run": lambda folder: folder,
    "experiments.commands.scaling._curve": lambda run, progress: run,
    "experiments.commands.scaling._as_rows": lambda runs, curves: runs,
    "experiments.studies.scaling_law.check_curves": lambda curves: None,
    "experiments.studies.scaling_law.budgets_of": lambda curves: [1.0],
    "experiments.studies.scaling_law.check_budgets": lambda budgets, curves: budgets,
    "experiments.studies.scaling_law.profile": lambda curves, budget: (budget, curves),
    "experiments.studies.scaling_law.fit_line": lambda profiles: None,
    "experiments.studies.scaling_law.extrapolate": lambda *given: ("far", "slopes"),
    "experiments.studies.scaling_law.summary": lambda *given: {},
    "experiments.commands.evaluate.choose_threads": lambda experiment: None,
    "experiments.commands.evaluate.read_config": lambda folder: OF_TEXTS,
    **{
        f"experiments.commands.{command}.{name}": other
        for command in ("generate", "translate")
        for name, other in {
            "read_config": lambda folder, task=TASKS[command]: SimpleNamespace(
                **{**vars(OF_TEXTS), "experiment": SimpleNamespace(task=task)}
            ),
            "find_backend": lambda name, **given: None,
            "codec_of": lambda config, run: CODEC,
            "load_module": lambda *given: ("module", {}),
            f"seen_in_{'text' if command == 'generate' else 'translation'}": lambda *given: given,
        }.items()
    },
    "experiments.commands.generate.choose_threads": lambda experiment: None,
    "experiments.commands.translate._translated": lambda words, *given: words,
    "experiments.commands.on_devices.compare.choose_threads": lambda experiment: None,
    "experiments.commands.study.STUDIES": {"masking": SimpleNamespace(trains=False, run=lambda seed: seed)},
}
OF_TWINS = "--fault f --dtype float32 --case c --device cuda"
TWINS = {"fault": "f", "dtype": "float32", "case": "c", "device": "cuda"}
WRITTEN = {"to": "hf", "dtype": "bfloat16", "dry_run": True}
SEARCH = "--batch-sizes 8 4 --rates 0.1 0.2 --epoch-counts 7 --folds 3 --search-seed 5 --seed 6"
SPACE = {"batch_sizes": (8, 4), "learning_rates": (0.1, 0.2), "epochs": (7,), "folds": 3}
SETTINGS = {
    "backend": "jax", "data": "d", "vocab": Path("v"), "steps": 9, "batch_size": 3, "learning_rate": 0.25, "seed": 4,
    "optimizer": "sgd", "fold": (2, 3), "initial": "i", "schedule": "step", "warmup": 5, "decay_every": 6,
    "decay_factor": 0.5, "clip_norm": 0.75, "accumulate": 2, "dropout": 0.125, "average_decay": 0.875,
    "dropout_rng": "native", "implementation": "reference", "patience": 8, "dtype": "float64", "device": "cuda",
}  # fmt: skip
TRAIN = " ".join(typed(SETTINGS))
REACHED = {  # what is typed -> the function, and what it is given, at its places and by name
    f"locate GRU {OF_TWINS} --train": ("crosscheck.locate.locate_twin", ["GRU"], {**TWINS, "train": True}),
    "locate GRU --fault f --dtype float32 --device cuda --steps 3": (
        "crosscheck.locate.locate_twin",
        ["GRU"],
        {"fault": "f", "dtype": "float32", "device": "cuda", "steps": 3},
    ),
    f"explain GRU {OF_TWINS} --train --budget 7": (
        "crosscheck.explain.explain_twin",
        ["GRU"],
        {**TWINS, "train": True, "budget": 7.0},
    ),
    "check GRU --dtype float16 --device cuda --jobs 3": (
        "crosscheck.twins.suite.check",
        [["GRU"], ["float16"], "cuda"],
        {"workers": 3},
    ),
    "check --faults --dtype float32 --seeds 9": ("crosscheck.scoring.score.score", [(), 9], {"dtypes": ("float32",)}),
    "check a/torch --faults --families": ("crosscheck.scoring.families.without_families", [("a/torch",)], {}),
    "port a b --to hf --dtype bfloat16 --dry-run --model m --arguments {} --verify": (
        "experiments.porting.port.port",
        [Path("a"), Path("b")],
        {**WRITTEN, "model": "m", "arguments": "{}", "verify": True},
    ),
    "port a b --to hf --dtype bfloat16 --dry-run --rules r": (
        "experiments.porting.by_rules.port_by_rules",
        [Path("a"), Path("b"), Path("r")],
        WRITTEN,
    ),
    f"search arithmetic-small {SEARCH}": (
        "experiments.commands.search.space_of",
        [ANY, "arithmetic-small", SPACE, 5],
        {},
    ),
    f"train reviews-1-small {TRAIN} --bucketing --out o --stop-at 7": (
        "experiments.training.launch.start",
        ["reviews-1-small", Settings(**SETTINGS, bucketing=True), Path("o"), ANY],
        {"stop_at": 7},
    ),
    "bench steps --device cuda --dtype bfloat16 --experiment reviews-1 --batch-size 3 --implementation library "
    "--rounds 2": ("experiments.commands.bench.Options", ["cuda", "bfloat16", ("reviews-1",), 3, 2, "library"], {}),
    "embed f one two --backend jax --dtype bfloat16": (
        "experiments.commands.embed._embedded",
        ["jax", Path("f"), "bfloat16", Path("f"), ["one", "two"]],
        {},
    ),
    "train --resume o --backend jax --device cuda --steps 9 --patience 8 --stop-at 7": (
        "experiments.training.launch.resume",
        [Path("o"), ANY],
        {"backend": "jax", "device": "cuda", "steps": 9, "patience": 8, "stop_at": 7},
    ),
    "train reviews-1-small --backend both --steps 9 --stop-at 7 --out o --quiet": (
        "experiments.commands.train.train_both",
        ["reviews-1-small", Path("o"), {"steps": 9, "stop_at": 7}],
        {"quiet": True, "json": False},
    ),
    "train reviews-1-small --backend both --certify --steps 9 --dtype float64 --out o": (
        "experiments.training.certificate.certify",
        ["reviews-1-small", Settings(steps=9, dtype="float64"), Path("o"), ANY],
        {},
    ),
    "report a b --out o --attention text": (
        "experiments.reports.report.write_report",
        [RUNS, Path("o"), ("seen", RUNS, "text")],
        {},
    ),
    "report a b": ("experiments.reports.report.write_report", [RUNS, Path("a/report"), None], {}),
    "report a b --table t.md": (
        "experiments.reports.report.write_results",
        [RUNS, Path("t.md"), "isograd report a b --table t.md"],
        {},
    ),
    "scaling a b --budgets 1e9 2e9 --flops 1e15 --draws 7 --seed 5": (
        "experiments.studies.scaling_law.extrapolate",
        [[(1e9, RUNS), (2e9, RUNS)], 1e15, 7, 5],
        {},
    ),
    "scaling a b --out o --json": (
        "experiments.commands.scaling.write_scaling",
        [Path("o"), ANY, ANY, ANY, {"command": "isograd scaling a b --out o --json", "runs": ANY}],
        {},
    ),
    "clip f images --backend torch --dtype bfloat16 --template =^{} --json": (
        "experiments.commands.clip._logits",
        ["torch", Path("f"), "bfloat16", ["=^a cat", "=^dog"], IMAGES],
        {"quiet": True},
    ),
    "clip f images --captions c": ("experiments.commands.clip._lines", [Path("c")], {}),
    "eval a --backend jax --data d --device cuda --dtype float64 --split test --newest": (
        "experiments.commands.evaluate.evaluated",
        [Path("a"), OF_TEXTS, Chosen("jax", "d", "cuda", "float64", "test", True), ANY],
        {},
    ),
    **{
        f"{command} r text --backend jax --device cuda --newest": (
            f"experiments.commands.{command}.load_module",
            [Path("r"), ANY, "jax", "cuda", True, ANY],
            {},
        )
        for command in TASKS
    },
    "generate r text --tokens 7 --temperature 0.5 --top-k 3 --top-p 0.25 --seed 5": (
        "experiments.commands.generate.continued",
        ["torch", "module", [[4]]],
        {"stop": 3, "steps": 7, "temperature": 0.5, "top_k": 3, "top_p": 0.25, "seed": 5},
    ),
    "generate r text --attention a.png": (
        "experiments.commands.generate.write_attention",
        [Path("a.png"), ("torch", "module", CODEC, [4])],
        {},
    ),
    "translate r text --attention a.png": (
        "experiments.commands.translate.write_attention",
        [Path("a.png"), ("torch", "module", CODEC, "text", "text")],
        {},
    ),
    "translate r --held-out": ("experiments.commands.translate._held_out", [Path("r"), *[ANY] * 3, "torch", CODEC], {}),
    "compare-devices reviews-1-small --backend jax --device cuda --steps 9": (
        "experiments.commands.on_devices.compare.compare_devices",
        ["reviews-1-small", Settings(backend="jax", device="cuda", steps=9), ("jax",), ANY],
        {},
    ),
    "explain --divergence D18 --json": ("experiments.commands.explain._measure", ["D18", True], {}),
    "study masking --seed 5 --out o": (
        "experiments.commands.study.write_studies",
        [{"masking": (ANY, 5)}, Path("o"), "isograd study masking --seed 5 --out o"],
        {},
    ),
}
SHOWN = {"json", "quiet", "out", "stream", "trials"}  # what is told or written of the work, or how often it is done
ELSEWHERE = {"stress", "list", "demo"}  # commands with tests of all their options

CHANGED = {"decay_every": (2, 3), "decay_factor": (0.5, 0.75), "decay_to": (0.25, 0.5)}  # -> two values


class ReachedError(Exception):
    """What the function was given."""


def _given_to(function, words, monkeypatch):
    """What a function is given, at its places and by name, by the command of these words."""

    def work(*places, **named):
        raise ReachedError(places, named)

    for name, other in {**REPLACED, function: work}.items():
        owner, _, attribute = name.rpartition(".")
        monkeypatch.setattr(importlib.import_module(owner), attribute, other)
    with pytest.raises(ReachedError) as found:
        main(words)
    return found.value.args


def test_every_option_of_a_command_is_among_those_that_are_followed_to_the_work():
    for name, command in COMMANDS.items():
        options = [
            each.name for each in inspect.signature(command).parameters.values() if each.kind is each.KEYWORD_ONLY
        ]
        followed = {word for line in REACHED for word in line.split() if line.startswith(f"{name} ")}
        missing = [option for option in options if option not in SHOWN and flag(option) not in followed]
        assert name in ELSEWHERE or not missing, f"isograd {name}: {missing}"


@pytest.mark.parametrize(("line", "reached"), REACHED.items())
def test_what_is_typed_reaches_the_work(line, reached, monkeypatch):
    function, places, named = reached
    given, by_name = _given_to(function, line.split(), monkeypatch)
    assert [*given] == places
    assert {name: by_name[name] for name in named} == named


def test_each_backend_of_both_is_given_every_setting(monkeypatch):
    both = ["train", "reviews-1-small", *typed({**SETTINGS, "backend": "both", "bucketing": True})]
    (words,), _ = _given_to("experiments.commands.side_by_side.run_command", both, monkeypatch)
    (_, given, *_), _ = _given_to("experiments.training.launch.start", words, monkeypatch)
    assert given == Settings(**{**SETTINGS, "backend": "torch"}, bucketing=True)


@pytest.mark.parametrize("command", ["train", "search"])
def test_a_command_that_is_written_down_gives_its_settings_again(command, monkeypatch):
    settings = Settings(**{**SETTINGS, "backend": None, "data": "a folder"}, bucketing=True)
    if command == "train":
        written, work = certificate._command("reviews-1-small", settings), "experiments.training.certificate.certify"
    else:
        parameters = inspect.signature(search.search_command).parameters
        given = {name: parameter.default for name, parameter in parameters.items()} | {"experiment": "reviews-1-small"}
        written, work = search._typed("reviews-1-small", settings, given), "experiments.commands.search.space_of"
    places, _ = _given_to(work, shlex.split(written)[1:], monkeypatch)
    assert settings in places


def test_every_setting_goes_to_its_place():
    found = with_settings(find_experiment("reviews-1-small"), Settings(**SETTINGS))
    named = ("steps", "batch_size", "seed", "patience", "initial", "fold")
    assert {name: getattr(found, name) for name in named} == {name: SETTINGS[name] for name in named}
    assert found.optimizer == SGDConfig(learning_rate=0.25)
    assert found.training == TrainingConfig(clip_norm=0.75, accumulate=2, average_decay=0.875, dropout_rng="native")
    assert found.schedule == ScheduleConfig("step", warmup=5, every=6, factor=0.5)
    assert {name: found.model.arguments[name] for name in ("dropout", "implementation")} == {
        "dropout": 0.125,
        "implementation": "reference",
    }


@pytest.mark.parametrize(("name", "setting"), [*itertools.product(OF_SCHEDULES, CHANGED)])
def test_a_schedule_takes_the_settings_that_change_its_rates_and_no_others(name, setting):
    fields = {SCHEDULE_FIELDS[each]: values for each, values in CHANGED.items()}
    usual = ScheduleConfig(name, **{field: values[0] for field, values in fields.items()})
    other = replace(usual, **{SCHEDULE_FIELDS[setting]: CHANGED[setting][1]})
    made = [make_schedule(each, 0.5, updates=12, updates_of_an_epoch=4) for each in (usual, other)]
    rates = [[schedule(update) for update in range(12)] for schedule in made]
    assert (rates[0] != rates[1]) == (setting in OF_SCHEDULES[name])


@pytest.mark.parametrize(("right", "code"), [((True, True), 0), ((True, False), 1), ((False, True), 1)])
def test_one_that_is_wrong_among_others_is_the_exit_code(right, code, monkeypatch):
    monkeypatch.setattr(suite, "check", lambda *_, **named: [SimpleNamespace(agrees=each) for each in right])
    monkeypatch.setattr("experiments.commands.check.print_table", lambda reports: None)
    assert main(["check"]) == code
    named = {"judged": 1, "of": 1, "wrong": sum(not each for each in right)}
    monkeypatch.setattr("crosscheck.scoring.families.without_families", lambda *_, **given: named)
    monkeypatch.setattr("experiments.reports.family_report.summary", lambda found: "")
    assert main(["check", "--faults", "--families"]) == code
    studies = {
        str(number): SimpleNamespace(trains=False, run=lambda seed, each=each: SimpleNamespace(as_expected=each))
        for number, each in enumerate(right)
    }
    monkeypatch.setattr("experiments.commands.study.STUDIES", studies)
    monkeypatch.setattr("experiments.commands.study.print_study", lambda study, findings: None)
    assert main(["study", "all"]) == code
