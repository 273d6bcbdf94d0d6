"""Pairs the calls of the two sides, and the tensors that they are given, where ports call their modules differently.

A module called more often on one side (a dead call, a shared norm) has its calls paired by what they are given; the
arguments of a call are paired by their names in the signature, then by position.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from crosscheck import criterion
from crosscheck.pairing.renaming import with_calls
from crosscheck.recording.nesting import is_float
from crosscheck.recording.tracing import Slot, call_of
from crosscheck.recording.values import Call, Values
from shared.arrays import Arrays

ALIKE = (
    2.0**-12
)  # derived: half of float32's digits; what is given to a call agrees by more, unless a fault came before


def paired(theirs: Values, ours: Values) -> Values:
    """JAX's values with its calls, and the tensors given to them, under the numbers of torch's."""
    names = _numbers_of_calls(theirs, ours)
    if any(name != new for name, new in names.items()):
        theirs = with_calls(theirs, names, {name: call.path for name, call in theirs.calls.items()})
    taps: dict[str, str] = {}
    calls = dict(theirs.calls)
    for name, call in theirs.calls.items():
        if name in ours.calls:
            numbers = _numbers_of_arguments(name, call, ours.calls[name], theirs.intermediates, ours.intermediates)
            taps |= {f"{name} in[{old}]": f"{name} in[{new}]" for old, new in numbers.items() if old != new}
            calls[name] = call._replace(arguments=_in_order(call.arguments, numbers))
    return replace(_with_taps(theirs, taps), calls=calls) if taps else theirs


def _numbers_of_calls(theirs: Values, ours: Values) -> dict[str, str]:
    """JAX's calls by their names -> torch's names; where one side calls a module more often, by what it is given."""
    mine, other = (Counter(name.partition("#")[0] for name in side.calls) for side in (ours, theirs))
    names = {name: name for name in theirs.calls}
    for base in mine:
        if other[base] and mine[base] != other[base]:
            found = _by_content(*([n for n in side.calls if n.partition("#")[0] == base] for side in (ours, theirs)),
                                ours.intermediates, theirs.intermediates)  # fmt: skip
            names |= found
    return names


def _by_content(ours: list[str], theirs: list[str], mine: Arrays, other: Arrays) -> dict[str, str]:
    """Each of JAX's calls with the first of torch's that is given the same, the rest in order; what is left over gets
    a number that torch's calls don't have."""
    left, found = list(ours), {}
    for name in theirs:
        same = next((each for each in left if _are_alike(each, name, mine, other)), None)
        if same is not None:
            found[name] = same
            left.remove(same)
    more = iter(f"{ours[0].partition('#')[0]}#{number}" for number in range(len(ours), len(ours) + len(theirs)))
    for name in theirs:
        if name not in found:
            found[name] = left.pop(0) if left and len(theirs) <= len(ours) else next(more)
    return found


def _are_alike(ours: str, theirs: str, mine: Arrays, other: Arrays) -> bool:
    """True if the two calls are given tensors that agree but for rounding to float32."""
    pairs = [(array, other[theirs + name[len(ours) :]]) for name, array in mine.items()
             if name.startswith(f"{ours} in[") and theirs + name[len(ours) :] in other]  # fmt: skip
    floats = [(a, b) for a, b in pairs if is_float(a.dtype) and a.shape == b.shape]
    return bool(floats) and all(criterion.difference(a, b) <= ALIKE * criterion.norm(a) for a, b in floats)


def _numbers_of_arguments(name: str, theirs: Call, ours: Call, other: Arrays, mine: Arrays) -> dict[int, int]:
    """JAX's number of each tensor given to a call -> torch's: the same name, else the next one left that looks alike;
    one that torch is not given has a number beyond torch's."""
    if theirs.arguments == ours.arguments:
        return {}
    left = {number: argument for number, argument in enumerate(ours.arguments) if argument}
    found: dict[int, int] = {}
    for number, argument in enumerate(theirs.arguments):
        same = next((k for k, each in left.items() if each == argument), None) if argument else None
        if same is not None:
            found[number] = same
            del left[same]
    for number in range(len(theirs.arguments)):
        if number not in found:
            array = other.get(f"{name} in[{number}]")
            same = next((k for k in left if _may_be(array, mine.get(f"{name} in[{k}]"))
                         and _is_free(theirs.arguments[number], ours) and _is_free(left[k], theirs)), None)  # fmt: skip
            found[number] = len(ours.arguments) + number if same is None else same
            left.pop(same, None) if same is not None else None
    return found


def _is_free(argument: str, other: Call) -> bool:
    """True for an argument that the other side's signature does not have under the same name."""
    return argument.partition("[")[0].partition(".")[0] not in other.accepts


def _may_be(theirs: np.ndarray | None, ours: np.ndarray | None) -> bool:
    if theirs is None or ours is None:
        return False
    return is_float(theirs.dtype) == is_float(ours.dtype) and sorted(theirs.shape) == sorted(ours.shape)


def _in_order(arguments: tuple[str, ...], numbers: Mapping[int, int]) -> tuple[str, ...]:
    """The names at their new numbers, with "" where there is none."""
    if not numbers:
        return arguments
    new = {numbers[old]: argument for old, argument in enumerate(arguments)}
    return tuple(new.get(number, "") for number in range(1 + max(new, default=-1)))


def _with_taps(values: Values, names: Mapping[str, str]) -> Values:
    def renamed(arrays: Arrays) -> Arrays:
        return {names.get(name, name): array for name, array in arrays.items()}

    captured = {
        call: each._replace(arguments=each.filled(lambda tap: Slot(names.get(tap, tap))))
        if any(call_of(name) == call for name in names) else each
        for call, each in values.captured.items()
    }  # fmt: skip
    return replace(
        values,
        intermediates=renamed(values.intermediates),
        intermediate_gradients=renamed(values.intermediate_gradients),
        captured=captured,
    )
