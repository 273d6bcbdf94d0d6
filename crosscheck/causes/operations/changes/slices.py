"""Another part of a tensor: an index, or the bounds of a slice, of one read or of two that go together."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from crosscheck.causes.operations.operation import Operation

READ = "__getitem__"
MOST = 6  # reads that are changed two at a time
Index = Any


def slices(operations: Sequence[Operation]) -> Iterator[tuple[list[Operation], str, str, Callable[..., Any]]]:
    """Reads of other parts: each alone, then two together, as logits and labels that are shifted."""
    reads = [each for each in operations if each.name == READ and len(each.args) == 2]
    for each in reads:
        for index in _others(each.args[1], each.args[0]):
            yield (
                [each],
                "D99",
                f"{each.words} reads {index_in_words(index)}, not {index_in_words(each.args[1])}",
                _reads([each], [index]),
            )
    for pair in itertools.combinations(reads[:MOST], 2):
        if pair[0].place != pair[1].place:
            for both in itertools.product(*(_others(each.args[1], each.args[0]) for each in pair)):
                said = " and ".join(
                    f"{each.words} {index_in_words(index)}" for each, index in zip(pair, both, strict=True)
                )
                yield [*pair], "D99", f"other parts read: {said}", _reads(pair, both)


def _others(index: Index, x: Tensor) -> list[Index]:
    parts = index if isinstance(index, tuple) else (index,)
    found = []
    for number, part in enumerate(parts):
        axis = number - len(parts) if Ellipsis in parts[:number] else number
        for new in _other(part, x.shape[axis] if Ellipsis in parts or number < x.ndim else 0):
            whole = (*parts[:number], new, *parts[number + 1 :])
            found.append(whole if isinstance(index, tuple) else whole[0])
    return found


def _other(part: Any, size: int) -> list[Any]:
    """Another index of an axis: the first, the last, the one before or after; a slice one longer or shorter, at either
    end, or at the other end."""
    if isinstance(part, int) and not isinstance(part, bool):
        return [each for each in dict.fromkeys((0, -1, part + 1, part - 1)) if each != part]
    if not isinstance(part, slice) or part == slice(None):
        return []
    start, stop = part.start, part.stop
    starts = [start + 1, start - 1 or None] if isinstance(start, int) else [] if start else [1]
    stops = [stop + 1 or None, stop - 1] if isinstance(stop, int) else [] if stop else [-1]
    ends = [slice(-len(range(size)[part]), None) if not start else slice(None, len(range(size)[part]))] if size else []
    steps = [slice(start, stop, each) for each in (2, None) if each != part.step]
    if part.step not in (None, 1):
        steps += [slice((start or 0) + each, stop, part.step) for each in range(1, part.step)]
    return [
        *ends,
        *(slice(each, stop, part.step) for each in starts),
        *(slice(start, each, part.step) for each in stops),
        *steps,
    ]


def _reads(calls: Sequence[Operation], new: Sequence[Index]) -> Callable[..., Any]:
    def read(function: Any, x: Tensor, index: Index) -> Any:
        found = (other for each, other in zip(calls, new, strict=True) if _is(each.args[1], index))
        return function(x, next(found, index))

    return read


def _is(index: Index, other: Index) -> bool:
    return repr(index) == repr(other)


def index_in_words(index: Index) -> str:
    """An index as it is written."""
    parts = index if isinstance(index, tuple) else (index,)
    return f"[{', '.join(map(_part, parts))}]"


def _part(part: Any) -> str:
    if not isinstance(part, slice):
        return "..." if part is Ellipsis else str(part)
    ends = [str(each) if each is not None else "" for each in (part.start, part.stop)]
    return ":".join([*ends, *([] if part.step is None else [str(part.step)])])
