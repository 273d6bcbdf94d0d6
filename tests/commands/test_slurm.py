"""The scripts for Slurm run isograd's own commands, resume what is there, and fail where a command fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "experiments" / "slurm"
NAMES = sorted(path.name for path in SCRIPTS.glob("*.sh"))
STUBS = {  # what the cluster and isograd would do: start the command, and write it down
    "srun": 'while [[ "$1" == --* ]]; do shift; done; "$@"',
    "isograd": 'printf "%s\\n" "$*" >> log; [[ "$*" != *fails* ]]',
}


def run(folder: Path, name: str, *arguments: str) -> tuple[int, list[str]]:
    """The exit code, and the commands in alphabetical order: two of them run at once."""
    for stub, body in STUBS.items():
        (folder / stub).write_text(f"#!/bin/bash\n{body}\n")
        (folder / stub).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    environment.pop("OUT", None)
    found = subprocess.run(["bash", SCRIPTS / name, *arguments], cwd=folder, env=environment, capture_output=True)
    log = folder / "log"
    return found.returncode, sorted(log.read_text().splitlines()) if log.exists() else []


def test_one_gpu_trains_and_reports(tmp_path):
    assert run(tmp_path, "one-gpu.sh", "lm-hopkins", "--backend", "jax", "--data", "a folder") == (0, [
        "report runs/lm-hopkins --out runs/lm-hopkins-report",
        "train lm-hopkins --device cuda --out runs/lm-hopkins --backend jax --data a folder",
    ])  # fmt: skip


def test_two_gpus_train_a_backend_each_and_report_on_both(tmp_path):
    assert run(tmp_path, "two-gpus.sh", "lm-hopkins", "--data", "texts") == (0, [
        "report runs/lm-hopkins/torch runs/lm-hopkins/jax --out runs/lm-hopkins/report",
        "train lm-hopkins --backend jax --device cuda --out runs/lm-hopkins/jax --data texts",
        "train lm-hopkins --backend torch --device cuda --out runs/lm-hopkins/torch --data texts",
    ])  # fmt: skip


@pytest.mark.parametrize(("name", "run_folder"), [("one-gpu.sh", "runs/some"), ("two-gpus.sh", "runs/some/torch")])
def test_a_run_that_is_there_is_resumed(tmp_path, name, run_folder):
    (tmp_path / run_folder).mkdir(parents=True)
    (tmp_path / run_folder / "config.json").touch()
    code, commands = run(tmp_path, name, "some")
    assert code == 0
    assert f"train --resume {run_folder}" in commands


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_fails_ends_the_job_before_the_report(tmp_path, name):
    code, commands = run(tmp_path, name, "fails")
    assert code != 0
    assert not [command for command in commands if command.startswith("report")]


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_is_asked_for(tmp_path, name):
    assert run(tmp_path, name) == (1, [])


@pytest.mark.parametrize("name", NAMES)
def test_shellcheck_finds_nothing(name):
    subprocess.run([Path(sys.executable).with_name("shellcheck"), SCRIPTS / name], check=True)
