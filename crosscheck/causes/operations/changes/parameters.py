"""A parameter used otherwise: taken from 1, negated, with 1 added, transposed."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from crosscheck.causes.operations.region import Region

PARAMETER = "parameter"
Change = Callable[[np.ndarray], np.ndarray]


class Use(NamedTuple):
    """How a parameter is used, and how its gradient follows."""

    change: Change
    undo: Change


USES = {
    "taken from 1": Use(lambda w: 1 - w, np.negative),
    "negated": Use(np.negative, np.negative),
    "with 1 added": Use(lambda w: 1 + w, lambda g: g),
    "with 1 taken off": Use(lambda w: w - 1, lambda g: g),
    "transposed": Use(np.transpose, np.transpose),
}


def parameters(region: Region) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The parameters that the region's operations read, each used otherwise."""
    for each in region.shared:
        if each.name == PARAMETER and each.line:
            for what, use in USES.items():
                new = use.change(each.result)
                if new.shape == each.result.shape and new.any() and not np.array_equal(new, each.result):
                    how = {"weights": _of(each.line, use.change), "undo": _of(each.line, use.undo)}
                    yield "D99", f"{each.line} {what}", how


def _of(name: str, change: Change) -> Callable[[str, np.ndarray], np.ndarray | None]:
    return lambda other, array: np.ascontiguousarray(change(array)) if other == name else None
