"""`isograd explain`: which known default, flipped, closes a gap; exit code 1 if there is a gap or a size has moved."""

import math

from experiments.commands.options import check_effect, check_options
from experiments.progress.display import counting, print_json
from shared.errors import IsogradError


def explain_command(
    twin: str | None = None,
    /,
    *,
    divergence: str | None = None,
    fault: str | None = None,
    dtype: str = "float64",
    case: str = "odd_sizes",
    train: bool = False,
    device: str = "cpu",
    budget: float | None = None,
    json: bool = False,
) -> int:
    """Name the known divergence behind a disagreement of two twins, or re-measure a row of the catalogue.

    Args:
        twin: A name from `isograd list twins`.
        divergence: A row of the catalogue, such as D18, or `all` (`isograd list divergences`).
        fault: Plant this fault first (`isograd list faults`).
        dtype: float64, float32, bfloat16 or float16.
        case: The kind of input.
        train: With dropout on, and optimiser steps afterwards.
        device: cpu or cuda.
        budget: The seconds that the search for a cause may take; without it, every known one is tried.
        json: Print JSON.
    """
    check_options("explain", explain_command, dict(locals()))
    if (twin is None) == (divergence is None):
        raise IsogradError("expected either a twin or --divergence ID, such as `isograd explain --divergence D18`")
    if divergence is not None:
        return _measure(divergence, json)
    from crosscheck.explain import explain_twin

    if budget is not None and budget <= 0:
        raise IsogradError(f"--budget must be a positive number of seconds, got {budget:g}")
    seconds = math.inf if budget is None else budget
    with counting("trying", quiet=json) as progress:
        found = explain_twin(
            twin, fault=fault, dtype=dtype, case=case, train=train, device=device, budget=seconds,
            told=lambda number, what: progress(number, 0, what),
        )  # fmt: skip
    check_effect("explain", fault, found.report.agrees)
    if json:
        print_json(found.to_dict())
    else:
        print(found)
    return 0 if found.report.agrees else 1


def _measure(name: str, json: bool) -> int:
    from crosscheck.divergences.status import measure
    from crosscheck.divergences.table import DIVERGENCES, find_divergence

    rows = list(DIVERGENCES.values()) if name == "all" else [find_divergence(name)]
    results = []
    with counting("measuring", quiet=json or len(rows) == 1) as progress:
        for done, row in enumerate(rows, 1):
            results.append(measure(row))
            progress(done, len(rows), row.id)
    if json:
        print_json({"divergences": [result.to_dict() for result in results]})
    else:
        print("\n".join(str(result) if len(rows) == 1 else result.line for result in results))
    return 1 if any(result.status == "moved" for result in results) else 0
