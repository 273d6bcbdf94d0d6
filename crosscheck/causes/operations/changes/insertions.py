"""An operation more: a function, a factor or a term that JAX has, before or after one of torch's."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from crosscheck.causes.flips.mistakes.functions import is_floats
from crosscheck.causes.operations.changes.exchanges import ONE, row_of_sum
from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region

MOST = 16  # tensors and numbers that are tried as operands
Change = Callable[[Tensor], Tensor]
Changes = Callable[[Operation, Region], Iterator[tuple[str, str, Change]]]


def insertions(operation: Operation, region: Region) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """The operation with one more on its result, then on each of its operands."""
    yield from _inserted(operation, list(of_one(operation, region)))


def insertions_of_two(operation: Operation, region: Region) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """The operation with one more on its result, or on an operand, that takes a tensor which both sides have."""
    yield from _inserted(operation, list(of_two(operation, region)))


def _inserted(
    operation: Operation, changes: list[tuple[str, str, Change]]
) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    if operation.result.dtype.kind in "fc":
        for row, what, change in changes:
            yield row, f"the result of {operation.words} {what}", _after(change)
    for number, each in enumerate(operation.args):
        if is_floats(each):
            for row, what, change in changes:
                yield row, f"operand {number + 1} of {operation.words} {what}", _before(number, change)


def of_one(operation: Operation, region: Region) -> Iterator[tuple[str, str, Change]]:
    """Changes of a tensor by functions, numbers and sizes."""
    for name in dict.fromkeys(each.name for each in region.theirs if each.name in ONE):
        yield "D99", f"through {name}", ONE[name]
    if any(each.name in ("exp", "reduce_max") for each in region.theirs):
        yield "D99", "through a softmax over the last axis", lambda x: x.softmax(-1)
    mine = {number for each in region.ours for number in each.numbers}
    theirs = dict.fromkeys(number for each in region.theirs for number in each.numbers if math.isfinite(number))
    for number in sorted((each for each in theirs if each), key=lambda each: each in mine)[:MOST]:
        yield "D81", f"times {number:.6g}", _times(number)
        yield "D81", f"divided by {number:.6g}", _times(1 / number)
        yield "D99", f"plus {number:.6g}", _plus(number)
        yield "D99", f"minus {number:.6g}", _plus(-number)
        yield "D99", f"raised to {number:.6g}", _power(number)
        yield "D99", f"at least {number:.6g}", _least(number)
        yield "D99", f"at most {number:.6g}", _most(number)
        if operation.result.dtype.kind == "c":
            yield from _parts(number)
    for number, words in ((2.0, "times 2"), (0.5, "times 1/2")):
        yield "D81", words, _times(number)
    sizes = dict.fromkeys(size for each in operation.args if is_floats(each) for size in each.shape if size > 1)
    for size in sizes:
        for power, words in ((0.5, "sqrt({})"), (-0.5, "1/sqrt({})"), (1.0, "{}"), (-1.0, "1/{}")):
            yield "D81", f"times {words.format(size)}", _times(size**power)
    yield from COMPLEMENTS
    if operation.result.dtype.kind == "c":
        yield from OF_COMPLEX
    yield "D99", "plus 1", _plus(1.0)
    yield "D99", "less its mean over the last axis", lambda x: x - x.mean(-1, keepdim=True)
    yield "D99", "divided by its sum over the last axis", lambda x: x / x.sum(-1, keepdim=True)
    yield "D99", "divided by its norm over the last axis", lambda x: x / x.norm(dim=-1, keepdim=True)
    yield "D99", "squared", torch.square


def of_two(operation: Operation, region: Region) -> Iterator[tuple[str, str, Change]]:
    """Changes of a tensor by the numbers of another that both sides have."""
    for each in [each for each in region.shared if each.result.dtype.kind in "fb"][:MOST]:
        tensor = torch.tensor(each.result)
        yield row_of_sum([tensor]), f"plus {each.words}", lambda x, y=tensor: x + y.to(x.dtype)
        yield "D99", f"times {each.words}", lambda x, y=tensor: x * y.to(x.dtype)
        yield "D99", f"divided by {each.words}", lambda x, y=tensor: x / y.to(x.dtype)


def complements(operation: Operation, region: Region) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """The result taken from 1, or negated."""
    if operation.result.dtype.kind in "fb":
        for row, what, change in COMPLEMENTS:
            yield row, f"the result of {operation.words} {what}", _after(change)


def _complement(x: Tensor) -> Tensor:
    return ~x if x.dtype == torch.bool else 1 - x


COMPLEMENTS: tuple[tuple[str, str, Change], ...] = (("D99", "taken from 1", _complement), ("D99", "negated", torch.neg))


OF_COMPLEX: tuple[tuple[str, str, Change], ...] = (
    ("D90", "conjugated", torch.conj), ("D99", "times i", lambda x: x * 1j), ("D99", "times -i", lambda x: x * -1j),
    ("D99", "with its parts exchanged", lambda x: torch.complex(x.imag, x.real)),
    ("D99", "without its imaginary part", lambda x: x.real.to(x.dtype)),
)  # fmt: skip


def _parts(number: float) -> Iterator[tuple[str, str, Change]]:
    yield "D99", f"with its imaginary part times {number:.9g}", lambda x: torch.complex(x.real, x.imag * number)
    yield "D99", f"with its real part times {number:.9g}", lambda x: torch.complex(x.real * number, x.imag)


def entering(region: Region, changes: Changes) -> Iterator[tuple[str, str, Callable[[nn.Module], bool]]]:
    """What enters the module at the region's tap, with one operation more on it."""
    call, _, place = region.tap.rpartition(" in[")
    if not call or "#" in call:
        return
    for row, what, change in changes(region.target, region):
        yield row, f"what enters {call} {what}", _hooked(call, int(place[:-1]), change)


def leaving(region: Region, changes: Changes) -> Iterator[tuple[str, str, Callable[[nn.Module], bool]]]:
    """What a module returns, if that is one tensor, with one operation more on it."""
    for row, what, change in changes(region.target, region):
        yield row, f"what {region.path or 'the module'} returns {what}", _returned(region.path, change)


def _returned(path: str, change: Change) -> Callable[[nn.Module], bool]:
    def hook(module: nn.Module, args: tuple[Any, ...], found: Any) -> Any:
        return change(found) if isinstance(found, Tensor) else None

    return registered(path, lambda module: module.register_forward_hook(hook))


def _hooked(path: str, number: int, change: Change) -> Callable[[nn.Module], bool]:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*args[:number], change(args[number]), *args[number + 1 :])

    return registered(path, lambda module: module.register_forward_pre_hook(hook))


def registered(path: str, register: Callable[[nn.Module], object]) -> Callable[[nn.Module], bool]:
    """A change of a model that hooks its module at the path; it returns whether there is one."""

    def add(root: nn.Module) -> bool:
        module = dict(root.named_modules()).get(path)
        if module is not None:
            register(module)
        return module is not None

    return add


def _times(number: float) -> Change:
    return lambda x: x * number


def _plus(number: float) -> Change:
    return lambda x: x + number


def _power(number: float) -> Change:
    return lambda x: x**number


def _least(number: float) -> Change:
    return lambda x: x.clamp_min(number)


def _most(number: float) -> Change:
    return lambda x: x.clamp_max(number)


def _after(change: Change) -> Callable[..., Any]:
    return lambda function, *args, **kwargs: change(function(*args, **kwargs))


def _before(number: int, change: Change) -> Callable[..., Any]:
    return lambda function, *args, **kwargs: function(
        *args[:number], change(args[number]), *args[number + 1 :], **kwargs
    )
