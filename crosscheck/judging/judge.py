"""Judges two recordings tensor by tensor: one row per tensor, with its error and bound."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crosscheck import criterion
from crosscheck.judging.rows import KIND, KINDS, Kind, Row, Statistics, worst_element
from crosscheck.recording.axis_order import aligned, orders_used
from crosscheck.recording.nesting import is_float
from crosscheck.recording.noise import Noise
from crosscheck.recording.recording import PROOF_DTYPE, Recording
from crosscheck.recording.tracing import call_of, end_of
from crosscheck.recording.values import BIASED, Call, Values
from shared.arrays import Arrays
from shared.training_state import AVERAGE, WEIGHTS

GRADIENTS = ("input_gradients", "parameter_gradients", "intermediate_gradients")


@dataclass(frozen=True)
class Scale:
    """The largest norm in a group of tensors; errors of smaller tensors are measured relative to it. A gradient that is
    zero in theory (a key bias) is noise on both sides, and so is the optimiser state that it leads to."""

    gradients: float
    moments: Mapping[str, float]

    @staticmethod
    def of(values: Values) -> "Scale":
        gradients = [
            g for field in GRADIENTS if field != "intermediate_gradients" for g in getattr(values, field).values()
        ]
        moments: dict[str, float] = {}
        for name, array in values.updates.items():
            group = _group(name)
            moments[group] = max(moments.get(group, 0.0), criterion.norm(array))
        return Scale(max(map(criterion.norm, gradients), default=0.0), moments)

    def floor(self, field: str, name: str) -> float:
        """The smallest norm to measure one tensor's error against."""
        if field in GRADIENTS:
            return self.gradients
        if field == "updates" and name.count("/") > 1 and name.split("/")[1] not in (WEIGHTS, AVERAGE):
            return self.moments[_group(name)]
        return 0.0


def _group(name: str) -> str:
    """The group of a training-state tensor: "2/exp_avg" for "2/exp_avg/norm.weight"."""
    return "/".join(name.split("/", 2)[:2])


def judge(ours: Recording, theirs: Recording) -> list[Row]:
    """Rows in the order of `KINDS`; intermediates that only one side has are skipped (see `unmatched`)."""
    noise = ours.noise
    scale = Scale.of(ours.values if noise is None else noise.oracle)
    rows = []
    for kind in KINDS:
        mine, other = (getattr(side.values, kind.attribute) for side in (ours, theirs))
        for name, array in _pairs(kind, mine, other):
            candidates = [each for each in (name, name + BIASED) if each in mine]
            judged = {n: verdict_of(kind, n, mine[n], array, scale, noise, ours.options.dtype) for n in candidates}
            name = min(judged, key=lambda n: judged[n].error)
            rows.append(row_of(kind, name, mine[name], array, judged[name], ours.values))
    return rows


def _pairs(kind: Kind, ours: Arrays, theirs: Arrays) -> Iterator[tuple[str, np.ndarray]]:
    used = orders_used(ours, theirs) if kind.is_inside else set()
    for name in ours:
        if name in theirs:
            other = theirs[name]
            if kind.is_inside:
                found = aligned(ours[name], other, used)
                if found is None or is_float(ours[name].dtype) != is_float(other.dtype):
                    continue
                other = found
            yield name, other


def verdict_of(
    kind: Kind,
    name: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    scale: Scale,
    noise: Noise | None,
    dtype: np.dtype,
) -> criterion.Verdict:
    """Error and bound of one tensor: integers, booleans and inputs must be equal; shapes and dtypes always must."""
    if ours.shape != theirs.shape or is_float(ours.dtype) != is_float(theirs.dtype):
        return criterion.Verdict(float("inf"), 0.0)
    if kind.name == "input" or not is_float(ours.dtype):
        return criterion.Verdict(float(np.count_nonzero(ours != theirs)), 0.0)
    floor = scale.floor(kind.attribute, name)
    if noise is None or dtype == PROOF_DTYPE:
        return criterion.prove(ours, theirs, floor)
    oracle = getattr(noise.oracle, kind.attribute).get(name)
    if oracle is None or oracle.shape != ours.shape:
        return criterion.Verdict(float("inf"), 0.0)
    moved = noise.movement[kind.attribute][name]
    return criterion.compare_noise(ours, theirs, floor, oracle, moved, criterion.unit_roundoff(dtype))


def row_of(
    kind: Kind, name: str, ours: np.ndarray, theirs: np.ndarray, verdict: criterion.Verdict, values: Values
) -> Row:
    """One tensor as a row; `values` are torch's."""
    index, torch_value, jax_value = worst_element(ours, theirs)
    both = (ours, theirs) if verdict.error > verdict.bound or verdict.error != verdict.error else ()
    return Row(
        tensor=name,
        kind=kind.name,
        module=_module(kind, name, values),
        shape=ours.shape,
        jax_shape=theirs.shape,
        error=verdict.error,
        bound=verdict.bound,
        sensitivity=verdict.sensitivity,
        undecided=verdict.undecided,
        worst_index=index,
        torch_value=torch_value,
        jax_value=jax_value,
        statistics=tuple(Statistics.of(array) for array in both),
    )


