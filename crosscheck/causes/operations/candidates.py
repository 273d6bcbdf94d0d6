"""Flips of single operations where two sides begin to differ: another number, operation, order, or the other's tensor.

They are made of what stands in the region of both sides, not of mistakes that are known. Each is made wherever the code
makes that call, as in all steps of a loop, and then in one call alone.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from crosscheck.causes.flips.flip import Flip, Site
from crosscheck.causes.operations.changes.attention import attention
from crosscheck.causes.operations.changes.exchanges import chains, exchanges, omissions
from crosscheck.causes.operations.changes.gradients import gradients, scaled
from crosscheck.causes.operations.changes.insertions import (
    complements,
    entering,
    insertions,
    insertions_of_two,
    leaving,
    of_one,
    of_two,
)
from crosscheck.causes.operations.changes.modules import other_inputs, other_modules
from crosscheck.causes.operations.changes.moves import moves
from crosscheck.causes.operations.changes.norms import norms
from crosscheck.causes.operations.changes.numbers import numbers
from crosscheck.causes.operations.changes.operands import exchanged_operands
from crosscheck.causes.operations.changes.orders import orders
from crosscheck.causes.operations.changes.parameters import parameters
from crosscheck.causes.operations.changes.places import places
from crosscheck.causes.operations.changes.settings import exchanged_settings
from crosscheck.causes.operations.changes.slices import slices
from crosscheck.causes.operations.changes.steps import rounds, steps
from crosscheck.causes.operations.changes.tensors import buffers, tensors
from crosscheck.causes.operations.in_torch import place_of, standing
from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region

Change = tuple[str, str, Callable[..., Any]]  # row of the catalogue, the change in words, replacement(function, ...)
CHANGES: tuple[Callable[[Operation, Region], Iterator[Change]], ...] = (
    omissions, numbers, norms, attention, exchanges, orders, insertions, insertions_of_two, places,
)  # fmt: skip
CHOSEN = "iub"  # what is chosen from numbers may be the same of other numbers
OF_SHARED = (complements, orders, places)  # what both sides have may be used otherwise


class Candidate(NamedTuple):
    """A flip, and the call that it is made for; None if wherever it applies."""

    flip: Flip
    site: Site | None = None


def candidates(region: Region) -> Iterator[Candidate]:
    """The flips of a region's operations, one kind of change after the other."""
    if region.slopes:
        yield from _of_gradients(region)
        return
    for operation, row, what, replacement, layers in moves(region):
        yield Candidate(_flip(row, what, {operation.function: replacement}, only=_at(operation), layers=layers))
    for row, what, layers in other_modules(region):
        yield Candidate(_flip(row, what, layers=layers))
    for row, what, layers in other_inputs(region):
        yield Candidate(_flip(row, what, layers=layers))
    for operation, row, what, replacement in steps(region.run):
        yield Candidate(_flip(row, what, {operation.function: replacement}, only=_at(operation)))
    for calls, row, what, replacement in rounds(region.run):
        functions = dict.fromkeys((each.function for each in calls), replacement)
        yield Candidate(_flip(row, what, functions, only=_at(*calls), is_numbered=True))
    for calls, row, what, replacement in slices(_first(region)):
        yield Candidate(_flip(row, what, {calls[0].function: replacement}, only=_at(*calls)))
    for calls, row, what, replacement in chains(region):
        yield Candidate(
            _flip(row, what, dict.fromkeys((each.function for each in calls), replacement), only=_at(*calls))
        )
    for calls, row, what, replacement in exchanged_settings(region):
        yield Candidate(_flip(row, what, {calls[0].function: replacement}, is_numbered=True))
    around = (entering,) if region.tap.rpartition(" in[")[0] else (entering, leaving)
    for ends, made in itertools.product((of_one, of_two), around):
        for row, what, layers in made(region, ends):
            yield Candidate(_flip(row, what, layers=layers, holds_numbers=ends is of_two))
    for row, what, how in parameters(region):
        yield Candidate(_flip(row, what, **how))
    shared = replace(region, ours=region.shared)
    for changes, operations in [*((each, region) for each in CHANGES), *((each, shared) for each in OF_SHARED)]:
        for operation in _first(operations):
            if changes is insertions_of_two and operation.result.dtype.kind in CHOSEN:
                continue
            sites = [*_alone(operation, region)]
            for row, what, replacement in changes(operation, region):
                holds = changes is insertions_of_two
                flip = _flip(row, what, {operation.function: replacement}, only=_at(operation), holds_numbers=holds)
                yield Candidate(flip)
                yield from (Candidate(flip, site) for site in sites)
                if changes is not orders and (alike := _alike(operation, operations)):
                    everywhere = f"{what}, and so the {len(alike) - 1} other calls of it there"
                    every = replace(flip, what=everywhere, only=_at(*alike))
                    yield Candidate(replace(every, fix=_fix(everywhere)))
    for calls, row, what, replacement in exchanged_operands(region):
        functions = {calls[0].function: replacement}
        yield Candidate(_flip(row, what, functions, is_numbered=True, holds_numbers=True))


def _of_gradients(region: Region) -> Iterator[Candidate]:
    for row, what, layers in scaled(region):
        yield Candidate(_flip(row, what, layers=layers))
    for calls, row, what, replacement in gradients(_first(region)):
        yield Candidate(
            _flip(row, what, dict.fromkeys((each.function for each in calls), replacement), only=_at(*calls))
        )


def exchanged(region: Region) -> Iterator[tuple[Operation, Operation | None, Flip]]:
    """JAX's tensors in place of those of a region's operations, the first operation first, with the operations of both
    sides that make them, where JAX's is known; none for gradients."""
    if region.slopes:
        return
    for operation, row, what, layers in buffers(region):
        yield operation, None, _flip(row, what, layers=layers, is_numbered=True, holds_numbers=True)
    for operation in _first(region):
        for (ours, theirs), row, what, replacement in tensors(operation, region):
            functions = {operation.function: replacement}
            flip = _flip(row, what, functions, only=_at(operation), is_numbered=True, holds_numbers=True)
            yield ours, theirs, flip


def _first(region: Region) -> list[Operation]:
    """The first call of each place in the code."""
    first: dict[Any, Operation] = {}
    for each in region.ours:
        if each.place is not None:
            first.setdefault((each.place, each.function), each)
    return list(first.values())


def _alike(operation: Operation, region: Region) -> list[Operation]:
    """The calls of an operation's function in all places of the region, if it is the first of several."""
    found = [each for each in _first(region) if each.function is operation.function]
    return found if len(found) > 1 and found[0] is operation else []


def _flip(row: str, what: str, functions: Any = None, **how: Any) -> Flip:
    return Flip(row, what, functions or {}, fix=_fix(what), is_placed=True, **how)


def _fix(what: str) -> tuple[str, str]:
    return "make it as torch does there", f"have {what}"


def _at(*operations: Operation) -> Callable[..., bool]:
    places = [each.place for each in operations]

    def only(*_: Any, **__: Any) -> bool:
        return place_of(standing()) in places

    return only


def _alone(operation: Operation, region: Region) -> Iterator[Site]:
    """The call as a site among those of its place in the code, if that is called more than once."""
    calls = region.calls_of(operation)
    if len(calls) > 1 and len({each.site[0] for each in calls}) > 1:
        yield operation.site[0].removeprefix("@"), None
    if len(calls) > 1:
        path = operation.site[0]
        yield path, [each.site for each in calls if each.site[0] == path].index(operation.site)
