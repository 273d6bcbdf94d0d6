"""Attempts to close a gap: runs each flip of the torch side against the recorded JAX side."""

import contextlib
import copy
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from crosscheck import criterion
from crosscheck.causes.flips.apply import changed, is_below
from crosscheck.causes.flips.flip import OWN, Calls, Flip, Replaced, Site
from crosscheck.causes.flips.known_layouts import heads_of, layouts_between, merged_biases
from crosscheck.causes.flips.narrowing import narrowed
from crosscheck.causes.flips.table import FLIPS
from crosscheck.compare import compare
from crosscheck.judging.rows import KIND, Row
from crosscheck.pairing.layouts import Layouts, canonical
from crosscheck.recording import record
from crosscheck.recording.arguments import Arguments
from crosscheck.recording.axis_order import aligned, orders_used
from crosscheck.recording.recording import Recording
from crosscheck.recording.side import Side
from crosscheck.recording.values import Options
from crosscheck.report import Report
from shared.arrays import Arrays
from shared.errors import IsogradError

FEW_RUNS = 2
CLOSED = 2.0**-12  # derived: half of float32's digits; of a larger gap, a share this small is another one's rounding


class Attempt(NamedTuple):
    """A catalogue row, the flip in words, the comparison with it, and how far it moves a row's tensor.

    `in_both` means that the gap closes if both sides make this mistake; otherwise the flip fixes one side.
    """

    row: str
    what: str
    compared: Callable[[], Report]
    moves: Callable[[Row], float] | None = None
    in_both: bool = False


def flips_of(side: Side, report: Report, layouts: Layouts | None = None, is_narrowed: bool = True) -> Iterator[Attempt]:
    """Flips of the torch side against the recorded JAX run, which needs no second compilation: first everywhere, then
    only where the two sides diverge.

    A recorded torch side can't be flipped, but its weights can be inspected.
    """
    if report.recordings is None or report.first_divergence is None:
        return
    ours, theirs = report.recordings
    if report.first_divergence.phase == "parameters":
        yield from _layouts(side.module, ours, theirs, report)
        return
    if side.recorded is not None:
        return
    everywhere = flipped_by(FLIPS, side, report, layouts or {})
    for flipped in everywhere:
        yield Attempt(flipped.flip.divergence, flipped.flip.what, flipped.compared, flipped.moves)
    if is_narrowed:
        for flipped in everywhere:
            flip, (places, found, _) = flipped.flip, narrowed(flipped, report)
            if places:
                yield Attempt(flip.divergence, f"{flip.what} in {places}", functools.partial(replace, found))


def flipped_by(flips: Sequence[Flip], side: Side, report: Report, layouts: Layouts) -> list["Flipped"]:
    """The torch side with each of the flips, everywhere, against the recorded sides of a report."""
    if report.recordings is None:
        return []
    ours, theirs = report.recordings
    given = side.with_own(ours.arguments or ((), {}))
    return [Flipped(flip, side, given, ours, theirs, layouts) for flip in flips]


def calls_of(side: Side, report: Report) -> dict[Any, set[str]]:
    """The torch functions that a run of the torch side calls, with the paths of the modules that call each."""
    if report.recordings is None or not isinstance(side.module, torch.nn.Module):
        return {}
    ours, calls = report.recordings[0], Calls()
    mode = Replaced(Flip("", "", calls))
    calls.open = mode.open
    module = copy.deepcopy(side.module)
    mode.watch(module)
    options = replace(quick(ours), gradients=False, updates=0)
    with mode:
        record.run(replace(side, module=module, own={}), side.with_own(ours.arguments or ((), {})), options)
    return calls.paths


