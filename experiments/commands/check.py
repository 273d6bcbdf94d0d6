"""`isograd check`: crosscheck twins; exit code 1 where any two disagree."""

import json as json_format
from pathlib import Path

from experiments.check_report import collect, print_table, write_check
from experiments.fault_report import passed, print_scores, write_scores
from experiments.output import check_folder
from experiments.progress import counting
from shared.backend import DEVICES
from shared.configs.validation import check_choice


def check(
    patterns: tuple[str, ...] = (),
    /,
    *,
    dtype: tuple[str, ...] = ("float64", "float32"),
    device: str = "cpu",
    faults: bool = False,
    seeds: int = 100,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Prove that twins agree: everything inside, outputs, gradients, optimiser steps, in each dtype.

    Args:
        patterns: Names of twins, * and ? allowed (all of them).
        dtype: float64, float32, bfloat16, float16.
        device: cpu or cuda.
        faults: Plant every known fault instead (or those that the patterns name) and score the checks themselves.
        seeds: Unchanged pairs that must raise no alarm, with --faults.
        out: A folder for report.html and report.json.
        json: Print JSON: every tensor with its error and bound.
    """
    check_choice("device", device, DEVICES)
    if out is not None:
        check_folder(out)
    if faults:
        return _score(patterns, seeds, out, json)
    from crosscheck import suite

    with counting("checking", quiet=json) as progress:
        reports = suite.check(list(patterns), list(dtype), device, progress=progress)
    page = write_check(reports, out) if out is not None else None
    if json:
        print(json_format.dumps(collect(reports), indent=1, allow_nan=False))
    else:
        print_table(reports)
        if page is not None:
            print(f"open {page}")
    return 0 if all(report.agrees for report in reports) else 1


def _score(patterns: tuple[str, ...], seeds: int, out: Path | None, json: bool) -> int:
    from crosscheck.faults.score import score

    with counting("planting", quiet=json) as progress:
        scores = score(patterns, seeds, progress=progress)
    if out is not None:
        named = "".join(f"'{pattern}' " for pattern in patterns)
        write_scores(scores, out, f"isograd check {named}--faults --seeds {seeds} --out {out}")
    if json:
        print(json_format.dumps(scores, indent=1, allow_nan=False))
    else:
        print_scores(scores)
    return 0 if passed(scores) else 1
