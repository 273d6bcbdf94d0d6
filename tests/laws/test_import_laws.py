"""The import laws hold: who imports what, what is imported lazily, and each backend works without the other one."""

import subprocess
import sys

import pytest
from import_laws import FLOORS, IN_KERNELS, IN_TESTS, LAWS, NOTHING, PACKAGES, arrows, breaches
from places import ROOT

FILES = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
TORCH = {"torch"}
JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}
COMPILER = {"torch._dynamo"}  # seconds to load, and only a GPU's steps are compiled
OPTIONAL = {"transformers", "datasets", "tensorboardX", "tyro", "beartype", "triton"}  # a machine may lack all of them
TRAIN = """
from experiments.cli import main
main(["train", "reviews-2-small", "--steps", "1", "--out", {out!r}, "--backend", {name!r}])
"""

BLOCK = """
import importlib, importlib.abc, pkgutil, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if {{name, name.partition(".")[0]}} & set({blocked}):
            raise ImportError(f"{{name}} is not installed here")

sys.meta_path.insert(0, Blocked())

def import_all(package):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        is_kernel = module.name.startswith("shared.kernels.")
        if not is_kernel and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""


def run_without(blocked: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a Python whose imports of `blocked` fail."""
    script = BLOCK.format(blocked=sorted(blocked)) + code
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=900)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_obey_the_law_of_their_package(path):
    source = (ROOT / path).read_text()
    extra = IN_TESTS if "tests" in path.parts else IN_KERNELS if path.parent.name == "kernels" else NOTHING
    assert breaches(source, path.parts[0], extra) == []


CASES = {  # a package, a source, and the sentence that must be reported (None: none)
    "torch in shared": ("shared", "import torch", "line 1: shared never imports torch"),
    "torch in a function of shared": ("shared", "def f():\n    import torch.nn", "line 2: shared never imports torch"),
    "transformers in shared": (
        "shared",
        "from transformers import BertModel",
        "line 1: shared never imports transformers",
    ),
    "datasets at module level": ("shared", "import datasets", "line 1: shared imports datasets inside functions only"),
    "datasets in a class body": (
        "shared",
        "class A:\n    import datasets",
        "line 2: shared imports datasets inside functions only",
    ),
    "datasets in a try": (
        "shared",
        "try:\n    import datasets\nexcept ImportError: pass",
        "line 2: shared imports datasets inside functions only",
    ),
    "datasets in a function": ("shared", "def f():\n    from datasets import load_dataset", None),
    "datasets for a type checker": ("shared", "if TYPE_CHECKING:\n    import datasets", None),
    "another package in shared": (
        "shared",
        "from torch_impl.layers import gru",
        "line 1: shared never imports torch_impl",
    ),
    "jax in torch_impl": ("torch_impl", "import jax.numpy as jnp", "line 1: torch_impl never imports jax"),
    "jax_impl in torch_impl": (
        "torch_impl",
        "def f():\n    import jax_impl",
        "line 2: torch_impl never imports jax_impl",
    ),
    "triton in torch_impl": ("torch_impl", "import triton", "line 1: torch_impl imports triton inside functions only"),
    "torch in jax_impl": ("jax_impl", "def f():\n    from torch import nn", "line 2: jax_impl never imports torch"),
    "crosscheck in jax_impl": ("jax_impl", "import crosscheck", "line 1: jax_impl never imports crosscheck"),
    "experiments in crosscheck": (
        "crosscheck",
        "def f():\n    import experiments",
        "line 2: crosscheck never imports experiments",
    ),
    "torch in experiments": ("experiments", "import torch", "line 1: experiments imports torch inside functions only"),
    "crosscheck in experiments": (
        "experiments",
        "import crosscheck",
        "line 1: experiments imports crosscheck inside functions only",
    ),
    "crosscheck in a command": ("experiments", "def check():\n    import crosscheck", None),
    "tyro in experiments": ("experiments", "import tyro", "line 1: experiments imports tyro inside functions only"),
    "a literal name given to import_module": (
        "shared",
        "importlib.import_module('torch')",
        "line 1: shared never imports torch",
    ),
    "a kernel at module level": (
        "torch_impl",
        "from shared.kernels.threefry import threefry_stream",
        "line 1: shared.kernels.threefry is imported inside functions only",
    ),
    "a kernel in a function": ("torch_impl", "def f():\n    from shared.kernels.threefry import BLOCK", None),
    "a relative import": ("shared", "from . import errors", None),
    "the standard library": ("shared", "import json, os.path", None),
    "an unknown package": ("shared", "import requests", "line 1: shared never imports requests"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_law_covers(case):
    package, source, sentence = CASES[case]
    assert breaches(source, package) == ([] if sentence is None else [sentence])


def test_every_package_has_a_law():
    assert set(LAWS) == set(PACKAGES) == {path.parent.name for path in ROOT.glob("*/__init__.py")}


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_import_only_downwards(package):
    floors = FLOORS[package].split()
    upwards = {
        f"{room} imports {other}": places
        for (room, other), places in arrows(ROOT, package).items()
        if floors.index(other) > floors.index(room)
    }
    assert upwards == {}


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_a_floor_and_every_floor_a_room(package):
    found = {
        path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert found == set(FLOORS[package].split())


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_holds_more_than_about_twenty_modules(package):
    folders = [folder for folder in (ROOT / package).rglob("**/") if folder.is_dir()]
    assert [str(folder) for folder in folders if len(list(folder.glob("*.py"))) > 22] == []


def test_an_upward_import_is_found(tmp_path):
    for name, source in {"low": "from package import high", "high": "import package.low.inner"}.items():
        (tmp_path / "package" / name).mkdir(parents=True)
        (tmp_path / "package" / name / "__init__.py").write_text(source)
    assert arrows(tmp_path, "package") == {
        ("low", "high"): ["package/low/__init__.py:1"],
        ("high", "low"): ["package/high/__init__.py:1"],
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "blocked"),
    [
        ("shared", TORCH | JAX | OPTIONAL),
        ("torch_impl", JAX | OPTIONAL | COMPILER),
        ("jax_impl", TORCH | OPTIONAL),
        ("experiments", TORCH | JAX | OPTIONAL | {"crosscheck"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "without the rest",
)
def test_every_module_imports_without(package, blocked):
    result = run_without(blocked, f"import_all({package!r})")
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("name", "blocked"), [("torch", JAX | COMPILER), ("jax", TORCH)])
def test_a_backend_trains_when_the_other_framework_is_missing(name, blocked, tmp_path):
    result = run_without(blocked, TRAIN.format(out=str(tmp_path / "run"), name=name))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("missing", ["torch", "jax"])
def test_the_blocker_blocks(missing):
    result = run_without({missing}, f"import {missing}")
    assert "is not installed here" in result.stderr
