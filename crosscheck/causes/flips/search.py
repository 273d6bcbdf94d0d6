"""Searches for the causes of a gap, one after the other: flips that close it where it first shows, within a budget of
time.

A flip that closes the first differing tensor is applied in all places that it mends; what is left then is the next gap.
"""

import contextlib
import functools
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from crosscheck.causes.flips.attempts import CLOSED, Flipped, calls_of, flipped_by
from crosscheck.causes.flips.flip import FAILURES, Flip
from crosscheck.causes.flips.narrowing import in_words as place_in_words
from crosscheck.causes.flips.narrowing import narrowed, sites_at
from crosscheck.causes.operations.candidates import candidates, exchanged
from crosscheck.causes.operations.region import Region, sites_in
from crosscheck.causes.operations.written_out import SAYS, in_words
from crosscheck.judging.rows import KIND, Row
from crosscheck.pairing.layouts import Layouts
from crosscheck.recording.side import Side
from crosscheck.report import Report
from shared.training_state import WEIGHTS

MOST_CAUSES = 3
ALIKE = 2.0  # times the least error that flips leave: as little
WAIT = 5.0  # seconds that a cause waits for one that explains more
ROUNDING = 4 * 2.0**-24  # derived: a few roundings of float32; no flip is worth a search for the rest


class Cause(NamedTuple):
    """A flip that closes a gap, in which places (empty: everywhere), the gap's error, the report of the rest, and what
    each side computes there, and where the rest begins, if that is known."""

    flip: Flip
    places: str
    error: float
    left: Report
    formulas: str = ""
    rest: str = ""

    @property
    def what(self) -> str:
        return f"{self.flip.what} in {self.places}" if self.places and not self.flip.is_placed else self.flip.what


@dataclass
class Budget:
    """The seconds that a search may take, the attempts made, and who is told of each."""

    seconds: float
    told: Callable[[int, str], None] = lambda number, what: None
    tried: int = 0
    start: float = field(default_factory=time.monotonic)

    @property
    def is_spent(self) -> bool:
        return time.monotonic() - self.start > self.seconds

    def leave_half(self) -> None:
        """Leave at least half of the time to what follows."""
        self.start = max(self.start, time.monotonic() - self.seconds / 2)

    def take(self, what: str) -> bool:
        """Count an attempt; False if there is no time for it."""
        if self.is_spent:
            return False
        self.tried += 1
        self.told(self.tried, what)
        return True


def causes_of(
    flips: Sequence[Flip],
    side: Side,
    report: Report,
    layouts: Layouts,
    budget: Budget,
    is_gone: Callable[[Report], bool],
    begins: Callable[[Row, Sequence[Flipped]], Region | None] = lambda row, applied: None,
    holds: Callable[[Flipped, Row], bool] = lambda flipped, row: True,
) -> list[Cause]:
    """The causes of a report's disagreement, the first to show first; empty if no flip closes the first gap. `begins`
    says with which operations a row's gap begins after some flips, and `holds` whether a flip closes a row's gap on
    other inputs, too.
    """
    found: list[Cause] = []
    applied: tuple[Flipped, ...] = ()
    calls = calls_of(side, report)
    while len(found) < MOST_CAUSES and not is_gone(report) and report.first_row is not None:
        near = _nearest(flips, calls, report)
        everywhere = [replace(each, before=applied) for each in flipped_by(near, side, report, layouts)]
        region = functools.cache(functools.partial(begins, telling(report), applied))
        closing: list[Flipped] = []
        places = itertools.chain(
            _everywhere(everywhere, budget),
            _of_weights(everywhere, report, budget),
            _in_region(everywhere, region, telling(report), budget, closing),
            _places(everywhere, report, budget),
        )
        new = _next(places, report, is_gone, closing, functools.partial(_holds, holds, region))
        if new is None:
            if found and not budget.is_spent:
                found[-1] = found[-1]._replace(rest=_formulas(region()))
            break
        cause, flipped = new
        found.append(
            cause._replace(formulas=next((each.flip.what for each in closing if each.flip.what.startswith(SAYS)), ""))
        )
        applied, report = (*applied, flipped), replace(cause.left, recordings=report.recordings)
        if report.first_row is not None and (report.first_row.error <= ROUNDING or _is_of_held(flipped, report)):
            break
    return found


def _is_of_held(flipped: Flipped, report: Report) -> bool:
    """True if what is left are gradients behind numbers that a flip holds: these pass none on."""
    return flipped.flip.holds_numbers and all(row.phase != "forward" for row in report.disagreements)


def _formulas(region: Region | None) -> str:
    """What each side computes where a gap begins, in words; empty if that isn't known."""
    with contextlib.suppress(*FAILURES, AssertionError):
        said = in_words(region, region.target, region.theirs[-1]) if region is not None else None
        return said[0] if said else ""
    return ""


