"""Attempts to close a gap: each flip of the torch side is run against the JAX side on record."""

import copy
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from crosscheck import criterion, recording
from crosscheck.compare import compare
from crosscheck.flips.flip import Flip, Replaced
from crosscheck.flips.layouts import heads_of, layouts_between
from crosscheck.flips.modules import changed_weights
from crosscheck.flips.table import FLIPS
from crosscheck.isolation import canonical
from crosscheck.recording import Recording
from crosscheck.report import Report
from crosscheck.rows import KIND, Row
from crosscheck.values import Arrays, Options, map_arguments
from shared.errors import IsogradError
from torch_impl.weights import to_numpy, to_tensor

FEW_RUNS = 2


class Attempt(NamedTuple):
    """A row of the catalogue, what is flipped in words, the comparison with it, and how far it moves a row's tensor.

    `in_both` says that the gap is gone if both sides make this mistake; else one side is mended.
    """

    row: str
    what: str
    compared: Callable[[], Report]
    moves: Callable[[Row], float] | None = None
    in_both: bool = False


def flips_of(torch_module: Any, report: Report, options: dict[str, Any]) -> Iterator[Attempt]:
    """Flips of the torch side against the JAX run on record, which needs no second compilation.

    A torch side that is a recording itself can't be flipped, but its weights can be looked at.
    """
    if report.recordings is None or report.first_divergence is None:
        return
    ours, theirs = report.recordings
    if report.first_divergence.phase == "parameters":
        yield from _layouts(torch_module, ours, theirs, report)
        return
    if isinstance(torch_module, Recording | str | Path):
        return
    given = recording.with_own(ours.arguments or ((), {}), options.get("torch_arguments"))
    for flip in FLIPS:
        changed = _changed(torch_module, given, flip)
        if changed is not None:
            flipped = _Flipped(flip, *changed, ours, theirs, options)
            yield Attempt(flip.divergence, flip.what, flipped.compared, flipped.moves)


@dataclass(frozen=True)
class _Flipped:
    """The torch side with one flip."""

    flip: Flip
    module: Any
    arguments: Any
    ours: Recording
    theirs: Recording
    options: dict[str, Any]

    def compared(self) -> Report:
        """The comparison with the JAX side on record; raises IsogradError if the flip does not fit the module."""
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

    def _changed(self) -> Recording:
        optimizer = (self.options.get("optimizers") or (None,))[0]
        with Replaced(self.flip.functions) as mode:
            found = recording.run("torch", self.module, self.arguments, quick(self.ours), self.ours.name, optimizer)
        if self.flip.functions and not mode.used:
            raise IsogradError("the module does not call what this flip changes")
        gradients = self._undone(found.values.parameter_gradients)
        found = replace(found, values=replace(found.values, parameter_gradients=gradients))
        return canonical(found, self.options.get("layouts") or {})

    def _undone(self, gradients: Arrays) -> Arrays:
        if self.flip.undo is None:
            return gradients
        found = {name: (self.flip.undo(name, array), array) for name, array in gradients.items()}
        return {name: array if undone is None else undone for name, (undone, array) in found.items()}


def _changed(module: Any, arguments: Any, flip: Flip) -> tuple[Any, Any] | None:
    """A copy of the module and the arguments with the flip made; None if there is nothing to change."""
    if flip.layers is not None:
        module = copy.deepcopy(module)
        return (module, arguments) if isinstance(module, torch.nn.Module) and flip.layers(module) else None
    if flip.weights is not None:
        if not isinstance(module, torch.nn.Module):
            return None
        module = copy.deepcopy(module)
        parameters = dict(module.named_parameters())
        changed = changed_weights({name: to_numpy(p) for name, p in parameters.items()}, flip)
        for name, array in changed.items():
            parameters[name].data = to_tensor(array, parameters[name].device)
        return (module, arguments) if changed else None
    if flip.inputs is not None:
        found: list[bool] = []

        def change(name: str, array: np.ndarray) -> np.ndarray:
            new = flip.inputs(name, array)
            found.append(new is not None)
            return array if new is None else new

        arguments = map_arguments(change, *arguments)
        return (module, arguments) if any(found) else None
    return module, arguments


def quick(recorded: Recording) -> Options:
    """The options of a recording with the noise measured in few runs: a wrong flip is off by far more."""
    return replace(recorded.options, noise_runs=FEW_RUNS)


def _layouts(torch_module: Any, ours: Recording, theirs: Recording, report: Report) -> Iterator[Attempt]:
    """Layouts that turn every differing weight of torch's into JAX's: found by looking, nothing is run again."""
    wrong = [row.tensor for row in report.disagreements if row.kind == "parameter"]
    found: list[dict[str, str]] = [{} for _ in wrong]
    for name, words in zip(wrong, found, strict=True):
        pair = ours.values.parameters[name], theirs.values.parameters[name]
        for row, what in layouts_between(*pair, heads_of(torch_module)):
            words.setdefault(row, what)
    for row in found[0] if found else ():
        if all(row in each for each in found):
            yield Attempt(row, f"{found[0][row]} ({', '.join(wrong[:3])})", functools.partial(replace, report, rows=[]))


def moved(new: Recording, old: Recording, row: Row) -> float:
    """How far the row's tensor has moved, relative to its norm."""
    arrays = [getattr(side.values, KIND[row.kind].attribute).get(row.tensor) for side in (new, old)]
    if any(array is None for array in arrays):
        raise IsogradError(f"{row.label} is not on record")
    return criterion.difference(*arrays) / (criterion.norm(arrays[1]) or 1.0)
