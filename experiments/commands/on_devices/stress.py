"""`isograd stress`: what the kernel of a GRU layer must stand; exit code 1 if it doesn't."""

import importlib.util
import os
import sys
import time

from experiments.progress.display import print_json
from shared.backend import DEVICES, find_backend
from shared.configs.validation import check_choice
from shared.errors import IsogradError


def stress(
    checks: tuple[str, ...] = (), /, *, device: str = "cpu", number: int | None = None, json: bool = False
) -> int:
    """Try the kernel of a GRU layer: mistakes planted in it, random shapes, pauses, other programs on its card.

    Args:
        checks: compiling (planted faults compile for a GPU), faults (each must be caught), clusters (the
            same for the kernels of clusters), shapes (random ones, against
            float64), delays (bits of launches whose programs pause at random), sharing (models that train at once),
            waiting (a group that is never complete ends in a sentence); if omitted, all. On a CPU: compiling,
            in Triton's interpreter faults and waiting, and in an emulation clusters.
        device: cpu or cuda.
        number: Of shapes, launches or steps; if omitted, 1000 shapes, 10000 launches, 300 steps.
        json: Print JSON.
    """
    check_choice("device", device, DEVICES)
    if number is not None and number < 1:
        raise IsogradError(f"--number: expected at least 1, got {number}")
    if checks != ("clusters",) and importlib.util.find_spec("triton") is None:
        raise IsogradError("isograd stress needs Triton: pip install triton")
    if device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # before PyTorch is imported
    find_backend("torch", dtype="float32", device=device)
    from crosscheck.kernels.stress import CHECKS, NUMBERS, ON_A_CPU

    known = tuple(CHECKS) if device == "cuda" else ON_A_CPU
    for name in checks:
        check_choice("check", name, CHECKS)
        if name not in known:
            raise IsogradError(f"{name} needs a GPU: --device cuda")
    found = {}
    for name in checks or known:
        print(f"isograd: trying {name}", file=sys.stderr, flush=True)
        started = time.perf_counter()
        tried, wrong = CHECKS[name](device, number or NUMBERS.get(name, 0))
        found[name] = {"tried": tried, "wrong": wrong, "seconds": round(time.perf_counter() - started, 1)}
        if not json:
            print(f"{name}: {tried}, {len(wrong)} wrong, in {found[name]['seconds']} s", *wrong, sep="\n  ", flush=True)
    if json:
        print_json(found)
    return 1 if any(each["wrong"] for each in found.values()) else 0
