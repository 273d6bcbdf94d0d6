"""Train one experiment with both backends, each in its own process, then report on the two."""

import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from experiments.catalogue import find_experiment
from experiments.exit_codes import ChildFailed
from experiments.reports.runs import describe_pair, read_run
from experiments.training.folder import check_folder, check_unused
from experiments.training.interrupt import handled_by
from experiments.training.settings import typed
from shared.backend import PACKAGES
from shared.errors import IsogradError


def train_both(experiment: str, folder: Path, given: dict, *, quiet: bool, json: bool) -> None:
    """Train each backend in its own process, so that memory and time are its own, then write one report."""
    from experiments.reports.report import write_report

    find_experiment(experiment)
    check_unused(folder)
    check_folder(folder)
    check_both_installed()
    options = [*typed(given), *(["--quiet"] if quiet else []), *(["--json"] if json else [])]
    for name in PACKAGES:
        run_command(["train", experiment, "--backend", name, "--out", str(folder / name), *options])
    report = write_report([folder / name for name in PACKAGES], folder / "report")
    out = sys.stderr if json else sys.stdout
    print(describe_pair(*(read_run(folder / name) for name in PACKAGES)), file=out)
    print(f"open {report}", file=out)


def check_both_installed() -> None:
    """Raise IsogradError naming the frameworks that are missing."""
    missing = [name for names in PACKAGES.values() for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise IsogradError(f"--backend both needs torch and jax, but {', '.join(missing)} is not installed")


def run_command(arguments: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Run an isograd command in its own process and forward signals to it, so that it saves before it exits."""
    child = subprocess.Popen(
        [sys.executable, "-m", "experiments", *arguments], env={**(environment or {}), **os.environ}
    )
    heard: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        child.send_signal(number)

    with handled_by(pass_on):
        code = child.wait()
    if code < 0:
        raise ChildFailed(128 - code, f"`isograd {shlex.join(arguments)}` was killed by signal {-code}")
    if code or heard:
        raise ChildFailed(code or 128 + heard[0])
