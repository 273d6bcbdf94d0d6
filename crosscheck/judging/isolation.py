"""Runs modules in isolation, on the inputs and cotangents of the torch run, free of the errors of other modules.

The JAX module is called as its own side calls it, with torch's tensors in the places of its own; where JAX's call is
not on record, since it ran in a loop, it is called as torch calls its module.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from crosscheck.judging.decision import FLOAT32_GAP
from crosscheck.judging.first_divergence import Found, find_first
from crosscheck.judging.judge import judge, uneven_calls
from crosscheck.judging.rows import KIND, Row, share_of_bound
from crosscheck.pairing.comparison import Comparison
from crosscheck.pairing.layouts import Layouts
from crosscheck.pairing.renaming import inside, module_path
from crosscheck.recording import record
from crosscheck.recording.arguments import Arguments
from crosscheck.recording.axis_order import in_their_order, orders_used
from crosscheck.recording.nesting import is_float, map_arguments
from crosscheck.recording.recording import PROOF_DTYPE, Recording
from crosscheck.recording.side import Side
from crosscheck.recording.tracing import Captured, end_of
from crosscheck.recording.values import WIDENED, Values
from shared.arrays import Arrays
from shared.errors import IsogradError

RESULTS = {"intermediate": "out", "intermediate gradient": "in"}  # the end of a call where a module's results leave it


class Alone(NamedTuple):
    """One call of a module in isolation: the row with the largest error relative to its bound, any fault, why it can't
    run, whether the gap is no more than casts to float32, and JAX's outputs in torch's axis order by tap."""

    worst: Row | None
    found: Found | None
    reason: str = ""
    is_rounding: bool = False
    outputs: Arrays = {}


def isolate(
    whole: Comparison,
    below: str = "",
    recordings: tuple[Recording, Recording] | None = None,
    is_pruned: bool = False,
) -> dict[str, list[Alone]]:
    """The first call of every module below a path, for each of its methods, by path, in call order.

    `recordings` are those of the full run, if it has been made. `is_pruned` skips what is inside a module that agrees.
    """
    whole = replace(whole, options=replace(whole.options, updates=0))
    ours, theirs = recordings or whole.recordings()
    layers = layers_of(whole)
    inner = f"{below}." if below else ""
    results: dict[str, list[Alone]] = {}
    for call, at in ours.values.calls.items():
        is_inside = at.path != below and f"{at.path}.".startswith(inner)
        if is_inside and "#" not in call and not (is_pruned and _is_cleared(at.path, results)):
            results.setdefault(at.path, []).append(_alone(call, at.path, whole, ours.values, theirs.values, layers))
    return results


def layers_of(whole: Comparison) -> dict[str, tuple[str, Any]]:
    """JAX's modules with their own paths, by torch's."""
    from crosscheck.recording.jax_modules import submodules

    given = record.rounded(whole.theirs.with_own(whole.arguments), whole.options.dtype)
    with record.in_precision(whole.options):
        found = submodules(whole.theirs.module, given, whole.options)
    return {module_path(path, whole.rules): (path, layer) for path, layer in found.items()}


def _is_cleared(path: str, results: Mapping[str, list[Alone]]) -> bool:
    """True if a module around this one agrees in isolation."""
    return any(
        path.startswith(f"{other}.") and all(alone.worst is not None and alone.found is None for alone in calls)
        for other, calls in results.items()
    )


def _alone(
    call: str, path: str, whole: Comparison, ours: Values, theirs: Values, layers: Mapping[str, tuple[str, Any]]
) -> Alone:
    try:
        return _compare_alone(call, part_of(call, path, whole, ours, theirs, layers))
    except IsogradError as error:
        return Alone(None, None, str(error).partition("\n")[0])


def part_of(
    call: str, path: str, whole: Comparison, ours: Values, theirs: Values, layers: Mapping[str, tuple[str, Any]]
) -> Comparison:
    """The comparison of one call's module in isolation; raises IsogradError if it can't be made, which says why."""
    reason = _why_not(call, path, ours, theirs, layers)
    if reason:
        raise IsogradError(reason)
    kept = ours.captured[call]
    arguments = kept.filled(lambda tap: ours.intermediates[tap])
    number = len(theirs.captured[call].outputs) if call in theirs.captured else len(kept.outputs)
    part = _part(whole, kept, *layers[path], arguments, _cotangents(call, kept.outputs, number, ours))
    if call not in theirs.calls:
        return part
    given, names = _as_called(call, ours, theirs)
    orders = frozenset(orders_used(ours.intermediates, theirs.intermediates))
    return replace(part, given=given, names=names, orders=orders)


def _why_not(call: str, path: str, ours: Values, theirs: Values, layers: Mapping[str, tuple[str, Any]]) -> str:
    """Why the two sides' modules can't be compared alone; empty if they can."""
    if path not in layers:
        return "JAX has no such module"
    if call not in ours.captured:
        return "torch passes something other than tensors and plain values, such as a PackedSequence"
    if call not in theirs.calls:
        return "" if path in theirs.hidden else "JAX never calls it"
    return "" if call in theirs.captured else "JAX's call can't be repeated"


def _as_called(call: str, ours: Values, theirs: Values) -> tuple[Arguments, dict[str, str]]:
    """JAX's own arguments with torch's tensors in the places of its own, and its names of these -> torch's."""
    names: dict[str, str] = {}
    args, kwargs = theirs.captured[call].filled(lambda tap: _Tapped(tap, _shared(tap, ours, theirs)))
    torch_names: dict[str, str] = {}
    map_arguments(
        lambda name, each: torch_names.setdefault(each.tap, name),
        *ours.captured[call].filled(lambda t: _Tapped(t, None)),
    )

    def unwrapped(name: str, each: _Tapped) -> Any:
        names[name] = torch_names.get(each.tap, f"jax {name}")
        return each.array

    return map_arguments(unwrapped, args, kwargs), names


