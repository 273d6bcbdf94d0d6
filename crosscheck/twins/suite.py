"""Checks the registry's twins: every case and dtype, in eval and train mode, several at a time."""

import fnmatch
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import jax
import torch

from crosscheck.compare import compare
from crosscheck.report import Report
from crosscheck.runs.compare_runs import SEED, compare_runs, trainable
from crosscheck.twins.pair import build_pair
from crosscheck.twins.workers import run_all
from shared.configs.validation import check_choice
from shared.errors import IsogradError
from shared.example_inputs import cases
from shared.registry import TWINS, find_twin

DTYPES = ("float64", "float32", "bfloat16", "float16")
TRAINED = ("float64", "float32")  # dtypes whose weights an optimiser updates directly; below them masters are float32
UPDATES = 3  # compare the state after this many optimiser steps, and after the first
NUMERIC_CASES = ("odd_sizes", "masked_row", "mean_5000")
OPTIMIZED_CASES = ("mean_5000",)  # where summation order matters, which XLA's optimisations change
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Check:
    """One comparison to make."""

    twin: str
    case: str
    dtype: str
    mode: str
    device: str
    seed: int = 0
    keep_values: bool = False

    def __str__(self) -> str:
        return f"{self.twin} {self.case} {self.dtype} {self.mode}"

    def run(self) -> Report:
        start = time.perf_counter()
        report = MODES[self.mode](self)
        kept = report.recordings if self.keep_values else None
        return replace(report, case=self.case, seconds=time.perf_counter() - start, recordings=kept)


def _compare(check: Check) -> Report:
    pair = build_pair(check.twin, dtype=check.dtype, case=check.case, device=check.device, seed=check.seed)
    train = check.mode == "train"
    updates = UPDATES if train and check.dtype in TRAINED else 0
    return compare(
        pair.torch,
        pair.jax,
        pair.inputs,
        train=train,
        updates=updates,
        optimize=check.case in OPTIMIZED_CASES,
        name=check.twin,
        device=check.device,
    )


def _compare_runs(check: Check) -> Report:
    return compare_runs(check.twin, dtype=check.dtype, device=check.device, seed=SEED + check.seed)


# eval; train: dropout on, then optimiser steps on one input; run: both backends train the model on batches
MODES: dict[str, Callable[[Check], Report]] = {"eval": _compare, "train": _compare, "run": _compare_runs}


def check(
    patterns: list[str] | None = None,
    dtypes: list[str] | None = None,
    device: str = "cpu",
    progress: Progress = lambda done, total, what: None,
    workers: int | None = None,
) -> list[Report]:
    """Compare every twin whose name matches a pattern (`GRU*`; a bare name includes its variants) in every dtype.

    `progress(done, total, what)` is called after each comparison; `workers` is the number of processes.
    Raises IsogradError for an unknown twin, dtype or device.
    """
    if device == "cuda":  # JAX would allocate three quarters of the memory in the first worker
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    check_device(device)
    checks, reports = list(planned(patterns or ["*"], dtypes or list(DTYPES[:2]), device)), []
    for report in run_all(Check.run, checks, workers):
        reports.append(report)
        progress(len(reports), len(checks), str(checks[len(reports) - 1]))
    return reports


def planned(patterns: list[str], dtypes: list[str], device: str = "cpu") -> Iterator[Check]:
    """All comparisons for a selection.

    Train mode differs from eval only by dropout, so one case covers it. A case that changes only sizes is proven in
    float64; cases that change the numbers are also held to the noise rule in every other dtype.
    """
    for dtype in dtypes:
        check_choice("dtype", dtype, DTYPES)
    for name in _matching(patterns):
        for dtype in dtypes:
            for case in cases(TWINS[name]):
                if dtype == "float64" or case in NUMERIC_CASES:
                    yield Check(name, case, dtype, "eval", device)
            if not TWINS[name].function:
                yield Check(name, "odd_sizes", dtype, "train", device)
            if trainable(name) and dtype == "float64":
                yield Check(name, "odd_sizes", dtype, "run", device)


def check_arguments(twin: str, case: str, dtype: str, device: str) -> None:
    """Raise IsogradError unless all of them exist."""
    check_choice(f"case of {twin}", case, cases(find_twin(twin)))
    check_choice("dtype", dtype, DTYPES)
    check_device(device)


def check_device(device: str) -> None:
    """Raise IsogradError unless both frameworks have the device."""
    check_choice("device", device, ("cpu", "cuda"))
    if device == "cpu":
        return
    missing = [name for name, has in (("torch", torch.cuda.is_available()), ("jax", _jax_has_gpu())) if not has]
    if missing:
        raise IsogradError(
            f"--device cuda needs a GPU in both frameworks, but {' and '.join(missing)} found none: "
            "install their CUDA builds (see the README), or use --device cpu"
        )


def _jax_has_gpu() -> bool:
    try:
        return bool(jax.devices("cuda"))
    except RuntimeError:
        return False


def _matching(patterns: list[str]) -> list[str]:
    def matches(name: str, pattern: str) -> bool:
        return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.split(":")[0], pattern)

    for pattern in patterns:
        if not any(matches(name, pattern) for name in TWINS):
            check_choice("twin", pattern, TWINS)
    return [name for name in TWINS if any(matches(name, pattern) for pattern in patterns)]
