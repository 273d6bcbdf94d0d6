"""JAX's tensor in place of torch's, where the two differ: what is one of the other then says more than a flip."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from crosscheck.causes.operations.in_torch import BUFFER
from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region
from crosscheck.causes.operations.relation import relation
from crosscheck.recording.axis_order import in_their_order

Arrays = Sequence[np.ndarray]
ROW = "D99"
MOST = 4  # calls of one line of JAX's in a step of its loop


def tensors(
    operation: Operation, region: Region
) -> Iterator[tuple[tuple[Operation, Operation], str, str, Callable[..., Any]]]:
    """The results of the calls of one place as those of JAX's in the region, unless that is all that differs, with the
    first operations that do."""
    calls = region.calls_of(operation)
    if region.target in calls or operation.result.dtype.kind not in "fiub" or not operation.result.size:
        return
    ours = np.stack([each.result for each in calls]) if _have_one_shape(calls) else None
    if ours is None:
        return
    for words, theirs in _theirs(operation, len(calls), region):
        arrays = [np.asarray(_in_shape(each.result, operation.result.shape)) for each in theirs]
        if not np.array_equal(np.stack(arrays), ours):
            how = relation(ours if len(calls) > 1 else ours[0], np.stack(arrays) if len(calls) > 1 else arrays[0])
            what = f"JAX's {words} in place of {operation.words}{f': {how}' if how else ''}"
            first = next(n for n, array in enumerate(arrays) if not np.array_equal(array, calls[n].result))
            yield (calls[first], theirs[first]), ROW, what, _in_place(calls, arrays)


def buffers(region: Region) -> Iterator[tuple[Operation, str, str, Callable[[nn.Module], bool]]]:
    """The buffers of the region as those of JAX's tensors that have their shape."""
    for operation in region.ours:
        if operation.name.startswith(BUFFER) and operation is not region.target:
            for words, (theirs,) in _theirs(operation, 1, region):
                array = np.asarray(_in_shape(theirs.result, operation.result.shape))
                how = relation(operation.result, array)
                what = f"JAX's {words} in place of {operation.name}{f': {how}' if how else ''}"
                yield operation, ROW, what, _held(operation.name.removeprefix(BUFFER), array)


def _held(name: str, array: np.ndarray) -> Callable[[nn.Module], bool]:
    def change(root: nn.Module) -> bool:
        buffer = dict(root.named_buffers()).get(name)
        if buffer is not None:
            buffer.data = torch.tensor(array).to(buffer.dtype)
        return buffer is not None

    return change


def _have_one_shape(calls: Sequence[Operation]) -> bool:
    return len({each.result.shape for each in calls}) == 1


def _theirs(operation: Operation, number: int, region: Region) -> Iterator[tuple[str, list[Operation]]]:
    """As many of JAX's operations whose results fit as there are calls, of one line and primitive."""
    shape = operation.result.shape
    found: dict[tuple[str, str, tuple[int, ...]], list[Operation]] = {}
    for each in region.theirs[:-1]:
        made = region.made(each)
        found.setdefault((made.name, made.line, each.result.shape), []).append(each)
    for (name, line, _), alike in found.items():
        first = alike[0].result
        is_alike = first.dtype.kind in "fiub" and (first.dtype.kind == "b") == (operation.result.dtype.kind == "b")
        if _in_shape(first, shape) is None or not is_alike or len(alike) % number:
            continue
        step = len(alike) // number
        for start in range(min(step, MOST)):
            for chosen in (alike[start::step], alike[start::step][::-1]) if number > 1 else (alike[start::step],):
                yield f"{name} ({line})" if line else name, chosen


def _in_shape(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    if array.size != int(np.prod(shape)):
        return None
    if [size for size in array.shape if size > 1] == [size for size in shape if size > 1]:
        return array.reshape(shape)
    return in_their_order(array, shape)


def _in_place(calls: Sequence[Operation], arrays: Arrays) -> Callable[..., Any]:
    """JAX's numbers with the gradient of torch's."""
    of_path: dict[str, list[np.ndarray]] = {}
    for each, array in zip(calls, arrays, strict=True):
        of_path.setdefault(each.site[0].removeprefix("@"), []).append(array)

    def call(function: Any, at: tuple[str, int], *args: Any, **kwargs: Any) -> Any:
        own, here = function(*args, **kwargs), of_path[at[0]]
        new = torch.tensor(here[at[1] % len(here)]).to(own.dtype)
        return own + (new - own).detach() if own.dtype.is_floating_point else new

    return call
