"""The kernel of a GRU layer stands what `isograd stress` does to it, in Triton's interpreter and on a GPU."""

import importlib.util
import re
import subprocess
import sys

import pytest
import torch
from places import ROOT, child_environment

from crosscheck.kernels import layers, stress
from crosscheck.kernels.faults import DELAYS, KERNEL_FAULTS, NEVER_COMPLETE
from crosscheck.kernels.layers import Sizes
from crosscheck.kernels.planting import FILE

SMALLER = {"shapes": 64, "delays": 1000, "sharing": 50}


def stressed(*arguments):
    """In a process of its own: the interpreter is chosen before PyTorch is imported."""
    command = [sys.executable, "-m", "experiments", "stress", *arguments]
    return subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=900)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton: pip install triton")
def test_every_planted_fault_is_caught_and_no_group_waits_for_ever():
    run = stressed("compiling", "faults", "waiting")
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{sum(not fault.only_on_gpu for fault in KERNEL_FAULTS)} planted faults, 0 wrong" in run.stdout


@pytest.mark.gpu
@pytest.mark.parametrize("name", stress.CHECKS)
def test_the_kernel_stands(name):
    number = ["--number", str(SMALLER[name])] if name in SMALLER else []
    run = stressed(name, "--device", "cuda", *number)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_change_of_a_kernel_changes_a_text_that_occurs_once():
    source = FILE.read_text()
    changes = {fault.name: fault.changes for fault in KERNEL_FAULTS}
    assert list(changes) == [fault.name for fault in KERNEL_FAULTS]  # no name twice
    olds = [old for each in (*changes.values(), DELAYS, NEVER_COMPLETE) for old, _ in each]
    assert [old for old in olds if source.count(old) != 1] == []


@pytest.mark.parametrize(("sizes", "draws"), [
    (Sizes(64, 60, 1, 1, "float32"), layers.DRAWS),  # gradients of three weights
    (Sizes(2, 3, 1, 32, "float32"), layers.DRAWS),
    (Sizes(8, 14, 1, 32, "float32"), 1),
])  # fmt: skip
def test_layers_and_results_of_few_numbers_get_more_draws_of_their_noise(sizes, draws, monkeypatch):
    seeds, moves = [], layers._moves
    monkeypatch.setattr(layers, "_moves", lambda *given: seeds.append(given[-1]) or moves(*given))
    layer = layers.random_layer(sizes, 0, "cpu")
    layers.noise_of(layer, layers.by_library(layer, torch.float64), 0)
    assert len(set(seeds)) == len(seeds) == draws


def test_a_result_is_undecided_where_zeros_would_pass():
    ones, noise = torch.ones(4, dtype=torch.float64), torch.tensor(1.0)  # of norm 2, and bounds of 3 times the noise
    exact = {"told": 4 * ones, "lost": ones, "nothing": 0 * ones}
    assert layers.undecided(exact, dict.fromkeys(exact, noise)) == ["lost"]
    found = {"told": 4 * ones, "lost": 3 * ones, "nothing": 0 * ones}
    wrong = list(layers.problems(found, exact, dict.fromkeys(exact, noise)))
    assert [text.partition(":")[0] for text in wrong] == ["lost", "lost"]


@pytest.mark.parametrize(("telling", "tried"), [(0, 1), (2, 3), (99, stress.ATTEMPTS)])
def test_a_layer_whose_noise_decides_nothing_is_drawn_anew(telling, tried, monkeypatch):
    seeds = []

    class Drawn:
        def __init__(self, case, seed, device):
            seeds.append(seed)
            self.exact = {"outputs": torch.ones(1)}
            self.noise = {"outputs": torch.full((), 0.0 if len(seeds) > telling else 1.0)}

    monkeypatch.setattr(stress, "Trial", Drawn)
    stress._deciding(Sizes(1, 1, 1, 1, "float32"), 5, "cpu")
    assert len(set(seeds)) == len(seeds) == tried
    assert {seed % stress.SHAPES_OF_A_SIZE for seed in seeds} == {5}  # no layer of another shape's


def test_random_shapes_reach_from_one_to_the_largest():
    shapes = [sizes for part in stress.random_sizes(1000) for sizes in part]
    for name, largest in stress.LARGEST.items():
        found = [getattr(sizes, name) for sizes in shapes]
        assert min(found) == 1
        assert {4 * each // (largest + 1) for each in found} == set(range(4))


def test_the_planted_faults_are_those_of_the_docs():
    page = (ROOT / "docs" / "gpu.md").read_text()
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \| (.*) \|$",
        page.partition("| mistake |")[2].partition("mistake in a cluster")[0],
        re.MULTILINE,
    )
    only = {True: ", on a GPU only", False: ""}
    assert rows == [(fault.name, fault.what + only[fault.only_on_gpu]) for fault in KERNEL_FAULTS]
    assert f"plants {len(KERNEL_FAULTS)} mistakes" in (ROOT / "CHANGELOG.md").read_text()
