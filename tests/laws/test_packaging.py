"""The packaging is honest: every pin satisfies its requirement, and an unsupported Python gets one sentence."""

import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import ROOT

CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, TOOLS = CONFIG["project"], CONFIG["tool"]
PINNED = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PINS = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in PINNED}
GROUPS = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
REQUIREMENTS = [Requirement(text) for group in GROUPS for text in group if not text.startswith("isograd")]

FAKE_PYTHON = """#!/bin/sh
exec {python} -c 'import sys; sys.version_info = {version}; exec(sys.argv[2])' "$@"
"""


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_the_pin_satisfies_the_requirement(requirement):
    assert PINS[canonicalize_name(requirement.name)] in requirement.specifier


def test_every_constraint_is_one_exact_version():
    assert [str(pin) for pin in PINNED if not re.fullmatch(r"==[^,*+]+", str(pin.specifier))] == []


def test_dev_holds_every_other_extra():
    extras = PROJECT["optional-dependencies"]
    included = next(Requirement(text) for text in extras["dev"] if text.startswith("isograd"))
    assert included.extras == set(extras) - {"dev"}


def test_sources_that_are_no_python_are_packaged():
    patterns = TOOLS["setuptools"]["package-data"]["*"]
    sources = [
        path for package in ("shared", "crosscheck") for path in (ROOT / package).rglob("*.c*") if path.is_file()
    ]
    assert {path.name for path in sources} >= {"adamw.cu", "gru_cluster.cu", "hopper.cuh", "cluster.cpp"}
    assert [path for path in sources if path.suffix != ".pyc" and f"*{path.suffix}" not in patterns] == []


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 14, 0)], ids=str)
def test_make_refuses_an_unsupported_python_in_one_sentence(version, tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "some-python"
    python.write_text(FAKE_PYTHON.format(python=sys.executable, version=version))
    python.chmod(0o755)
    result = subprocess.run(["make", "demo", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True)
    sentence, *rest = result.stderr.splitlines()
    assert sentence == (
        f'isograd needs Python 3.11 to 3.13 and "{python}" is {version[0]}.{version[1]}: '
        "name a different one, for example make PYTHON=python3.12 demo"
    )
    assert all(line.startswith("make") for line in rest)  # make's own message that the target failed
    assert result.returncode != 0
    assert not (tmp_path / ".venv").exists()
