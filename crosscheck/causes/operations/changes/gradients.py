"""Another gradient of an operation whose result stays: stopped, passed on as it is, reversed or scaled."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from crosscheck.causes.flips.mistakes.functions import is_floats
from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region

STOPPED, ROW = "D93", "D99"
MOST = 10  # operations that are stopped two at a time
ROUNDING = 1e-9  # derived: some hundred roundings of float64
Change = Callable[[Tensor], Tensor]


def gradients(operations: Sequence[Operation]) -> Iterator[tuple[list[Operation], str, str, Callable[..., Any]]]:
    """Operations with another gradient, the last first, then two that are stopped together."""
    made = [each for each in reversed(operations) if each.result.dtype.kind in "fc" and each.inputs]
    for each in made:
        yield [each], STOPPED, f"the gradient of {each.words} stopped", _after(Tensor.detach)
        for number, operand in enumerate(each.args):
            if is_floats(operand):
                yield [each], STOPPED, f"no gradient into operand {number + 1} of {each.words}", _before(number)
        if each.args and is_floats(each.args[0]) and each.args[0].shape == each.result.shape:
            yield [each], STOPPED, f"the gradient of {each.words} passed on as it is", _straight
    for pair in itertools.combinations(made[:MOST], 2):
        what = f"the gradients of {pair[0].words} and {pair[1].words} stopped"
        if pair[0].function is not pair[1].function:
            yield [*pair], STOPPED, what, _after(Tensor.detach)


def scaled(region: Region) -> Iterator[tuple[str, str, Callable[[nn.Module], bool]]]:
    """The gradient that differs times the number that JAX's is of it."""
    factor = _factor(*region.slopes)
    if factor is None:
        return
    words = {0.0: "stopped", -1.0: "reversed"}.get(factor, f"times {factor:.6g}")
    row = STOPPED if factor == 0 else ROW
    yield row, f"the gradient of {region.tap} {words}", _hooked(region.tap, factor)


def _factor(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """What JAX's gradient is of torch's, if one number; None if it isn't, or 1."""
    if ours.shape != theirs.shape or ours.dtype.kind != "f" or not ours.any():
        return None
    factor = float((ours * theirs).sum() / np.square(ours).sum())
    is_one = np.linalg.norm(theirs - factor * ours) <= ROUNDING * np.linalg.norm(ours)
    near = round(factor, 9)
    return near if is_one and near != 1 else None


def _hooked(tap: str, factor: float) -> Callable[[nn.Module], bool]:
    """The gradient of a parameter, or of what a module returns, times a number."""

    def change(root: nn.Module) -> bool:
        parameter = dict(root.named_parameters()).get(tap)
        if parameter is not None:
            parameter.register_hook(lambda gradient: gradient * factor)
            return True
        call, _, place = tap.rpartition(" out[")
        module = dict(root.named_modules()).get(call) if call and place == "0]" else None
        if module is not None:
            module.register_forward_hook(lambda _, __, found: _times(found, factor) if is_floats(found) else found)
        return module is not None

    return change


def _times(x: Tensor, factor: float) -> Tensor:
    return x * factor + (x * (1 - factor)).detach()


def _after(change: Change) -> Callable[..., Any]:
    return lambda function, *args, **kwargs: change(function(*args, **kwargs))


def _before(number: int) -> Callable[..., Any]:
    return lambda function, *args, **kwargs: function(
        *args[:number], args[number].detach(), *args[number + 1 :], **kwargs
    )


def _straight(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return x + (function(x, *args, **kwargs) - x).detach()