def _module(kind: Kind, name: str, values: Values) -> str:
    """The path of the module that a tensor belongs to."""
    if kind.is_inside:
        return values.calls[call_of(name)].path
    if kind.name in ("parameter", "parameter gradient", "running statistic", "update"):
        return name.split("/")[-1].rpartition(".")[0]
    return ""


def decisive(rows: Sequence[Row], calls: Mapping[str, Call]) -> list[Row]:
    """The rows that can locate the fault. Differences at the inputs of a call and inside it don't count if all its
    results agree, forward (a mask of the opposite polarity) or backward; neither does a tensor of a different shape if
    the next comparable one agrees (padding versus truncation)."""
    results, passed = _results(rows, calls), _passed_over(rows)
    return [
        row
        for row in rows
        if row.agrees or not KIND[row.kind].is_inside or not (row in passed or _is_settled(row, results, calls))
    ]


def _results(rows: Sequence[Row], calls: Mapping[str, Call]) -> dict[tuple[str, str], bool]:
    """(kind, call) -> whether all results of a pass through the call agree: outputs, or gradients of inputs and
    parameters.

    Outputs settle nothing where the call turns equal gradients into different ones: behind a gate of zeros only
    gradients show what is wrong, and gradients of zero settle nothing where those of parameters differ.
    """
    ends = {(row.kind, call_of(row.tensor), end_of(row.tensor)): True for row in rows if KIND[row.kind].is_inside}
    for row in rows:
        if KIND[row.kind].is_inside:
            ends[row.kind, call_of(row.tensor), end_of(row.tensor)] &= row.agrees
    wrong = [row.module for row in rows if row.kind == "parameter gradient" and not row.agrees]
    results: dict[tuple[str, str], bool] = {}
    for name, call in calls.items():
        given, made = (ends.get(("intermediate gradient", name, end)) for end in ("out", "in"))
        is_wrong = any(f"{module}.".startswith(f"{call.path}.") for module in wrong)
        results["intermediate gradient", name] = bool(made) and not is_wrong
        turned = bool(given) and (made is False or is_wrong)
        results["intermediate", name] = ends.get(("intermediate", name, "out"), False) and not turned
    return results


def _passed_over(rows: Sequence[Row]) -> list[Row]:
    """Rows of inner tensors with different shapes if the next comparable one agrees, and all such gradients."""
    found, agrees = [], all(row.agrees for row in rows if row.kind == "output")
    for row in reversed(rows):
        if row.kind == "intermediate" and row.shape == row.jax_shape:
            agrees = row.agrees
        elif KIND[row.kind].is_inside and row.shape != row.jax_shape and (agrees or row.kind != "intermediate"):
            found.append(row)
    return found


def _is_settled(row: Row, results: Mapping[tuple[str, str], bool], calls: Mapping[str, Call]) -> bool:
    call = call_of(row.tensor)
    while call and not results.get((row.kind, call)):
        call = calls[call].inside
    return bool(call)


def uneven_calls(ours: Values, theirs: Values) -> set[str]:
    """Calls that are given a tensor on one side only, such as when a mask is omitted, although the other side takes it
    too."""
    return {call for call in ours.calls if call in theirs.calls and _is_uneven(ours.calls[call], theirs.calls[call])}


def _is_uneven(ours: Call, theirs: Call) -> bool:
    mine, other = (set(filter(None, call.arguments)) for call in (ours, theirs))
    if not (ours.accepts and theirs.accepts) or set(ours.accepts) == set(theirs.accepts):
        return len(mine) != len(other)
    return any(_root(name) in ours.accepts and _root(name) in theirs.accepts for name in mine ^ other)


def _root(argument: str) -> str:
    """ "states[1]" -> "states"."""
    return re.split(r"[.\[]", argument)[0]


def unmatched(ours: Recording, theirs: Recording) -> dict[str, list[str]]:
    """Paths of the modules called on one side only, except those inside the other side's loops."""
    paths = {side.side: {call.path for call in side.values.calls.values()} for side in (ours, theirs)}
    hidden = {*ours.values.hidden, *theirs.values.hidden}
    alone = {
        side: [
            path for path in dict.fromkeys(call.path for call in recording.values.calls.values()) if path not in other
        ]
        for side, recording, other in (("torch", ours, paths[theirs.side]), ("jax", theirs, paths[ours.side]))
    }
    return {side: [path for path in found if path and path not in hidden] for side, found in alone.items()}
