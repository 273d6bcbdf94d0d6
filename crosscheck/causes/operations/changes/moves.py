"""An operation moved past the module that it feeds, or that feeds it: a norm before an activation, or behind it."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from crosscheck.causes.flips.flip import OWN
from crosscheck.causes.flips.mistakes.functions import is_floats
from crosscheck.causes.operations.changes.insertions import registered
from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region

Layers = Callable[[nn.Module], bool]


def moves(region: Region) -> Iterator[tuple[Operation, str, str, Callable[..., Any], Layers]]:
    """The operation to leave out at its place, and the change of the module at the region's tap that makes it there."""
    path, _, place = region.tap.rpartition(" in[")
    if not path or "#" in path or place != "0]":
        return
    inside = {n for n, each in enumerate(region.run) if f"{each.site[0].removeprefix(OWN)}.".startswith(f"{path}.")}
    if _is_of_one(region.target):
        words = f"{region.target.words} behind {path}, not before it"
        yield region.target, "D99", words, _left_out, _behind(path, region.target)
    for n, each in enumerate(region.run):
        if n not in inside and inside.intersection(each.inputs) and _is_of_one(each):
            yield each, "D99", f"{each.words} before {path}, not behind it", _left_out, _before(path, each)


def _is_of_one(operation: Operation) -> bool:
    """True if a call maps one tensor to one of its shape."""
    args = operation.args
    is_single = sum(isinstance(each, Tensor) for each in (*args, *operation.kwargs.values())) == 1
    return is_single and operation.place is not None and is_floats(args[0]) and args[0].shape == operation.result.shape


def _left_out(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return x.clone()


def _made(operation: Operation, x: Any) -> Any:
    function: Any = operation.function
    return function(x, *operation.args[1:], **operation.kwargs) if isinstance(x, Tensor) else x


def _behind(path: str, operation: Operation) -> Layers:
    def hook(module: nn.Module, args: Any, found: Any) -> Any:
        return _made(operation, found)

    return registered(path, lambda module: module.register_forward_hook(hook))


def _before(path: str, operation: Operation) -> Layers:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (_made(operation, args[0]), *args[1:])

    return registered(path, lambda module: module.register_forward_pre_hook(hook))
