"""Lockstep certificates as one table: the largest difference of each quantity over each run."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments.plain_text import markdown, printable
from experiments.training.certificate import CERTIFICATE
from shared.atomic import new_file
from shared.errors import IsogradError
from shared.json_text import parse_object

QUANTITIES = {  # name in a certificate -> name in the table
    "loss": "loss (absolute)",
    "gradients": "gradients",
    "gradient_sum": "sum of gradients",
    "momentum_buffer": "momentum",
    "exp_avg": "first moment",
    "exp_avg_sq": "second moment",
    "square_avg": "mean of squares",
    "sum": "sum of squares",
    "weights": "weights",
    "average": "averaged weights",
}
STEP = "one step, of its bound"


def find_certificates(folders: Sequence[Path]) -> list[Path]:
    """Every certificate in or below the folders, sorted by path."""
    return sorted({path for folder in folders for path in folder.rglob(CERTIFICATE)})


def write_certificates(paths: Sequence[Path], out: Path, command: str) -> None:
    """Write the table as Markdown, with the commands that produced its rows."""
    certificates = [_read(path) for path in paths]
    found = [name for name in QUANTITIES if any(name in certificate["largest"] for certificate in certificates)]
    header = ["experiment", "model", "dtype", "device", "steps", *(QUANTITIES[name] for name in found), STEP, ""]
    rows = [header, ["---"] * len(header), *(_row(certificate, found) for certificate in certificates)]
    versions = sorted({_versions(certificate) for certificate in certificates})
    lines = [
        "# Lockstep certificates",
        "",
        "Both backends train on the same batches from the same weights, with dropout on, and make each step from one",
        "state as well, which is judged: its largest error, as a part of its bound, is in the last column but one.",
        "The other figures are the drift of the two runs, the largest over all steps: for losses the absolute",
        "difference, for the rest the L2 norm of the difference over all tensors, divided by that of the values.",
        "",
        *("| " + " | ".join(map(markdown, row)) + " |" for row in rows),
        "",
        f"Measured with {markdown('; '.join(versions))}.",
        "",
        "```bash",
        *(
            f"{certificate['command']} {shlex.join(['--out', str(path.parent)])}"
            for certificate, path in zip(certificates, paths, strict=True)
        ),
        command,
        "```",
    ]
    with new_file(out) as temporary:
        temporary.write_text(printable("\n".join(lines)) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        certificate = parse_object(path.read_text("utf-8"))
        row = [*_row(certificate, QUANTITIES), _versions(certificate), certificate["command"]]
        "".join(row).encode()  # all of them are texts that a file can hold
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise IsogradError(f"{path}: expected a certificate written by `isograd train --certify` ({error})") from error
    return certificate


def _row(certificate: dict[str, Any], quantities: Iterable[str]) -> list[str]:
    experiment, largest, parting = certificate["experiment"], certificate["largest"], certificate["parting"]
    figures = [_figure(largest[name]["difference"]) if name in largest else "" for name in quantities]
    verdict = "agrees" if parting is None else f"diverges at step {parting['step']}"
    ran_on = certificate["versions"]["device"]
    place = [experiment["name"], experiment["title"], certificate["dtype"], ran_on, f"{certificate['steps']:,}"]
    return [*place, *figures, _part_of_bound(certificate.get("one_step", {})), verdict]


def _part_of_bound(one_step: dict[str, Any]) -> str:
    """Blank for a certificate of an earlier version, which judged the drift."""
    parts = [near["part"] for near in one_step.values()]
    if None in parts:
        return "not finite"
    return f"{max(parts):.2g}" if parts else ""


def _figure(difference: float | None) -> str:
    return "not finite" if difference is None else f"{difference:.1e}"


def _versions(certificate: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {text}" for name, text in certificate["versions"].items() if name not in ("device", "dtype")
    )
