"""Operands of two calls of one function exchanged, such as the shares of a token and of the one before."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crosscheck.causes.flips.mistakes.functions import is_floats
from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region

MOST = 8  # calls whose operands are exchanged two by two


def exchanged_operands(region: Region) -> Iterator[tuple[list[Operation], str, str, Callable[..., Any]]]:
    """Each operand of one call exchanged for each of the same shape of another call of its function, as numbers: their
    gradients stay where they were."""
    calls = [each for each in region.ours if each.place is not None and each.args][:MOST]
    for one, other in itertools.combinations(calls, 2):
        if one.function is other.function and one.site != other.site:
            for places in itertools.product(range(len(one.args)), range(len(other.args))):
                pair = [each.args[place] for each, place in zip((one, other), places, strict=True)]
                if all(map(is_floats, pair)) and pair[0].shape == pair[1].shape and not torch.equal(*pair):
                    what = f"operand {places[0] + 1} of {one.words} and {places[1] + 1} of {other.words} exchanged"
                    new = {one.site: (places[0], pair[1]), other.site: (places[1], pair[0])}
                    yield [one, other], "D99", what, _with(new)


def _with(new: dict[Any, tuple[int, Tensor]]) -> Callable[..., Any]:
    kept = {site: (place, np.array(tensor.detach().numpy())) for site, (place, tensor) in new.items()}

    def call(function: Any, at: tuple[str, int], *args: Any, **kwargs: Any) -> Any:
        place, array = kept.get((f"@{at[0]}", at[1]), (None, None))
        if place is not None:
            own = args[place]
            args = (*args[:place], own + (torch.tensor(array, dtype=own.dtype) - own).detach(), *args[place + 1 :])
        return function(*args, **kwargs)

    return call
