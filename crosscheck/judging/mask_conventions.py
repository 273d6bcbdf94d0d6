"""Masks with the same meaning but different values on the two sides: inverted, or filled with a different large number.

Such a mask as an input is no fault in itself, as long as the code that produced the first differing tensor ignored it.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from crosscheck.judging.rows import Row, Statistics
from crosscheck.recording.tracing import call_of, end_of
from crosscheck.recording.values import Call

PACKED = "in_proj_"  # weight names used only by torch.nn.MultiheadAttention, which hides where other layers keep
HIDDEN = -1e3  # derived: exp of this is 0 even in float64, so a softmax gives such a score no weight


def is_mask_by_convention(row: Row) -> bool:
    """True for a mask that may hide the same positions on both sides with different values."""
    if row.agrees or row.kind != "intermediate" or end_of(row.tensor) != "in" or row.shape != row.jax_shape:
        return False
    size = math.prod(row.shape)
    if all(0 <= side.smallest <= side.largest <= 1 and not side.not_finite for side in row.statistics):
        return row.error == size  # booleans, every one inverted
    ours, theirs = (_number_hidden(side, size) for side in row.statistics)
    return ours is not None and ours == theirs


def _number_hidden(side: Statistics, size: int) -> int | None:
    """How many entries of an additive mask hide a score; None if it is no additive mask."""
    if side.largest != 0 or HIDDEN < side.smallest < 0:
        return None
    return round(side.mean / side.smallest * size) if side.smallest else side.not_finite


def reads_mask(name: str, fault: Row, masks: Sequence[Row], rows: Sequence[Row], calls: Mapping[str, Call]) -> bool:
    """True if the call whose code made the tensor at fault may have misread one of the masks: it received the mask,
    passed it to no inner call, and nothing indicates a mere difference in convention."""
    given = [mask for mask in masks if call_of(mask.tensor) == name]
    if given and not fault.bound and all(side.largest <= 1 for side in fault.statistics):
        return True  # a mask made from the given one: only floats have a nonzero bound
    if not given or any(calls[call_of(mask.tensor)].inside == name for mask in masks):
        return False
    before = list(itertools.takewhile(lambda row: row is not fault, (r for r in rows if r.kind == "intermediate")))
    parameters = [row.tensor for row in rows if row.kind == "parameter"]
    is_torch_attention = any(part.startswith(PACKED) for part in _parts(calls[name].path, parameters))
    return not (
        is_torch_attention or _is_read_inside(name, before, parameters, calls) or _is_read_before(given, before)
    )


def _is_read_inside(name: str, before: Sequence[Row], parameters: Sequence[str], calls: Mapping[str, Call]) -> bool:
    """True if a composite module that the call ran exactly once gave equal results: that module has read the mask.

    The step of a recurrent layer runs many times and has not: the layer itself reads the mask.
    """
    times = Counter(call.path for call in calls.values() if call.inside == name)
    made = {call.path for call in (calls[call_of(row.tensor)] for row in before) if times[call.path] == 1}
    return any("." in part or part.startswith(PACKED) for path in made for part in _parts(path, parameters))


def _is_read_before(given: Sequence[Row], before: Sequence[Row]) -> bool:
    """True if an earlier similar call gave equal results with an unequal mask, whose row has been settled."""
    names = {row.tensor for row in before}
    masks = {_like(mask.tensor) for mask in given}
    outs = {call_of(name) for name in names if end_of(name) == "out"}
    return any(
        f"{call} {tap}" not in names for call in outs for like, tap in masks if _like(f"{call} {tap}") == (like, tap)
    )


def _like(tap: str) -> tuple[str, str]:
    """The call without its numbers, and its end: the same for all layers of a stack."""
    return re.sub(r"\d+", "", call_of(tap)).rstrip("#"), tap.rpartition(" ")[2]


def _parts(path: str, parameters: Sequence[str]) -> list[str]:
    """The parameters of a module, by their names relative to it."""
    return [name[len(path) + 1 :] for name in parameters if name.startswith(f"{path}.")]
