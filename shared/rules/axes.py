"""Axes by name, as in einops: "in heads size -> (heads size) in" turns a kernel of several heads into one matrix."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from shared.errors import IsogradError, WeightsError
from shared.lazy.arrays import LazyArray

Groups = tuple[tuple[str, ...], ...]  # axes of an array, each by the names of those that it is made of
GROUP = re.compile(r"\(([^()]*)\)|([^\s()]+)")


@dataclass(frozen=True)
class Axes:
    """How the axes of a source become those of its target; `sizes` are those that no shape tells."""

    source: Groups
    target: Groups
    sizes: Mapping[str, int]

    def forth(self, name: str, array: LazyArray) -> LazyArray:
        """The source's array with the axes of the target."""
        return self._moved(name, array, self.source, self.target)

    def back(self, name: str, array: LazyArray) -> LazyArray:
        """The target's array with the axes of the source."""
        return self._moved(name, array, self.target, self.source)

    def _moved(self, name: str, array: LazyArray, old: Groups, new: Groups) -> LazyArray:
        found = self._sizes_of(name, array.shape, old)
        single, order = tuple(found.values()), [list(found).index(axis) for group in new for axis in group]
        shape = tuple(math.prod(found[axis] for axis in group) for group in new)
        return LazyArray(shape, array.dtype, partial(_rearranged, array, single, order, shape))

    def _sizes_of(self, name: str, shape: tuple[int, ...], groups: Groups) -> dict[str, int]:
        """The size of every single axis; raises WeightsError for a shape that does not fit."""
        if len(shape) != len(groups):
            raise WeightsError(f"{name} has the shape {shape}, but the axes {_told(groups)}")
        found: dict[str, int] = {}
        for size, group in zip(shape, groups, strict=True):
            unknown = [axis for axis in group if axis not in self.sizes]
            known = math.prod(self.sizes[axis] for axis in group if axis in self.sizes)
            if len(unknown) > 1:
                raise WeightsError(f"{name}: {_told((group,))} can be parted if sizes tells {' or '.join(unknown)}")
            if size % known or (not unknown and size != known):
                raise WeightsError(
                    f"{name} has the shape {shape}, which {_told(groups)} with {dict(self.sizes)} is not"
                )
            found |= {axis: self.sizes.get(axis, size // known) for axis in group}
        return found


def parsed(text: str, sizes: Mapping[str, int]) -> Axes:
    """The axes of a rule; raises IsogradError unless both sides of the arrow have the same names, each once."""
    sides = [_groups(side) for side in text.split("->")]
    names = [sorted(axis for group in side for axis in group) for side in sides]
    if len(sides) != 2 or names[0] != names[1] or len(set(names[0])) != len(names[0]):
        raise IsogradError(f"axes must have the same names on both sides of ->, each once, got {text!r}")
    if unknown := [axis for axis in sizes if axis not in names[0]]:
        raise IsogradError(f"sizes has {', '.join(unknown)}, which are no axes of {text!r}")
    return Axes(sides[0], sides[1], dict(sizes))


def _groups(side: str) -> Groups:
    return tuple((single,) if single else tuple(several.split()) for several, single in GROUP.findall(side))


def _told(groups: Groups) -> str:
    return " ".join(group[0] if len(group) == 1 else f"({' '.join(group)})" for group in groups)


def _rearranged(array: LazyArray, single: tuple[int, ...], order: list[int], shape: tuple[int, ...]) -> np.ndarray:
    return np.array(array.read().reshape(single).transpose(order).reshape(shape), order="C")
