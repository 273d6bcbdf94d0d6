"""Modules by themselves, on the inputs and cotangents of the torch run: the errors of other modules are cut off."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from crosscheck.judging.first_divergence import Found, find_first
from crosscheck.judging.judge import judge, uneven_calls
from crosscheck.judging.rows import KIND, Row, share_of_bound
from crosscheck.pairing.layouts import Layouts, canonical
from crosscheck.pairing.preconditions import check_pairing
from crosscheck.pairing.renaming import Rules, in_shapes_of, inside, module_path
from crosscheck.recording import record
from crosscheck.recording.arguments import Arguments
from crosscheck.recording.tracing import Captured, end_of
from crosscheck.recording.values import Options, Values
from shared.errors import IsogradError

RESULTS = {"intermediate": "out", "intermediate gradient": "in"}  # the end of a call at which a module's work comes out


class Alone(NamedTuple):
    """One call of a module by itself: the row that stands highest against its bound, and the fault if there is one."""

    worst: Row | None
    found: Found | None


def isolate(
    torch_module: Any,
    jax_module: Any,
    arguments: Arguments,
    options: Options,
    rules: Rules,
    layouts: Layouts | None = None,
    below: str = "",
) -> dict[str, list[Alone]]:
    """The first call of every module below a path, by each of its methods, by path, in the order of the calls.

    `arguments` are those of the torch side. A module that the two sides call with other arguments, or whose outputs are
    nested in another way, can't be compared by itself and is left out.
    """
    from crosscheck.recording import torch_side
    from crosscheck.recording.jax_modules import submodules

    arguments, options = record.rounded(arguments, options.dtype), replace(options, updates=0)
    whole = record.run("torch", torch_module, arguments, options, "whole").values
    captured = torch_side.capture(torch_module, arguments, options)
    theirs = {module_path(path, rules): (path, layer) for path, layer in submodules(jax_module).items()}
    inner = f"{below}." if below else ""
    results: dict[str, list[Alone]] = {}
    for call, kept in captured.items():
        if kept.path in theirs and kept.path != below and f"{kept.path}.".startswith(inner) and "#" not in call:
            path, layer = theirs[kept.path]
            pair = torch_side.submodule(torch_module, kept.path), layer
            how = replace(options, method=kept.method, cotangents=_cotangents(call, kept, whole))
            with contextlib.suppress(IsogradError):
                alone = _compare_alone(pair, kept, how, inside(rules, path, kept.path), layouts or {})
                results.setdefault(kept.path, []).append(alone)
    return results


def _compare_alone(pair: tuple[Any, Any], kept: Captured, options: Options, rules: Rules, layouts: Layouts) -> Alone:
    ours, theirs = (
        record.run(side, module, kept.arguments, options, kept.path)
        for side, module in zip(("torch", "jax"), pair, strict=True)
    )
    ours, theirs = (canonical(side, _inside(layouts, kept.path), rules) for side in (ours, theirs))
    theirs = replace(theirs, values=in_shapes_of(theirs.values, ours.values.parameters))
    check_pairing(ours, theirs, kept.path)
    rows = judge(ours, theirs)
    counted = [row for row in rows if not KIND[row.kind].is_inside]
    worst = max(counted, key=share_of_bound, default=None)
    agrees = all(row.agrees for row in counted)
    return Alone(
        worst, None if agrees else find_first(rows, ours.values.calls, uneven_calls(ours.values, theirs.values))
    )


def _inside(layouts: Layouts, path: str) -> Layouts:
    """The layouts at and below a module, by their paths from there."""
    return {f"{p}."[len(path) + 1 : -1]: layout for p, layout in layouts.items() if f"{p}.".startswith(f"{path}.")}


def _cotangents(call: str, kept: Captured, whole: Values) -> dict[str, np.ndarray]:
    """The gradients that reached the call's outputs, under the names of the outputs."""
    found = {name: whole.intermediate_gradients.get(f"{call} out[{i}]") for i, name in enumerate(kept.outputs)}
    return {name: array for name, array in found.items() if array is not None}


def innermost(isolated: Mapping[str, list[Alone]], rows: Iterable[Row] = ()) -> Found | None:
    """The fault of a module that is wrong by itself with no wrong module inside: the first of the run, which goes
    through the modules forwards, then backwards.

    `rows` are those of the whole run: a module that gives the same results there is at no fault, though it may do
    otherwise by itself, where its twin is handed torch's arguments (a mask of the other polarity).
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
    """(path, is backward) of the modules whose results all agree in the whole run: outputs, or the gradients of inputs
    and parameters."""
    results: dict[tuple[str, bool], bool] = {}
    for row in rows:
        key = row.module, row.kind != "intermediate"
        if RESULTS.get(row.kind) == end_of(row.tensor):
            results[key] = results.get(key, True) and row.agrees
        elif row.kind == "parameter gradient" and not row.agrees:
            results[key] = False
    return {key for key, agrees in results.items() if agrees}
