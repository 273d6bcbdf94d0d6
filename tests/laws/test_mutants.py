"""Mutants are planted in every numerical module, alike in both twins, and each that survives has its reason."""

import ast
import os
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase

import pytest
from mutants.__main__ import EXPLAINED, fits, report
from mutants.edits import edits
from mutants.pairs import pairs
from mutants.table import SHARED_FILES, TWIN_FILES, mutants
from mutants.trial import ENDLESS, KILLED, LATE, SURVIVED, _awaited
from places import ROOT

NOT_NUMERICAL = {
    "build.py",
    "triton_call.py",
    "weight_files.py",
    "orbax_folders.py",
    "nnx_states.py",
    "pretrained.py",
    "__init__.py",
    "recorded.py",
    "layer_keys.py",
}  # of torch_impl and jax_impl: files, names, and what only a GPU runs
OF_SHARED = {  # modules of shared/ where no mutants are planted, by the reason
    "files and folders, which tests damage": (
        *("checkpoint", "run_folder", "metrics_log", "digests", "json_text", "process"),
        *("data/cache",),
        *("data/bpe_files", "data/formats", "data/hub", "data/sources", "data/records"),
        *("lazy/arrays", "lazy/layouts", "lazy/msgpack_trees", "pretrained/family", "pretrained/folder"),
        *("pretrained/initial", "data/language/corpora", "data/language/text_codec", "data/vocabulary"),
    ),
    "rows of tables, held to other libraries' names and numbers": (
        *("registry", "foreign_tables", "pretrained/bert", "pretrained/clip", "pretrained/gpt2", "pretrained/rows"),
        *("pretrained/table", "tasks/table"),
    ),
    "names, types and checks of settings": (
        *("arrays", "backend", "errors", "configs/bert", "configs/clip", "configs/encoder", "configs/experiment"),
        *("configs/gpt", "configs/translation", "configs/validation", "data/texts", "data/stages"),
    ),
    "only slower or quicker": ("data/language/fast_bpe", "lazy/begun"),
    "kernels, in which `isograd stress` plants mistakes, and their compiler": (
        *("kernels/gru", "kernels/threefry", "cuda/nvrtc"),
    ),
}
OF_CROSSCHECK = {  # patterns of modules of crosscheck/ where no mutants are planted, by the reason
    "what is proposed as a cause is run, and has to close the gap, before it is said": (
        *("causes/flips/*", "causes/mistakes/*", "causes/operations/changes/*", "explain"),
        *(f"causes/operations/{name}" for name in ("beginning", "candidates", "in_*", "notation", "operation")),
        *("causes/operations/region", "causes/operations/written_out", "causes/source_attempts", "causes/hypotheses"),
        *(
            f"causes/{name}"
            for name in ("explanation", "gone", "hints", "lost_digits", "randomness", "settings", "sizes")
        ),
    ),
    "how modules of a framework are called, and what their tensors are called": (
        *("recording/torch_side", "recording/jax_side", "recording/jax_modules/*", "recording/side"),
        *("recording/tracing", "recording/record", "pairing/comparison", "compare"),
    ),
    "files, texts, options and pages": (
        *("recording/arguments", "recording/recording", "recording/recording_file", "recording/stopwatch"),
        *("pairing/options", "pairing/preconditions", "pairing/rule_files", "pairing/suggestions"),
        *("report", "testing", "pages/*"),
    ),
    "rows of tables, each of which a check must find or measure": (
        *("faults/*", "divergences/*", "ports/*", "scoring/families", "scoring/journal"),
    ),
    "formulas and other libraries' layers that every twin must meet": (
        *("twins/formulas/*", "twins/oracles", "twins/pair", "twins/suite", "twins/workers"),
    ),
    "what plants mistakes in kernels": ("kernels/*",),
}
TORCH = '''
import math, torch, jax

class Layer(nn.Module):
    """x * 2 + 1"""

    def forward(self, x: Float[Tensor, "B 3"], kept: Int[Tensor, "B"], eps: float = 1e-5) -> Float[Tensor, "B 3"]:
        if eps < 0:
            raise ValueError(f"{eps + 1}")
        return torch.softmax(x * 2, dim=-1)[kept, LAST] / math.sqrt(3)
'''
JAX = TORCH.replace("forward", "__call__").replace("torch.softmax", "jax.nn.softmax").replace("dim=", "axis=")
SCORES = "torch.softmax(x * 2, dim=-1)"
EXPECTED = [
    ("Layer.forward", "1e-05", "2e-05"),
    ("Layer.forward", "eps < 0", "eps <= 0"),
    ("Layer.forward", "0", "1"),
    ("Layer.forward", f"{SCORES}[kept, LAST] / math.sqrt(3)", f"{SCORES}[kept, LAST] * math.sqrt(3)"),
    ("Layer.forward", SCORES, "x * 2"),
    ("Layer.forward", SCORES, "torch.softmax(x * 2)"),
    ("Layer.forward", SCORES, "detached"),
    ("Layer.forward", "x * 2", "x / 2"),
    ("Layer.forward", "x", "detached"),
    ("Layer.forward", "2", "3"),
    ("Layer.forward", "-1", "1"),
    ("Layer.forward", "1", "2"),
    ("Layer.forward", "math.sqrt(3)", "3"),
    ("Layer.forward", "3", "4"),
]


