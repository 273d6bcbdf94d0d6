"""Masks that say the same on both sides in other numbers: the other way round, or filled with another large number.

Such a mask that goes into a call is no fault by itself where what parts first has not read it.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from crosscheck.judging.rows import Row, Statistics
from crosscheck.recording.tracing import call_of, end_of
from crosscheck.recording.values import Call

PACKED = "in_proj_"  # how torch.nn.MultiheadAttention alone calls its weights; it hides where others keep
HIDDEN = -1e3  # derived: e to this is 0 even in float64, so a softmax gives such a score no weight


def is_mask_by_convention(row: Row) -> bool:
    """True of a mask that may hide the same on both sides, in other numbers."""
    if row.agrees or row.kind != "intermediate" or end_of(row.tensor) != "in" or row.shape != row.jax_shape:
        return False
    size = math.prod(row.shape)
    if all(0 <= side.smallest <= side.largest <= 1 and not side.not_finite for side in row.statistics):
        return row.error == size  # booleans, of which every one is another
    ours, theirs = (_number_hidden(side, size) for side in row.statistics)
    return ours is not None and ours == theirs


def _number_hidden(side: Statistics, size: int) -> int | None:
    """How many numbers hide, of a mask that is added to scores; None if it is no such mask."""
    if side.largest != 0 or HIDDEN < side.smallest < 0:
        return None
    return round(side.mean / side.smallest * size) if side.smallest else side.not_finite


def reads_mask(name: str, fault: Row, masks: Sequence[Row], rows: Sequence[Row], calls: Mapping[str, Call]) -> bool:
    """True if the call whose code made the tensor at fault may have read one of the masks with another meaning: it was
    given it and kept it to itself, and nothing speaks for the convention."""
    given = [mask for mask in masks if call_of(mask.tensor) == name]
    if given and not fault.bound and all(side.largest <= 1 for side in fault.statistics):
        return True  # a mask made of the one that was given: only floats have a bound
    if not given or any(calls[call_of(mask.tensor)].inside == name for mask in masks):
        return False
    before = list(itertools.takewhile(lambda row: row is not fault, (r for r in rows if r.kind == "intermediate")))
    parameters = [row.tensor for row in rows if row.kind == "parameter"]
    is_torch_attention = any(part.startswith(PACKED) for part in _parts(calls[name].path, parameters))
    return not (
        is_torch_attention or _is_read_inside(name, before, parameters, calls) or _is_read_before(given, before)
    )


def _is_read_inside(name: str, before: Sequence[Row], parameters: Sequence[str], calls: Mapping[str, Call]) -> bool:
    """True if something made of parts, which the call had made once, has given equal results: it has read the mask.

    The step of a recurrent layer, made again and again, has not: the layer reads the mask beside it.
    """
    times = Counter(call.path for call in calls.values() if call.inside == name)
    made = {call.path for call in (calls[call_of(row.tensor)] for row in before) if times[call.path] == 1}
    return any("." in part or part.startswith(PACKED) for path in made for part in _parts(path, parameters))


def _is_read_before(given: Sequence[Row], before: Sequence[Row]) -> bool:
    """True if an earlier call of its like gave equal results, though its mask, whose row is settled, was not equal."""
    names = {row.tensor for row in before}
    masks = {_like(mask.tensor) for mask in given}
    outs = {call_of(name) for name in names if end_of(name) == "out"}
    return any(
        f"{call} {tap}" not in names for call in outs for like, tap in masks if _like(f"{call} {tap}") == (like, tap)
    )


def _like(tap: str) -> tuple[str, str]:
    """The call without its numbers, and the end of it: alike for the layers of a stack."""
    return re.sub(r"\d+", "", call_of(tap)).rstrip("#"), tap.rpartition(" ")[2]


def _parts(path: str, parameters: Sequence[str]) -> list[str]:
    """The parameters of a module, by their names from there."""
    return [name[len(path) + 1 :] for name in parameters if name.startswith(f"{path}.")]
