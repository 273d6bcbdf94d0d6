"""`isograd check`: crosscheck twins; exit code 1 where any two disagree."""

import json as json_format
import sys
from pathlib import Path

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

    reports = suite.check(list(patterns), list(dtype), device, progress=_note)
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
    width = max((len(name) for name, _ in groups), default=0)
    lines = []
    for (name, dtype), group in groups.items():
        wrong = sum(not report.agrees for report in group)
        verdict = f"{wrong} of {len(group)} cases DISAGREE" if wrong else f"{len(group)} cases agree"
        lines.append(f"{name.ljust(width)}  {dtype.ljust(8)}  {verdict}")
    lines += [f"\n{report}" for report in reports if not report.agrees]
    disagreeing = sum(not report.agrees for report in reports)
    lines.append(f"\n{len(reports)} checks, {disagreeing or 'no'} disagreement{'s' if disagreeing != 1 else ''}")
    return "\n".join(lines)


def _note(text: object) -> None:
    print(text, file=sys.stderr, flush=True)