def test_edits_change_what_is_computed_and_neither_texts_nor_types_nor_messages():
    found = list(edits(TORCH, "torch"))
    assert [(edit.place, edit.old, edit.new) for edit in found] == EXPECTED
    plain = ast.unparse(ast.parse(TORCH))
    assert all(edit.source != plain for edit in found)
    assert len({edit.source for edit in found}) == len(found)


def test_an_edit_of_torch_finds_the_same_in_jax_whatever_the_words():
    found = {(a.old, a.new): b.source for a, b in pairs(TORCH, JAX, detach=True)}
    assert found.keys() >= {(old, new) for _, old, new in EXPECTED}
    assert "jax.nn.softmax(x / 2, axis=-1)" in found["x * 2", "x / 2"]
    assert "stop_gradient(jax.nn.softmax(x * 2, axis=-1))" in found["torch.softmax(x * 2, dim=-1)", "detached"]


def test_every_numerical_module_of_the_twins_is_in_the_table():
    twins = {path.relative_to(ROOT / "torch_impl") for each in TWIN_FILES for path in ROOT.glob(f"torch_impl/{each}")}
    found = {ROOT / side / path for side in ("torch_impl", "jax_impl") for path in twins} | set(
        map(ROOT.joinpath, SHARED_FILES)
    )
    modules = {*ROOT.glob("torch_impl/**/*.py"), *ROOT.glob("jax_impl/**/*.py")}
    assert {path for path in modules - found if path.name not in NOT_NUMERICAL} == set()
    assert {path.name for path in modules} >= NOT_NUMERICAL


def modules_without_a_row(package):
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py"}
    return {path[len(package) + 1 : -3] for path in found - SHARED_FILES.keys() if "/tests/" not in path}


def test_every_module_of_shared_is_in_the_table_or_has_a_reason_not_to_be():
    assert modules_without_a_row("shared") == {name for names in OF_SHARED.values() for name in names}


def test_every_module_of_crosscheck_is_in_the_table_or_has_a_reason_not_to_be():
    patterns = [pattern for each in OF_CROSSCHECK.values() for pattern in each]
    fitting = {
        name: [each for each in patterns if fnmatchcase(name, each)] for name in modules_without_a_row("crosscheck")
    }
    assert [name for name, fit in fitting.items() if not fit] == []
    assert {each for fit in fitting.values() for each in fit} == set(patterns)
    assert [path for path in SHARED_FILES if any(fnmatchcase(path, f"crosscheck/{each}.py") for each in patterns)] == []


def test_every_file_and_every_test_of_the_table_exists():
    tests = {test for rows in (TWIN_FILES, SHARED_FILES) for row in rows.values() for test in row}
    assert [path for path in SHARED_FILES if not (ROOT / path).is_file()] == []
    for path, _, name in (test.partition("::") for test in tests):
        assert not name or f"\ndef {name}(" in (ROOT / path).read_text()


def test_every_survivor_that_is_explained_is_a_mutant_of_today():
    names = [mutant.name for mutant in mutants()]
    assert len(set(names)) == len(names)
    reasons = tomllib.loads(EXPLAINED.read_text())
    assert [pattern for pattern in reasons if not any(fits(name, pattern) for name in names)] == []
    assert all(reasons.values())


ENDS = {"exit 0": SURVIVED, "exit 1": KILLED, "kill -SEGV $$": KILLED, "kill -XCPU $$": ENDLESS, "kill -ALRM $$": LATE}


@pytest.mark.parametrize("end", ENDS)
def test_a_trial_that_takes_the_processors_time_is_endless_and_one_that_waits_is_late(end):
    assert _awaited(os.posix_spawn("/bin/sh", ["sh", "-c", end], {})) == ENDS[end]


def test_what_is_endless_has_its_own_number_and_what_is_late_is_not_taken_for_killed(capsys):
    assert report({"a": KILLED, "b": ENDLESS}) == 0
    assert report({"a": KILLED, "b": LATE}) == 1
    said = capsys.readouterr().out
    assert "2 mutants: 1 killed, 1 endless, 0 survived" in said
    assert "2 mutants: 1 killed, 1 late, 0 survived\n  b\n" in said


@pytest.mark.slow
def test_a_mutant_is_tried_once_and_reported(tmp_path):
    only = "shared/schedules.py step: k // every -> k * every"
    command = [sys.executable, "-m", "mutants", "--only", only, "--jobs", "1", "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    for tries in (1, 0):  # the second time its verdict is known
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("1/1 killed") == tries
        assert "1 mutants: 1 killed, 0 survived" in done.stdout
