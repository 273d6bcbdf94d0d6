"""`isograd check`: crosscheck twins; exit code 1 where any two disagree."""

import json as json_format
from pathlib import Path
from typing import Any

from experiments.progress import counting
from shared.backend import DEVICES, DTYPES
from shared.configs.validation import check_choice


def check(
    patterns: tuple[str, ...] = (),
    /,
    *,
    dtype: tuple[str, ...] = ("float64", "float32"),
    device: str = "cpu",
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Prove that twins agree: outputs and gradients, in each dtype.

    Args:
        patterns: Names of twins, * and ? allowed (all of them).
        dtype: float64, float32, bfloat16.
        device: cpu or cuda.
        out: A folder for the full reports as JSON.
        json: Print the reports as JSON.
    """
    for name in dtype:
        check_choice("dtype", name, DTYPES)
    check_choice("device", device, DEVICES)
    from crosscheck import suite

    with counting("checking", quiet=json) as progress:
        reports = suite.check(list(patterns), list(dtype), device, progress=progress)
    whole = [json_format.loads(report.to_json()) for report in reports]
    if out is not None:
        from shared.checkpoint import write_json

        write_json(out / "check.json", {"reports": whole})
    print(json_format.dumps(whole, indent=2) if json else _summary(reports))
    return 0 if all(report.agrees for report in reports) else 1


def _summary(reports: list) -> str:
    """One line a twin and dtype, then every disagreement in full."""
    groups: dict[tuple[str, str], list] = {}
    for report in reports:
        groups.setdefault((report.name, report.dtype), []).append(report)
    lines = [_line(name, dtype, group) for (name, dtype), group in groups.items()]
    lines += [f"\n{report}" for report in reports if not report.agrees]
    disagreeing = sum(not report.agrees for report in reports)
    lines.append(f"\n{len(reports)} comparisons, {disagreeing or 'no'} disagreement{'' if disagreeing == 1 else 's'}")
    return "\n".join(lines)


def _line(name: str, dtype: str, reports: list) -> str:
    worst = max((report.worst for report in reports if report.worst), key=_share, default=None)
    error = f"worst {worst.error:.1e} of {worst.bound:.1e}" if worst else "nothing to compare"
    wrong = sum(not report.agrees for report in reports)
    verdict = f"{wrong} of {len(reports)} DISAGREE" if wrong else f"{len(reports)} agree"
    return f"{name:<37} {dtype:<8}  {error:<26}  {verdict}"


def _share(row: Any) -> float:
    """How much of its bound an error takes; NaN counts as the most."""
    share = row.error / row.bound if row.bound else row.error
    return share if share == share else float("inf")
