"""Modules by themselves, on the inputs and cotangents of the torch run: the errors of other modules are cut off."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from crosscheck import recording
from crosscheck.first_divergence import Found, find_first
from crosscheck.judging import judge, uneven_calls
from crosscheck.noise import Arguments
from crosscheck.renaming import Rules, inside, module_path, renamed
from crosscheck.rows import KIND, Row, share_of_bound
from crosscheck.tracing import Captured
from crosscheck.values import Options, Values


class Alone(NamedTuple):
    """One call of a module by itself: the row that stands highest against its bound, and the fault if there is one."""

    worst: Row | None
    found: Found | None


def isolate(
    torch_module: Any, jax_module: Any, arguments: Arguments, options: Options, rules: Rules, below: str = ""
) -> dict[str, list[Alone]]:
    """The first call of every module below a path, by each of its methods, by path, in the order of the calls."""
    from crosscheck import torch_side
    from crosscheck.jax_modules import submodules

    arguments, options = recording.rounded(arguments, options.dtype), replace(options, updates=0)
    whole = recording.run("torch", torch_module, arguments, options, "whole").values
    captured = torch_side.capture(torch_module, arguments, options)
    theirs = {module_path(path, rules): (path, layer) for path, layer in submodules(jax_module).items()}
    results: dict[str, list[Alone]] = {}
    for call, kept in captured.items():
        if kept.path.startswith(below) and kept.path != below and kept.path in theirs and "#" not in call:
            path, layer = theirs[kept.path]
            pair = torch_side.submodule(torch_module, kept.path), layer
            how = replace(options, method=kept.method, cotangents=_cotangents(call, kept, whole))
            results.setdefault(kept.path, []).append(_compare_alone(pair, kept, how, inside(rules, path, kept.path)))
    return results


def _compare_alone(pair: tuple[Any, Any], kept: Captured, options: Options, rules: Rules) -> Alone:
    ours, theirs = (
        recording.run(side, module, kept.arguments, options, kept.path)
        for side, module in zip(("torch", "jax"), pair, strict=True)
    )
    rows = judge(ours, replace(theirs, values=renamed(theirs.values, rules)))
    counted = [row for row in rows if not KIND[row.kind].is_inside]
    worst = max(counted, key=share_of_bound, default=None)
    agrees = all(row.agrees for row in counted)
    return Alone(
        worst, None if agrees else find_first(rows, ours.values.calls, uneven_calls(ours.values, theirs.values))
    )


def _cotangents(call: str, kept: Captured, whole: Values) -> dict[str, np.ndarray]:
    """The gradients that reached the call's outputs, under the names of the outputs."""
    found = {name: whole.intermediate_gradients.get(f"{call} out[{i}]") for i, name in enumerate(kept.outputs)}
    return {name: array for name, array in found.items() if array is not None}


def innermost(isolated: Mapping[str, list[Alone]]) -> Found | None:
    """The fault of the first module that is wrong by itself with no wrong module inside."""
    wrong = {path: alone.found for path, calls in isolated.items() for alone in calls if alone.found is not None}
    for path, found in wrong.items():
        if not any(other.startswith(f"{path}.") for other in wrong):
            return found._replace(module=".".join(part for part in (path, found.module) if part))
    return None
