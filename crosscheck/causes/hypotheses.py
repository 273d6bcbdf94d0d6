"""Hypotheses about a check's disagreement: known mistakes as changes to the source of the files at fault."""

import ast
import inspect
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from crosscheck.causes.mistakes.mistake import Mistake, edits_of
from crosscheck.causes.mistakes.rounding import CANCELLING, narrowings
from crosscheck.causes.mistakes.table import MISTAKES
from crosscheck.faults.fault import Change, Fault
from crosscheck.faults.planting import ROOT, current_source
from crosscheck.faults.table import FAULTS
from crosscheck.report import Report
from crosscheck.twins.pair import build_pair
from crosscheck.twins.suite import Check
from shared.registry import find_twin

SIDES = ("torch", "jax")  # torch first: it runs a change at once, while JAX has to compile it
UPDATING = ("optimizer.py", "update.py", "backend.py")
TRAINING = ("objective.py", "losses.py")
DRAWING = ("dropout.py", "random_bits.py")
MODULES = ("attention",)  # files whose functions are called through the module name
FLOAT32_GAP = 64 * 2.0**-24  # derived: float32 roundoff, times the roundings in a short computation


@dataclass(frozen=True)
class Hypothesis:
    """A catalogue row, and a change to one side's source that makes the mistake it warns of."""

    row: str
    what: str
    side: str
    place: str
    changes: tuple[Change, ...]
    is_narrowing: bool = False


def hypotheses_of(
    check: Check, report: Report, without: str = "", kept_back: Collection[str] = ()
) -> Iterator[Hypothesis]:
    """Hypotheses from the fault table and the mistake families, in the files that the module at fault runs.

    `without` names a fault: its row, the same mistake in the other twin, and rows making the same edit are left out;
    `kept_back` names rows of the catalogue, of which every mistake is left out.
    """
    if report.first_divergence is not None:
        yield from (h for h in _supposed(check, report, without) if h.row not in kept_back)


def _supposed(check: Check, report: Report, without: str) -> Iterator[Hypothesis]:
    files, kinds = files_of(check, report), _kinds(check, report)
    rows = [fault for fault in _in_this_phase(check, report) if not is_kept_back(fault, without)]
    for side in SIDES:
        yield from (h for file in files for h in _of_the_table(rows, f"{side}_impl/{file}"))
        yield from (h for file in files for h in _of_a_file(_in_phase(MISTAKES, report), side, file, kinds))
    for side, losses in _losses_of_digits(check, report):
        yield from (h for file in files for h in _of_a_file(_in_phase(losses, report), side, file, kinds))
    yield from (h for file in ("weight_rules.py",) for h in _of_the_table(rows, f"shared/{file}"))


def is_kept_back(fault: Fault, without: str) -> bool:
    """True if a row is the named fault, its counterpart in the other twin, or makes the same edit."""
    if without not in FAULTS:
        return False
    edits = {(change.old, change.new) for change in FAULTS[without].changes}
    is_same = fault.name.rpartition("/")[0] == without.rpartition("/")[0]
    return is_same or any((change.old, change.new) in edits for change in fault.changes)


def _in_this_phase(check: Check, report: Report) -> list[Fault]:
    phase = report.first_divergence.phase if report.first_divergence else ""
    rows = [fault for fault in FAULTS.values() if fault.divergence and fault.phase == phase]
    rows = [fault for fault in rows if fault.kind != "precision" or fault.dtype == check.dtype]
    return [fault for fault in rows if (fault.mode == "run") == (check.mode == "run")]


def _of_the_table(rows: list[Fault], path: str) -> Iterator[Hypothesis]:
    for fault in rows:
        if fault.changes[0].path == path:
            yield Hypothesis(str(fault.divergence), fault.what, fault.side, "?", fault.changes)


def _in_phase(mistakes: tuple[Mistake, ...], report: Report) -> tuple[Mistake, ...]:
    phase = report.first_divergence.phase if report.first_divergence else ""
    return tuple(mistake for mistake in mistakes if phase in mistake.phases)


def _losses_of_digits(check: Check, report: Report) -> Iterator[tuple[str, tuple[Mistake, ...]]]:
    """By side, tried last and only for a gap as small as theirs: cancelling digits before rounded values."""
    first = report.first_row
    if check.dtype == "float64" and (first is None or first.error >= FLOAT32_GAP):
        return
    is_slow = check.mode == "run" or (first is not None and first.phase == "update")
    yield from ((side, CANCELLING) for side in SIDES)
    yield from ((side, narrowings(check.dtype, is_slow or side == "jax")) for side in SIDES)


def _of_a_file(mistakes: tuple[Mistake, ...], side: str, file: str, kinds: list[type]) -> Iterator[Hypothesis]:
    """Mistakes in functions of the file, and in methods of the classes around the module at fault."""
    classes = [kind.__name__ for kind in kinds if _file(kind) == file]
    path = f"{side}_impl/{file}"
    source = current_source(path)
    for mistake in mistakes:
        for edit in edits_of(mistake, file, source):
            if classes and "." in edit.place and edit.place.partition(".")[0] not in classes:
                continue
            words = f"{mistake.what} in {edit.place or file}"
            changes = (Change(path, source, edit.source),)
            yield Hypothesis(mistake.row, words, side, edit.place, changes, mistake.is_narrowing)


def files_of(check: Check, report: Report) -> list[str]:
    """Package files that may hold the mistake: those of the module at fault, of what it calls, and of its callers."""
    phase = report.first_divergence.phase if report.first_divergence else ""
    own = f"{find_twin(check.twin).module.replace('.', '/')}.py"
    if phase == "update":
        return list(UPDATING[::-1] if check.mode == "run" else UPDATING)
    kinds = _kinds(check, report)
    found = [_file(kind) for kind in kinds]
    called = [name for kind in kinds[:1] for name in _called(kind)]
    drawing = DRAWING if check.mode != "eval" else ()
    around = [*TRAINING, "update.py", "backend.py"] if check.mode == "run" else []
    return list(dict.fromkeys([*around, *found[:1], *called, *found[1:], own, *drawing]))


def _kinds(check: Check, report: Report) -> list[type]:
    """The class of the module at fault and of the modules that contain it, from inside out."""
    if find_twin(check.twin).function or report.first_divergence is None:
        return []
    module = build_pair(check.twin).torch
    layers = dict(module.named_modules())
    path = report.first_divergence.module.partition(".")[2]
    path = path if path in layers else ""
    parts = path.split(".") if path else []
    lineage = [layers[".".join(parts[:depth])] for depth in range(len(parts), -1, -1)]
    return [type(layer) for layer in lineage if "_impl" in type(layer).__module__]


def _file(kind: Any) -> str:
    return kind.__module__.partition(".")[2].replace(".", "/") + ".py"


def _called(kind: type) -> list[str]:
    """Files of the functions that a class's file imports from its package, directly or through their module."""
    names = [
        f"{node.module}.{alias.name}" if alias.name in MODULES else str(node.module)
        for node in ast.parse(inspect.getsource(sys.modules[kind.__module__])).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if not alias.name[0].isupper()
    ]
    own = [name.partition(".")[2].replace(".", "/") for name in names if name.startswith("torch_impl.")]
    files = [f"{name}.py" for name in own]
    return [file for file in files if all((ROOT / f"{side}_impl" / file).exists() for side in SIDES)]
