"""Finds where two modules first diverge, from the inputs and outputs of every module call.

Forward: take the first tensor that differs, in execution order. If it leaves a call whose inputs agree, that module is
at fault; if it enters a call, the caller is. Backward: the same in reverse order.
An input mask that merely follows a different convention (inverted, or filled with a different value) is not a fault,
unless the code that produced the first differing tensor has read it.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from crosscheck.judging.mask_conventions import is_mask_by_convention, reads_mask
from crosscheck.judging.rows import Divergence, Row
from crosscheck.recording.tracing import call_of, end_of
from crosscheck.recording.values import Call

BEFORE = ("input", "parameter")  # given to both sides before anything is computed


class Found(NamedTuple):
    """The module at fault, the phase, and the row that shows it."""

    module: str
    phase: str
    row: Row


def find_first(rows: Sequence[Row], calls: Mapping[str, Call], uneven: Container[str] = ()) -> Found | None:
    """The first divergence among rows in execution order; `calls` are those of the torch side.

    Calls in `uneven` receive fewer tensors on one side, which is the caller's fault.
    """
    masks = [row for row in rows if is_mask_by_convention(row)]
    found = _search([row for row in rows if row not in masks], calls, uneven)
    if masks and (found is None or _reads(found.row, masks, rows, calls)):
        return _search(rows, calls, uneven)
    return found


def _reads(fault: Row, masks: Sequence[Row], rows: Sequence[Row], calls: Mapping[str, Call]) -> bool:
    inside = [row for row in rows if row.kind == "intermediate"]
    name = _maker(fault.tensor, calls, _blind(inside, calls, "in", "out")) if fault in inside else ""
    return bool(name) and reads_mask(name, fault, masks, rows, calls)


def _search(rows: Sequence[Row], calls: Mapping[str, Call], uneven: Container[str]) -> Found | None:
    wrong = {(row.kind, row.tensor): row for row in rows if not row.agrees}
    searches = (_given(rows), _forward(rows, calls, uneven), _backward(rows, calls), _updates(rows))
    for module, phase, key in (found for search in searches for found in search):
        if key in wrong:
            return Found(module, phase, wrong[key])
    return None


Step = tuple[str, str, tuple[str, str]]  # (module at fault if this tensor is the first that differs, phase, row)


def _given(rows: Sequence[Row]) -> Iterator[Step]:
    for row in rows:
        if row.kind in BEFORE:
            yield row.module, f"{row.kind}s", (row.kind, row.tensor)


def _forward(rows: Sequence[Row], calls: Mapping[str, Call], uneven: Container[str]) -> Iterator[Step]:
    inside = [row for row in rows if row.kind == "intermediate"]
    blind = _blind(inside, calls, "in", "out")
    for row in inside:
        yield _giver(row.tensor, calls, uneven, blind), "forward", (row.kind, row.tensor)
    for row in rows:
        if row.kind == "output":
            yield "", "forward", (row.kind, row.tensor)


def _backward(rows: Sequence[Row], calls: Mapping[str, Call]) -> Iterator[Step]:
    """Gradients in reverse execution order; a module's parameters follow once its first call has been passed."""
    gradients = [row for row in rows if row.kind == "intermediate gradient"]
    parameters = [row for row in rows if row.kind == "parameter gradient"]
    ends = _ends([call_of(row.tensor) for row in gradients], calls)
    blind = _blind(gradients, calls, "out", "in")
    for position, row in reversed(list(enumerate(gradients))):
        yield _owner(row.tensor, calls, "in", blind), "input gradient", (row.kind, row.tensor)
        for path in ends.get(position, ()):
            yield from _parameters(parameters, path)
    for row in rows:
        if row.kind == "input gradient":
            yield "", "input gradient", (row.kind, row.tensor)
    for row in parameters:
        yield row.module, "parameter gradient", (row.kind, row.tensor)


def _ends(taps: Sequence[str], calls: Mapping[str, Call]) -> dict[int, list[str]]:
    """Position among the taps' calls -> paths whose first call begins there, innermost first."""
    firsts = {call.path: name for name, call in reversed(calls.items()) if call.path}
    ends: dict[int, list[str]] = {}
    for path, first in firsts.items():
        position = next((p for p, call in enumerate(taps) if first in _enclosing(call, calls)), None)
        if position is not None:
            ends.setdefault(position, []).append(path)
    return {position: sorted(paths, key=len, reverse=True) for position, paths in ends.items()}


def _enclosing(call: str, calls: Mapping[str, Call]) -> Iterator[str]:
    """The call and its enclosing calls, from inside out."""
    while call:
        yield call
        call = calls[call].inside


def _parameters(parameters: Sequence[Row], path: str) -> Iterator[Step]:
    for row in parameters:
        if row.module == path:
            yield path, "parameter gradient", (row.kind, row.tensor)


def _updates(rows: Sequence[Row]) -> Iterator[Step]:
    for row in rows:
        if row.kind == "running statistic":
            yield row.module, "update", (row.kind, row.tensor)
        if row.kind == "update":
            yield "optimizer", "update", (row.kind, row.tensor)


def _blind(rows: Sequence[Row], calls: Mapping[str, Call], given: str, made: str) -> set[str]:
    """Calls whose results are compared but not their inputs, next to a call for which the reverse is true: the shapes
    differ in between (say, separate heads), and the two sides may diverge there."""
    seen = {(call_of(row.tensor), end_of(row.tensor)) for row in rows}
    silent = {calls[call].inside for call in calls if (call, given) in seen and (call, made) not in seen}
    return {call for call in calls if (call, given) not in seen and calls[call].inside in silent}


def _giver(tap: str, calls: Mapping[str, Call], uneven: Container[str], blind: Container[str]) -> str:
    """The module whose code made this tensor, or that omitted an argument the code needed."""
    name, owner = _maker(tap, calls, blind), _owner(tap, calls, "out", blind)
    while name in uneven:
        owner, name = calls[name].caller, calls[name].inside
    return owner


def _maker(tap: str, calls: Mapping[str, Call], blind: Container[str]) -> str:
    """The call whose code made this tensor; "" for the root."""
    name = call_of(tap)
    return name if end_of(tap) == "out" and name not in blind else calls[name].inside


def _owner(tap: str, calls: Mapping[str, Call], own_end: str, blind: Container[str]) -> str:
    """The module whose code made this tensor: the called module at its own end of the call, else the caller."""
    call = calls[call_of(tap)]
    return call.path if end_of(tap) == own_end and call_of(tap) not in blind else call.caller


def as_divergence(found: Found | None, name: str) -> Divergence | None:
    """The fault as a report shows it: the module's path begins with the root's name."""
    if found is None:
        return None
    return Divergence(f"{name}.{found.module}" if found.module else name, found.phase, found.row.tensor)
