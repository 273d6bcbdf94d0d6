"""Propagates in-place writes by a traced call, which receives copies of its arguments, back to the caller.

torch modules may write to a tensor (`ReLU(inplace=True)`), modules of both frameworks to a list or dict (a cache).
"""

import dataclasses
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from crosscheck.recording.nesting import is_array, map_arrays


class Written:
    """The arguments of one call next to the copies that the call receives."""

    def __init__(self, given: Any, passed: Any):
        self.nodes = [(mine, copy, _state(copy)) for mine, copy in _nodes(given, passed) if mine is not copy]

    def back(self, result: Any, tapped: Any) -> Any:
        """Copy the call's writes to the caller's own objects; returns `tapped` with those in place of their copies."""
        changed = {id(copy): mine for mine, copy, before in self.nodes if not _same(_state(copy), before)}
        if not changed:
            return tapped
        for mine, copy, _ in self.nodes:
            if id(copy) in changed:
                _write(mine, copy)
        found: list[Any] = []
        map_arrays(lambda _, tensor: found.append(tensor), result)
        returned = iter(found)
        return map_arrays(lambda _, tensor: _standing_for(changed.get(id(next(returned))), tensor), tapped)


def _nodes(mine: Any, copy: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of all mutable nodes in two equal nestings."""
    if isinstance(mine, list | MutableMapping) or hasattr(mine, "_version"):
        yield mine, copy
    for ours, theirs in zip(_children(mine), _children(copy), strict=True):
        yield from _nodes(ours, theirs)


def _children(tree: Any) -> list[Any]:
    if is_array(tree):
        return []
    if isinstance(tree, Mapping):
        return list(tree.values())
    if isinstance(tree, tuple | list):
        return list(tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return [getattr(tree, field.name) for field in dataclasses.fields(tree) if field.init]
    return []


def _state(node: Any) -> list[Any]:
    """The part of a node that changes on a write: a tensor's version, a container's members."""
    if isinstance(node, Mapping):
        return [*node, *node.values()]
    if isinstance(node, list):
        return list(node)
    return [None if node.is_inference() else node._version]


def _same(now: list[Any], before: list[Any]) -> bool:
    return len(now) == len(before) and all(
        a is b or type(a) is int and a == b for a, b in zip(now, before, strict=True)
    )


def _write(mine: Any, copy: Any) -> None:
    if isinstance(mine, MutableMapping):
        mine.clear()
        mine.update(copy)
    elif isinstance(mine, list):
        mine[:] = copy
    else:
        mine.copy_(copy)


def _standing_for(mine: Any, tensor: Any) -> Any:
    """The caller's own tensor filled with the values of its replacement; the replacement if there is none."""
    return tensor if mine is None else mine.copy_(tensor)
