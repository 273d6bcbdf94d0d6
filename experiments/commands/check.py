"""`isograd check`: crosscheck twins; exit code 1 if any pair disagrees."""

import fnmatch
import json as json_format
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.commands.options import check_options, command_line, part_lists
from experiments.progress.display import counting
from experiments.reports import family_report, fault_report
from experiments.reports.check_report import collect, print_table, write_check
from experiments.reports.fault_report import measured_here
from experiments.training.folder import check_files, check_folder, check_replaceable
from shared.backend import DEVICES
from shared.configs.validation import check_choice
from shared.errors import IsogradError

DTYPES = ("float64", "float32", "bfloat16", "float16")
PROVEN = ("float64", "float32")  # if no dtype is named
SEEDS = 100  # default number of unchanged pairs


def check(
    patterns: tuple[str, ...] = (),
    /,
    *,
    dtype: tuple[str, ...] | None = None,
    device: str = "cpu",
    faults: bool = False,
    seeds: int | None = None,
    families: bool = False,
    jobs: int | None = None,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Prove that twins agree in each dtype: outputs, intermediates, gradients, optimiser steps.

    Args:
        patterns: Names of twins, * and ? allowed; if omitted, all.
        dtype: float64, float32, bfloat16, float16; names of twins may follow, as in `--dtype float32 GRU`. If omitted,
            float64 and float32; with --faults, each fault in the dtype that it is meant for.
        device: cpu or cuda.
        faults: Plant every known fault instead (or those matching the patterns) and score the checks themselves.
        seeds: With --faults and no patterns: unchanged pairs that must raise no alarm; if omitted, 100.
        families: With --faults: instead of the score, name each fault that the catalogue knows without the mistakes
            written for its row.
        jobs: How many processes work at a time; if omitted, one per core.
        out: Folder for report.html, report.json and, below float64, bounds.md; with --faults: faults.html, faults.md
            and faults.json; with --families: families.md and families.json. With --faults, outcomes are kept there as
            soon as they are known, in faults.jsonl or families.jsonl: stopped by Ctrl-C, the same command goes on.
            Delete it to begin anew.
        json: Print JSON: every tensor with its error and bound.
    """
    names: tuple[str, ...] = ()
    if dtype is not None:
        dtype, names = part_lists("--dtype", dtype, DTYPES.__contains__, _is_fault if faults else _is_twin)
    patterns += names
    given = dict(locals())
    del given["names"]
    check_options("check", check, given)
    given["jobs"] = None  # changes no result
    command = command_line("check", check, given)
    check_choice("device", device, DEVICES)
    if jobs is not None and jobs < 1:
        raise IsogradError(f"--jobs: expected at least 1, got {jobs}")
    if out is not None:
        check_folder(out)
    if families:
        return _name_families(patterns, jobs, out, json, command)
    if faults:
        return _score(patterns, dtype or (), seeds, jobs, out, json, command)
    if out is not None:
        check_replaceable(out)
    with counting("checking", quiet=json) as progress:
        from crosscheck.twins import suite  # takes seconds, which the bar shows

        reports = suite.check(list(patterns), list(dtype or PROVEN), device, progress=progress, workers=jobs)
    page = write_check(reports, out, command) if out is not None else None
    if json:
        print(json_format.dumps(collect(reports), indent=1, allow_nan=False))
    else:
        print_table(reports)
        if page is not None:
            print(f"open {page}")
    return 0 if all(report.agrees for report in reports) else 1


def _is_twin(pattern: str) -> bool:
    from shared.registry import TWINS

    return any(fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"{pattern}:*") for name in TWINS)


def _is_fault(pattern: str) -> bool:
    return "/" in pattern or "*" in pattern


def _score(
    patterns: tuple[str, ...],
    dtype: tuple[str, ...],
    seeds: int | None,
    jobs: int | None,
    out: Path | None,
    json: bool,
    command: str,
) -> int:
    if seeds is not None and seeds < 0:
        raise IsogradError(f"--seeds: expected at least 0, got {seeds}")
    if seeds and patterns:
        raise IsogradError("--seeds checks unchanged pairs only with all faults: remove --seeds or the names")
    number = SEEDS if seeds is None else seeds
    kept = _kept(out, fault_report, jobs)
    with counting("planting", quiet=json) as progress:
        from crosscheck.scoring.score import score  # takes seconds, which the bar shows

        scores = measured_here(score(patterns, number, progress=progress, dtypes=dtype, **kept))
    page = fault_report.write_scores(scores, out, command) if out is not None else None
    if json:
        print(json_format.dumps(scores, indent=1, allow_nan=False))
    else:
        fault_report.print_scores(scores)
        if page is not None:
            print(f"open {page}")
    _check_finished(scores)
    return 0 if fault_report.passed(scores) else 1


def _name_families(patterns: tuple[str, ...], jobs: int | None, out: Path | None, json: bool, command: str) -> int:
    kept = _kept(out, family_report, jobs)
    with counting("naming", quiet=json) as progress:
        from crosscheck.scoring.families import without_families  # takes seconds, which the bar shows

        found = measured_here(without_families(patterns, progress=progress, **kept))
    if out is not None:
        family_report.write(found, out, command)
    print(json_format.dumps(found, indent=1, allow_nan=False) if json else family_report.summary(found))
    _check_finished(found)
    return 0 if not found["wrong"] else 1


def _kept(out: Path | None, report: ModuleType, jobs: int | None) -> dict[str, Any]:
    """Where outcomes are kept, if the report's files may be written there, and by how many processes they are made."""
    if out is not None:
        check_files(out, report.FILES)
    return {"journal": None if out is None else out / report.JOURNAL, "workers": jobs}


def _check_finished(scores: dict[str, Any]) -> None:
    """End as Ctrl-C ends a command if it ended the judging."""
    if words := fault_report.unfinished(scores):
        raise KeyboardInterrupt(f"stopped: {words}")
