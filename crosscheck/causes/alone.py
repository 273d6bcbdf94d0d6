"""The module where two large sides first differ, alone on what torch gives it: a search there takes a share of the time
that one in the whole does."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from crosscheck.causes.explanation import Explanation
from crosscheck.causes.flips.attempts import Flipped, flipped_by
from crosscheck.causes.flips.flip import FAILURES, OWN, Flip, Site
from crosscheck.causes.flips.search import MOST_CAUSES, Budget
from crosscheck.compare import as_judged
from crosscheck.criterion import DRAWS, LARGE
from crosscheck.judging.first_divergence import as_divergence, find_first
from crosscheck.judging.isolation import layers_of, part_of
from crosscheck.judging.judge import decisive, judge, uneven_calls
from crosscheck.judging.rows import Row
from crosscheck.pairing.comparison import Comparison
from crosscheck.recording.recording import Recording
from crosscheck.recording.tracing import call_of
from crosscheck.report import Report

PHASES = ("forward", "input gradient", "parameter gradient")
MOST_SPARED = 3  # modules that agree without a flip: each costs a run


def searched_alone(
    whole: Comparison, report: Report, budget: Budget, searched: Callable[[Comparison, Report, Budget], Explanation]
) -> Explanation | None:
    """The causes in the modules where large sides first differ, each searched for alone; None if that can't be."""
    before, found, flips = report, [], []
    while len(found) < MOST_CAUSES and (part := _first_alone(whole, before)) is not None:
        if not found:
            budget.leave_half()
        new = searched(*part, budget)
        alone = f"in {part[1].name} alone"
        if new.divergence is None:
            words = new.noted or f"nothing found in {budget.tried} attempts"
            found += [] if found else [replace(new, report=report, noted=f"{alone}: {words}")]
            break
        known = [cause.flip in flips for cause in new.causes] or [False]
        flips += [cause.flip for cause in new.causes if cause.flip not in flips]
        then = _after(flips, whole, report) if new.causes and not budget.is_spent else None
        words = f"; {_in_outputs(report, *then)}" if then else ""
        said = [
            replace(each, report=report, more=(), left=f"{alone} {each.left or 'the gap is gone'}{words}".rstrip("; "))
            for each, is_known in zip((new, *new.more), known, strict=True)
            if not is_known
        ]
        found += said
        if not said or then is None or then[0].first_divergence == before.first_divergence or budget.is_spent:
            break
        before = then[0]
    return replace(found[0], more=tuple(found[1:])) if found else None


def _first_alone(whole: Comparison, report: Report) -> tuple[Comparison, Report] | None:
    """The comparison of the located module alone, and its report; None of small sides, of what the whole's own code
    computes, and of a module that can't run alone or agrees then."""
    found = _alone(whole, report) if whole.ours.size >= LARGE else None
    return found if found is not None and not found[1].agrees else None


def _alone(whole: Comparison, report: Report) -> tuple[Comparison, Report] | None:
    first, row = report.first_divergence, report.first_row
    if first is None or row is None or report.recordings is None or first.phase not in PHASES:
        return None
    if any(side.recorded is not None for side in (whole.ours, whole.theirs)):
        return None
    ours, theirs = (side.values for side in report.recordings)
    path = _path(report)
    calls = [call for call, at in ours.calls.items() if path and at.path == path]
    with contextlib.suppress(*FAILURES):
        call = next((each for each in calls if each == call_of(row.tensor)), calls[0])
        quick = replace(whole, options=replace(whole.options, updates=0))
        part = part_of(call, path, quick, ours, theirs, layers_of(quick))
        options = replace(part.options, noise_runs=DRAWS)
        part = replace(part, ours=replace(part.ours, title=first.module), options=options)
        return part, as_judged(part)
    return None


def _path(report: Report) -> str:
    return report.first_divergence.module[len(report.name) + 1 :] if report.first_divergence else ""


def _after(flips: Sequence[Flip], whole: Comparison, report: Report) -> tuple[Report, tuple[str, ...]] | None:
    """The report of the forward pass with these flips of the torch side wherever they apply, but in modules that agree
    alone without; None if they don't apply."""
    spared: tuple[str, ...] = ()
    while (left := _forward(flips, whole, report, spared)) is not None:
        path = _path(left)
        alone = _alone(whole, left) if path not in spared and len(spared) < MOST_SPARED else None
        if alone is None or not alone[1].agrees:
            return left, spared
        spared = (*spared, path)
    return None


def _forward(flips: Sequence[Flip], whole: Comparison, report: Report, spared: Sequence[str]) -> Report | None:
    flipped: tuple[Flipped, ...] = ()
    for each in flipped_by(flips, whole.ours, report, whole.layouts):
        flipped = (*flipped, replace(each, before=flipped, where=_but_in(whole.ours.module, spared, each.flip)))
    if not flipped or report.recordings is None or any(flip.holds_numbers for flip in flips):
        return None
    with contextlib.suppress(*FAILURES):
        ours, theirs = (_without_parameters(each) for each in (flipped[-1].forward(), report.recordings[1]))
        rows, calls = _by_bounds_of(report, judge(ours, theirs)), ours.values.calls
        found = find_first(decisive(rows, calls), calls, uneven_calls(ours.values, theirs.values))
        first = as_divergence(found, report.name)
        return replace(report, rows=rows, first_divergence=first, first_row=found.row if found else None)
    return None


def _without_parameters(recording: Recording) -> Recording:
    """The recording without what no forward pass changes."""
    return replace(recording, values=replace(recording.values, parameters={}))


def _by_bounds_of(report: Report, rows: Sequence[Row]) -> list[Row]:
    """Rows of another run held to a report's bounds: a flip hardly changes the noise, and measuring it takes long."""
    bounds = {(row.kind, row.tensor): row.bound for row in report.rows}
    return [replace(row, bound=bounds.get((row.kind, row.tensor), row.bound)) for row in rows]


def _but_in(module: Any, spared: Sequence[str], flip: Flip) -> tuple[Site, ...]:
    """The places of all modules' own code but of some; everywhere if there are none."""
    layers = [(path, layer) for path, layer in module.named_modules() if spared and path not in spared]
    return tuple((f"{OWN}{path}", None) for path, layer in layers if flip.layers is None or not any(layer.children()))


def _in_outputs(before: Report, left: Report, spared: Sequence[str]) -> str:
    """How far the outputs' largest error falls, in words; empty if it doesn't."""
    was, now = (max((row.error for row in _outputs(each)), default=0.0) for each in (before, left))
    if not now < was:
        return ""
    where = f"wherever it can be but in {', '.join(spared)}" if spared else "wherever it can be"
    gone = ", which is noise" if all(row.agrees for row in _outputs(left)) else ""
    return f"made {where}, the outputs' error falls from {was:.1e} to {now:.1e}{gone}"


def _outputs(report: Report) -> list[Row]:
    return [row for row in report.rows if row.kind == "output"]
