"""Runs modules in isolation, on the inputs and cotangents of the torch run, free of the errors of other modules."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from crosscheck.judging.first_divergence import Found, find_first
from crosscheck.judging.judge import judge, uneven_calls
from crosscheck.judging.rows import KIND, Row, share_of_bound
from crosscheck.pairing.comparison import Comparison
from crosscheck.pairing.layouts import Layouts
from crosscheck.pairing.renaming import inside, module_path
from crosscheck.recording import record
from crosscheck.recording.side import Side
from crosscheck.recording.tracing import Captured, end_of
from crosscheck.recording.values import Values
from shared.arrays import Arrays
from shared.errors import IsogradError

RESULTS = {"intermediate": "out", "intermediate gradient": "in"}  # the end of a call where a module's results leave it


class Alone(NamedTuple):
    """One call of a module in isolation: the row with the largest error relative to its bound, and any fault."""

    worst: Row | None
    found: Found | None


def isolate(whole: Comparison, below: str = "") -> dict[str, list[Alone]]:
    """The first call of every module below a path, for each of its methods, by path, in call order.

    A module is skipped if it can't be compared in isolation, because the two sides call it with different arguments or
    nest its outputs differently.
    """
    from crosscheck.recording import torch_side
    from crosscheck.recording.jax_modules import submodules

    whole = replace(whole, options=replace(whole.options, updates=0))
    values = record.run(whole.ours, whole.arguments, whole.options).values
    arguments = record.rounded(whole.ours.with_own(whole.arguments), whole.options.dtype)
    captured = torch_side.capture(whole.ours.module, arguments, whole.options)
    layers = {module_path(path, whole.rules): (path, layer) for path, layer in submodules(whole.theirs.module).items()}
    inner = f"{below}." if below else ""
    results: dict[str, list[Alone]] = {}
    for call, kept in captured.items():
        if kept.path in layers and kept.path != below and f"{kept.path}.".startswith(inner) and "#" not in call:
            with contextlib.suppress(IsogradError):
                alone = _compare_alone(_part(whole, kept, *layers[kept.path], _cotangents(call, kept, values)))
                results.setdefault(kept.path, []).append(alone)
    return results


def _part(whole: Comparison, kept: Captured, jax_path: str, layer: Any, cotangents: Arrays) -> Comparison:
    """The comparison of one submodule in isolation, on the arguments of one call."""
    from crosscheck.recording import torch_side

    return Comparison(
        Side("torch", torch_side.submodule(whole.ours.module, kept.path), kept.path),
        Side("jax", layer, kept.path),
        kept.arguments,
        replace(whole.options, method=kept.method, cotangents=cotangents),
        inside(whole.rules, jax_path, kept.path),
        _inside(whole.layouts, kept.path),
    )


def _compare_alone(part: Comparison) -> Alone:
    ours, theirs = part.recordings()
    rows = judge(ours, theirs)
    counted = [row for row in rows if not KIND[row.kind].is_inside]
    worst = max(counted, key=share_of_bound, default=None)
    agrees = all(row.agrees for row in counted)
    return Alone(
        worst, None if agrees else find_first(rows, ours.values.calls, uneven_calls(ours.values, theirs.values))
    )


def _inside(layouts: Layouts, path: str) -> Layouts:
    """The layouts at and below a module, by paths relative to it."""
    return {f"{p}."[len(path) + 1 : -1]: layout for p, layout in layouts.items() if f"{p}.".startswith(f"{path}.")}


def _cotangents(call: str, kept: Captured, whole: Values) -> Arrays:
    """The gradients that reached the call's outputs, by output name."""
    found = {name: whole.intermediate_gradients.get(f"{call} out[{i}]") for i, name in enumerate(kept.outputs)}
    return {name: array for name, array in found.items() if array is not None}


def innermost(isolated: Mapping[str, list[Alone]], rows: Iterable[Row] = ()) -> Found | None:
    """The fault of a module that is wrong in isolation without a wrong module inside: the first in execution order,
    forward before backward.

    `rows` are those of the full run: a module that gives the same results there is not at fault, even if it differs in
    isolation, where it receives torch's arguments (such as a mask of the opposite polarity).
    """
    settled = _settled(rows)
    wrong: dict[str, Found] = {}
    for path, calls in isolated.items():
        for alone in calls:
            if alone.found is not None and (path, _is_backward(alone.found)) not in settled:
                wrong.setdefault(path, alone.found)
    inner = [path for path in wrong if not any(other.startswith(f"{path}.") for other in wrong)]
    forward = [path for path in inner if not _is_backward(wrong[path])]
    for path in forward[:1] or inner[-1:]:
        return wrong[path]._replace(module=".".join(part for part in (path, wrong[path].module) if part))
    return None


def _is_backward(found: Found) -> bool:
    return found.phase.endswith("gradient")


def _settled(rows: Iterable[Row]) -> set[tuple[str, bool]]:
    """(path, is backward) of the modules whose results all agree in the full run: outputs, or gradients of inputs and
    parameters."""
    results: dict[tuple[str, bool], bool] = {}
    for row in rows:
        key = row.module, row.kind != "intermediate"
        if RESULTS.get(row.kind) == end_of(row.tensor):
            results[key] = results.get(key, True) and row.agrees
        elif row.kind == "parameter gradient" and not row.agrees:
            results[key] = False
    return {key for key, agrees in results.items() if agrees}