class _Tapped:
    """A tap and its array, passed through a nesting as an array is."""

    dtype, shape = "", ()

    def __init__(self, tap: str, array: Any):
        self.tap, self.array = tap, array


def _shared(tap: str, ours: Values, theirs: Values) -> np.ndarray:
    """torch's tensor in JAX's axis order; JAX's own where torch has none, or where its mask is torch's inverted."""
    own, mine = theirs.intermediates[tap], ours.intermediates.get(tap)
    is_inverse = mine is not None and mine.dtype == own.dtype == np.bool_ and np.array_equal(mine, ~own)
    if mine is None or is_inverse or is_float(mine.dtype) != is_float(own.dtype):
        return own
    found = in_their_order(mine, own.shape)
    return own if found is None else found


def _part(
    whole: Comparison, kept: Captured, jax_path: str, layer: Any, arguments: Arguments, cotangents: Arrays
) -> Comparison:
    """The comparison of one submodule in isolation, on the arguments of one call."""
    from crosscheck.recording import torch_side

    return Comparison(
        Side("torch", torch_side.submodule(whole.ours.module, kept.path), kept.path),
        Side("jax", layer, kept.path),
        arguments,
        replace(whole.options, method=kept.method, cotangents=cotangents),
        inside(whole.rules, jax_path, kept.path),
        _inside(whole.layouts, kept.path),
        is_inner=True,
    )


def _compare_alone(call: str, part: Comparison) -> Alone:
    ours, theirs = part.recordings()
    rows = judge(ours, theirs)
    counted = [row for row in rows if not _is_inner(row)]
    worst = max(counted, key=share_of_bound, default=None)
    outputs = {f"{call} out[{number}]": array for number, array in enumerate(theirs.values.outputs.values())}
    if all(row.agrees for row in counted):
        return Alone(worst, None, outputs=outputs)
    found = find_first(rows, ours.values.calls, uneven_calls(ours.values, theirs.values))
    return Alone(worst, found, is_rounding=_is_rounding(worst, part), outputs=outputs)


def _is_rounding(worst: Row | None, part: Comparison) -> bool:
    """True if the error is as small as float32's rounding, and all but gone if casts to float32 are read as float64."""
    if worst is None or worst.error > FLOAT32_GAP or part.options.dtype != PROOF_DTYPE:
        return False
    wide = replace(part, options=replace(part.options, widen=WIDENED))
    return all(row.error <= worst.error * FLOAT32_GAP for row in judge(*wide.recordings()) if not _is_inner(row))


def _is_inner(row: Row) -> bool:
    return KIND[row.kind].is_inside


def _inside(layouts: Layouts, path: str) -> Layouts:
    """The layouts at and below a module, by paths relative to it."""
    return {f"{p}."[len(path) + 1 : -1]: layout for p, layout in layouts.items() if f"{p}.".startswith(f"{path}.")}


def _cotangents(call: str, outputs: Sequence[str], number: int, whole: Values) -> Arrays:
    """The gradients that reached those of the call's outputs that JAX's, so many, have too, by output name; a lone
    output has a name of its own."""
    names = outputs if len(outputs) > 1 else ["output"]
    found = {name: whole.intermediate_gradients.get(f"{call} out[{i}]") for i, name in enumerate(names[:number])}
    kept = {name: array for name, array in found.items() if array is not None}
    if 1 in (len(names), number) and names[0] in kept:
        kept |= {"output": kept[names[0]], "output[0]": kept[names[0]]}
    return kept


def innermost(isolated: Mapping[str, list[Alone]], rows: Iterable[Row] = ()) -> Found | None:
    """The fault of a module that is wrong in isolation without a wrong module inside: the first in execution order,
    forward before backward, casts to float32 last."""
    wrong = wrong_alone(isolated, rows)
    inner = [path for path in wrong if not any(other.startswith(f"{path}.") for other in wrong)]
    inner = [path for path in inner if not is_rounding(isolated[path])] or inner
    forward = [path for path in inner if not _is_backward(wrong[path])]
    for path in forward[:1] or inner[-1:]:
        return wrong[path]._replace(module=".".join(part for part in (path, wrong[path].module) if part))
    return None


def is_rounding(calls: Iterable[Alone]) -> bool:
    """True if all that is wrong with these calls is casts to float32."""
    wrong = [alone for alone in calls if alone.found is not None]
    return bool(wrong) and all(alone.is_rounding for alone in wrong)


def wrong_alone(isolated: Mapping[str, list[Alone]], rows: Iterable[Row] = ()) -> dict[str, Found]:
    """The faults of all modules that are wrong in isolation, by path.

    `rows` are those of the full run: a module that gives the same results there is not at fault, even if it differs in
    isolation, where it receives torch's arguments (such as a mask of the opposite polarity).
    """
    settled = _settled(rows)
    wrong: dict[str, Found] = {}
    for path, calls in isolated.items():
        for alone in calls:
            if alone.found is not None and (path, _is_backward(alone.found)) not in settled:
                wrong.setdefault(path, alone.found)
    return wrong


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
