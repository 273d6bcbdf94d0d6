"""Where two modules part first, from the tensors that go in and out of every module's call.

Forwards: the first tensor that differs, in the order of the run. If it comes out of a call whose inputs agree, that
module is at fault; if it goes into one, the module that made the call is. Backwards the same, in the reverse order.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from crosscheck.rows import Divergence, Row
from crosscheck.tracing import call_of, end_of
from crosscheck.values import Call

BEFORE = ("input", "parameter")  # what both sides are given, before anything is computed


class Found(NamedTuple):
    """The module at fault, the phase, and the row that shows it."""

    module: str
    phase: str
    row: Row


def find_first(rows: Sequence[Row], calls: Mapping[str, Call], uneven: Container[str] = ()) -> Found | None:
    """The first divergence among rows in the order of a run; `calls` are those of the torch side.

    Calls in `uneven` are given fewer tensors on one side, which is the fault of the module that makes them.
    """
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
    for row in rows:
        if row.kind == "intermediate":
            yield _giver(row.tensor, calls, uneven), "forward", (row.kind, row.tensor)
    for row in rows:
        if row.kind == "output":
            yield "", "forward", (row.kind, row.tensor)


def _backward(rows: Sequence[Row], calls: Mapping[str, Call]) -> Iterator[Step]:
    """Gradients in the reverse order of the run; a module's parameters come when its first call has been passed."""
    gradients = [row for row in rows if row.kind == "intermediate gradient"]
    parameters = [row for row in rows if row.kind == "parameter gradient"]
    ends = _ends([call_of(row.tensor) for row in gradients], calls)
    for position, row in reversed(list(enumerate(gradients))):
        yield _owner(row.tensor, calls, "in"), "input gradient", (row.kind, row.tensor)
        for path in ends.get(position, ()):
            yield from _parameters(parameters, path)
    for row in rows:
        if row.kind == "input gradient":
            yield "", "input gradient", (row.kind, row.tensor)
    for row in parameters:
        yield row.module, "parameter gradient", (row.kind, row.tensor)


def _ends(taps: Sequence[str], calls: Mapping[str, Call]) -> dict[int, list[str]]:
    """Position among the taps' calls -> paths whose first call begins there, the innermost first."""
    firsts = {call.path: name for name, call in reversed(calls.items()) if call.path}
    ends: dict[int, list[str]] = {}
    for path, first in firsts.items():
        position = next((p for p, call in enumerate(taps) if first in _enclosing(call, calls)), None)
        if position is not None:
            ends.setdefault(position, []).append(path)
    return {position: sorted(paths, key=len, reverse=True) for position, paths in ends.items()}


def _enclosing(call: str, calls: Mapping[str, Call]) -> Iterator[str]:
    """The call, and those inside which it was made."""
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


def _giver(tap: str, calls: Mapping[str, Call], uneven: Container[str]) -> str:
    """The module whose code made this tensor, or that left out what the code would have needed."""
    name = call_of(tap)
    owner = _owner(tap, calls, "out")
    name = name if end_of(tap) == "out" else calls[name].inside
    while name in uneven:
        owner, name = calls[name].caller, calls[name].inside
    return owner


def _owner(tap: str, calls: Mapping[str, Call], own_end: str) -> str:
    """The module whose code made this tensor: the called one at its own end of the call, else the caller."""
    call = calls[call_of(tap)]
    return call.path if end_of(tap) == own_end else call.caller


def as_divergence(found: Found | None, name: str) -> Divergence | None:
    """What a report shows of it: the module's path begins with the name of the whole."""
    if found is None:
        return None
    return Divergence(f"{name}.{found.module}" if found.module else name, found.phase, found.row.tensor)