def _holds(
    holds: Callable[[Flipped, Row], bool], region: Callable[[], Region | None], flipped: Flipped, row: Row
) -> bool:
    """False of a flip that does not close the gap on other inputs, that supposes what JAX makes nowhere there, or that
    only changes calls behind whole numbers that JAX has as they are: others lead to the same."""
    flip = flipped.flip
    found = region() if flip.supposes or (flip.functions and not flip.is_placed and row.bound) else None
    if found is not None and flip.supposes and not any(each.name in flip.supposes for each in found.theirs):
        return False
    is_whole = found is not None and any(each.result.dtype.kind in "iu" and each.inputs for each in found.shared)
    border = replace(found, ours=[*found.shared, *found.ours]) if found is not None and is_whole else None
    if border is not None and flip.functions and not flip.is_placed and not sites_in(border, flip):
        return False
    return holds(flipped, row)


def _nearest(flips: Sequence[Flip], calls: Mapping[Any, set[str]], report: Report) -> list[Flip]:
    """The flips that can apply, those first of functions that the located module's own code calls, then those of what
    it calls."""
    path = report.first_divergence.module[len(report.name) + 1 :] if report.first_divergence else ""
    can = [flip for flip in flips if not (calls and flip.functions) or any(each in calls for each in flip.functions)]
    return sorted(can, key=lambda flip: _distance(path, {at for each in flip.functions for at in calls.get(each, ())}))


def _distance(path: str, callers: Collection[str]) -> int:
    """0 if a module's own code is among the callers, 1 if a module inside it is, 2 if neither."""
    if path in callers:
        return 0
    return 1 if any(at.startswith(f"{path}." if path else "") for at in callers) else 2


def _next(
    places: Iterable[tuple[Flipped, Flipped]],
    report: Report,
    is_gone: Callable[[Report], bool],
    closing: Sequence[Flipped],
    holds: Callable[[Flipped, Row], bool],
) -> tuple[Cause, Flipped] | None:
    """The flip that closes the first gap: everywhere, else in places; exactly, else but for rounding; else one of those
    found `closing` meanwhile. One that leaves something waits a little for one that leaves nothing."""
    row = telling(report)
    nearly: list[tuple[float, Flipped]] = []
    waiting: list[tuple[Cause, Flipped]] = []
    until = math.inf
    for flipped, at in places:
        if time.monotonic() > until:
            break
        with contextlib.suppress(*FAILURES):
            error = _error(at, row)
            if error <= _least(row):
                cause = _cause(at, flipped, report, row, is_gone) if holds(at, row) else None
                if cause is not None and is_gone(cause[0].left):
                    return cause
                if cause is not None:
                    waiting.append(cause)
                    until = min(until, time.monotonic() + WAIT)
            elif error <= CLOSED * min(row.error, 1.0):
                nearly.append((error, at))
    if waiting:
        return waiting[0]
    least = min((error for error, _ in nearly), default=0.0)
    nearest = sorted(nearly, key=lambda each: max(each[0], ALIKE * least))  # what is known before what is made
    for at in [*(at for _, at in nearest), *closing]:
        left = at.compared()
        if not _breaks(left, report, row) and holds(at, row):
            return Cause(at.flip, _words(at, report), row.error, left), at
    return None


def telling(report: Report) -> Row:
    """The row that a flip has to close: the first of floats, since ids and masks that differ may be made up for; an
    output where the first was only seen by running a module alone, as of layers that JAX stacks."""
    rows = report.rows
    if report.first_row is not None and not _is_recorded(report, report.first_row):
        return next(
            (each for each in report.disagreements if each.bound and _is_recorded(report, each)), report.first_row
        )
    first = report.first_row
    assert first is not None  # noqa: S101  the caller looks
    if first.bound or first.kind != "intermediate":
        return first
    after = rows[rows.index(first) :] if first in rows else rows
    return next((row for row in after if not row.agrees and row.bound and row.phase == "forward"), first)


def _is_recorded(report: Report, row: Row) -> bool:
    """True if JAX's recording holds the row's tensor, or none is kept."""
    both = report.recordings
    return both is None or row.tensor in getattr(both[1].values, KIND[row.kind].attribute)


def _everywhere(everywhere: Sequence[Flipped], budget: Budget) -> Iterator[tuple[Flipped, Flipped]]:
    """Each flip everywhere, since most mistakes are made wherever they can be."""
    for flipped in everywhere:
        if budget.take(flipped.flip.what):
            yield flipped, flipped


def _of_weights(everywhere: Sequence[Flipped], report: Report, budget: Budget) -> Iterator[tuple[Flipped, Flipped]]:
    """Each known order of weights in the module where the gap shows: what does not fit its weights costs no run."""
    for flipped in everywhere:
        for site in sites_at(flipped, report) if flipped.flip.weights else ():
            if budget.take(flipped.flip.what):
                yield flipped, replace(flipped, where=(site,), calls=Counter())


