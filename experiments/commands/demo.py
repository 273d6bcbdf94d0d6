"""`isograd demo`: some twins checked, a GRU and a Transformer trained with both backends, one report of all four."""

import shutil
import time
from pathlib import Path

from experiments.commands.side_by_side import run_command
from experiments.reports.report import write_report
from experiments.reports.runs import describe_pair, pairs, read_run
from experiments.training.folder import CONFIG, check_folder
from shared.backend import PACKAGES
from shared.errors import IsogradError

ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # the models are so small that more threads only wait for each other
EXPERIMENTS = ("reviews-4-small", "reviews-5-small")  # one GRU, one Transformer
# layers of every kind and one of the models that are trained: a tenth of all comparisons
TWINS = ("Linear", "LayerNorm", "GRUCell", "Attn", "GPTBlock", "ReviewClassifierTransformer", "masked_softmax")
DTYPES = ("float64", "float32")
REPORT = "report"


def demo(*, out: Path = Path("runs/demo")) -> int:
    """Crosscheck a sample of the twins, train a GRU and a Transformer with both backends, and draw all four runs.

    Args:
        out: Folder for the runs and the report; replaced each time.
    """
    started = time.monotonic()
    _make_room(out)
    _say(f"1. Crosscheck {', '.join(TWINS)} in {' and '.join(DTYPES)}")
    run_command(["check", *TWINS, "--dtype", *DTYPES, "--out", str(out / "check")])
    print(what_is_left_out())
    folders = [out / f"{experiment}-{backend}" for experiment in EXPERIMENTS for backend in PACKAGES]
    _say(f"2. Train {' and '.join(EXPERIMENTS)} with {' and '.join(PACKAGES)}")
    for folder in folders:
        experiment, _, backend = folder.name.rpartition("-")
        run_command(["train", experiment, "--backend", backend, "--out", str(folder)], ONE_THREAD)
    _say("3. Report")
    page = write_report(folders, out / REPORT)
    for pair in pairs([read_run(folder) for folder in folders]):
        print(describe_pair(*pair))
    print(f"done in {time.monotonic() - started:.0f} s")
    print(f"open {page}")
    return 0


def what_is_left_out() -> str:
    """What the sample leaves out, in words."""
    from crosscheck.twins.suite import planned
    from shared.registry import TWINS as ALL

    parts = (len(list(planned(list(names), list(DTYPES)))) for names in (TWINS, ["*"]))
    return "a sample: {} of {} comparisons; `isograd check` makes all, of {} twins".format(*parts, len(ALL))


def _make_room(out: Path) -> None:
    """Remove the output of an earlier demo; never anything else."""
    ours = {f"{experiment}-{backend}" for experiment in EXPERIMENTS for backend in PACKAGES}
    present = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    foreign = sorted(present - ours - {"check", REPORT})
    if foreign or (out.exists() and not out.is_dir()):
        raise IsogradError(
            f"{out} is not a demo folder ({', '.join(foreign) or 'it is a file'}): choose a different --out"
        )
    check_folder(out)
    for name in ours & present:
        if (out / name / CONFIG).is_file():
            shutil.rmtree(out / name)


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)