@dataclass(frozen=True)
class Flipped:
    """The torch side with one flip, everywhere or at some sites, after those `before`; `calls` counts replaced calls by
    module."""

    flip: Flip
    side: Side
    arguments: Arguments
    ours: Recording
    theirs: Recording
    layouts: Layouts
    where: tuple[Site, ...] = ()
    calls: Counter[str] = field(default_factory=Counter)
    before: tuple["Flipped", ...] = ()

    def compared(self) -> Report:
        """The comparison with the recorded JAX side; raises IsogradError if the flip does not fit the module."""
        found = self._changed()
        values = replace(
            found.values,
            inputs=self.ours.values.inputs,
            parameters=self.ours.values.parameters,
            updates={} if self.flip.weights else found.values.updates,
        )
        return compare(replace(found, values=values, arguments=self.ours.arguments), self.theirs, name=self.ours.name)

    def moves(self, row: Row) -> float:
        """How far the flip moves the row's tensor, relative to its norm."""
        return moved(self._changed(), self.ours, row)

    def error_of(self, row: Row) -> float:
        """The error of a row with the flip: if it is a forward one, without a backward pass."""
        options = quick(self.ours)
        if row.kind in ("intermediate", "output"):
            until = row.tensor if row.kind == "intermediate" else ""
            options = replace(options, gradients=False, updates=0, noise_runs=0, until=until)
        field = KIND[row.kind].attribute
        new, old, other = (
            getattr(each.values, field).get(row.tensor) for each in (self._changed(options), self.ours, self.theirs)
        )
        if old is not None and other is not None and KIND[row.kind].is_inside:
            both = (each.values.intermediates for each in (self.ours, self.theirs))
            other = aligned(old, other, orders_used(*both))
        if new is None or old is None or other is None or new.shape != other.shape:
            return float("inf")
        return row.error * criterion.difference(new, other) / (criterion.difference(old, other) or 1.0)

    def forward(self) -> Recording:
        """The recording of the forward pass with the flip, without its noise."""
        return self._changed(replace(self.ours.options, gradients=False, updates=0, noise_runs=0))

    @contextlib.contextmanager
    def applied(self) -> Iterator[tuple[Side, Arguments, list[Replaced]]]:
        """The torch side and its arguments with this flip and those before, which hold while the context is open."""
        module, arguments = self.side.module, self.arguments
        modes = []
        for each in (*self.before, self):
            paths = [path.removeprefix(OWN) for path, _ in each.where]
            module, arguments = changed(module, arguments, each.flip, paths)
            modes.append(Replaced(each.flip, each.where))
        if isinstance(module, torch.nn.Module) and any(each.flip.functions for each in (*self.before, self)):
            module = copy.deepcopy(module)
            for mode in modes:
                mode.watch(module)
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.set_grad_enabled(torch.is_grad_enabled()))  # a flip may keep it from being reset
            for mode in modes:
                stack.enter_context(mode)
            yield replace(self.side, module=module, own={}), arguments, modes

    def _changed(self, options: Options | None = None) -> Recording:
        with self.applied() as (side, arguments, modes):
            found = record.run(side, arguments, options or quick(self.ours))
        self.calls.clear()
        self.calls.update(modes[-1].calls)
        if self.flip.functions and self.flip.layers is None and not modes[-1].used:
            raise IsogradError("this flip does not apply: the module never calls the function that it replaces")
        gradients = found.values.parameter_gradients
        for each in (*self.before, self):
            gradients = each._undone(gradients, [path for path, _ in each.where])
        found = replace(found, values=replace(found.values, parameter_gradients=gradients))
        return canonical(found, self.layouts)

    def _undone(self, gradients: Arrays, paths: Sequence[str]) -> Arrays:
        if self.flip.undo is None:
            return gradients
        found = {name: self.flip.undo(name, array) for name, array in gradients.items() if is_below(name, paths)}
        return {**gradients, **{name: array for name, array in found.items() if array is not None}}


def quick(recorded: Recording) -> Options:
    """The options of a recording with fewer noise runs: a wrong flip is off by far more than the noise."""
    return replace(recorded.options, noise_runs=FEW_RUNS)


def _layouts(torch_module: Any, ours: Recording, theirs: Recording, report: Report) -> Iterator[Attempt]:
    """Layouts that turn every differing torch weight into JAX's, found by inspection without rerunning anything."""
    wrong = [row.tensor for row in report.disagreements if row.kind == "parameter"]
    found: list[dict[str, str]] = [{} for _ in wrong]
    for name, words in zip(wrong, found, strict=True):
        pair = ours.values.parameters[name], theirs.values.parameters[name]
        for row, what in layouts_between(*pair, heads_of(torch_module), name):
            words.setdefault(row, what)
    for row, what in merged_biases(ours.values.parameters, theirs.values.parameters, wrong):
        for words in found:
            words.setdefault(row, what)
    for row in found[0] if found else ():
        if all(row in each for each in found):
            yield Attempt(row, f"{found[0][row]} ({', '.join(wrong[:3])})", functools.partial(replace, report, rows=[]))


def moved(new: Recording, old: Recording, row: Row) -> float:
    """How far the row's tensor has moved, relative to its norm."""
    arrays = [getattr(side.values, KIND[row.kind].attribute).get(row.tensor) for side in (new, old)]
    if any(array is None for array in arrays):
        raise IsogradError(f"{row.label} was not recorded")
    return criterion.difference(*arrays) / (criterion.norm(arrays[1]) or 1.0)