def _in_region(
    everywhere: Sequence[Flipped],
    region: Callable[[], Region | None],
    row: Row,
    budget: Budget,
    closing: list[Flipped],
) -> Iterator[tuple[Flipped, Flipped]]:
    """Each flip in the calls with which the gap begins, then flips made for these."""
    found = region() if everywhere and not budget.is_spent else None
    if found is None:
        return
    with contextlib.suppress(*FAILURES):  # a user's arguments may be of any kind
        for flipped in everywhere:
            for site in sites_in(found, flipped.flip):
                if budget.take(flipped.flip.what):
                    yield flipped, replace(flipped, where=(site,), calls=Counter())
        yield from _made_for(found, everywhere[0], row, budget, closing)


def _made_for(
    region: Region, like: Flipped, row: Row, budget: Budget, closing: list[Flipped]
) -> Iterator[tuple[Flipped, Flipped]]:
    """Flips made for the operations of a region: for those behind the first of torch's tensors that closes the gap if
    it is JAX's, which joins `closing`; for all operations if there is no such tensor."""
    for operation, theirs, flip in exchanged(region):
        if not budget.take(flip.what):
            return
        flipped = replace(like, flip=flip, calls=Counter())
        with contextlib.suppress(*FAILURES):
            if _error(flipped, row) <= _least(row):
                said = in_words(region, operation, theirs) if theirs else None
                if said:
                    flipped = replace(flipped, flip=replace(flip, what=said[0], fix=said[1]))
                closing.append(flipped)
                yield from _tried(region.behind(operation), like, budget)
                return
    yield from _tried(region, like, budget)


def _tried(region: Region, like: Flipped, budget: Budget) -> Iterator[tuple[Flipped, Flipped]]:
    for flip, site in candidates(region):
        if budget.take(flip.what):
            flipped = replace(like, flip=flip, calls=Counter())
            yield flipped, flipped if site is None else replace(flipped, where=(site,), calls=Counter())


def _places(everywhere: Sequence[Flipped], report: Report, budget: Budget) -> Iterator[tuple[Flipped, Flipped]]:
    """Each flip in the whole module where the gap shows, then each in a single call."""
    for is_whole in (True, False):
        for flipped in everywhere:
            has_places = flipped.calls or flipped.flip.layers
            for site in sites_at(flipped, report) if has_places else ():
                if (site[1] is None) == is_whole and budget.take(flipped.flip.what):
                    yield flipped, replace(flipped, where=(site,), calls=Counter())


def _error(flipped: Flipped, row: Row) -> float:
    """The row's error with the flip; 0 where the numbers say nothing, so that the whole comparison is made."""
    is_finite = all(np.isfinite(each) for each in (row.error, row.torch_value, row.jax_value))
    error = flipped.error_of(row)
    return error if is_finite else 0.0


def _least(row: Row) -> float:
    return 2 * row.bound


def _cause(
    at: Flipped, everywhere: Flipped, report: Report, row: Row, is_gone: Callable[[Report], bool]
) -> tuple[Cause, Flipped] | None:
    """The cause, with the flip in as many places as it mends; None if the whole comparison does not bear it out."""
    left = at.compared()
    if is_gone(left):
        return Cause(at.flip, _words(at, report), row.error, left), at
    if not np.isfinite(row.error) or not _is_later(left, row):
        return None
    places, last, sites = narrowed(everywhere, report)
    if sites and (is_gone(last) or not at.where):
        at, left = replace(everywhere, where=tuple(sites), calls=Counter()), last
    if _breaks(left, report, row):
        return None
    return Cause(at.flip, places if sites and at.where == tuple(sites) else _words(at, report), row.error, left), at


def _is_later(left: Report, row: Row) -> bool:
    """True if the row agrees now, and what is left is no larger than what was there."""
    return any((each.kind, each.tensor) == (row.kind, row.tensor) and each.agrees for each in left.rows)


def _breaks(left: Report, before: Report, row: Row) -> bool:
    """True if a flip makes disagree what agreed before: of a gradient's anything, else what is computed forward; of an
    update's weights, since a parameter that is not trained has no moments."""
    agreed = {(each.kind, each.tensor) for each in before.rows if each.agrees}
    new = [each for each in left.disagreements if (each.kind, each.tensor) in agreed]
    new = [each for each in new if each.phase != "update" or f"/{WEIGHTS}/" in each.tensor]
    return any(row.phase.endswith("gradient") or each.phase == row.phase for each in new)


def _words(at: Flipped, report: Report) -> str:
    return ", ".join(place_in_words(site, report.name) for site in at.where)
