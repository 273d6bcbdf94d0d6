"""Which parameters belong to which group: the first group whose patterns match the canonical name."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from fnmatch import fnmatchcase

from shared.configs.optimizer import ParameterGroup
from shared.errors import IsogradError
from shared.initial_weights import Shapes

REST = ParameterGroup(("*",))  # with the optimiser's own hyperparameters


def by_group(names: Iterable[str], groups: Sequence[ParameterGroup]) -> list[tuple[ParameterGroup, list[str]]]:
    """Every group with its names; names that match none form a last group with the optimiser's hyperparameters.

    Groups and names keep their order; `*` stands for any letters, dots too, and case counts.
    Raises IsogradError for a pattern that fits no name at all, for a group whose names all go to earlier ones, for a
    frozen group with a decay or rate of its own, and if every parameter is frozen.
    """
    names = list(names)
    _check_frozen(groups)
    _check_patterns(names, groups)
    members: list[tuple[ParameterGroup, list[str]]] = [(group, []) for group in (*groups, REST)]
    for name in names:
        next(found for group, found in members if _fits(name, group)).append(name)
    _check_members(members[:-1])
    held = [(group, found) for group, found in members if found]
    _check_some_train(held)
    return held


def trainable_shapes(shapes: Shapes, groups: Sequence[ParameterGroup]) -> Shapes:
    """The shapes of the parameters that are not frozen, in the given order; raises IsogradError as `by_group` does."""
    frozen = {name for group, found in by_group(shapes, groups) if not group.trainable for name in found}
    return {name: shape for name, shape in shapes.items() if name not in frozen}


def unused_settings(groups: Sequence[ParameterGroup]) -> list[str]:
    """Settings of frozen groups that have no effect there, such as "rate_factor 0.5 of ('*.bias',)"."""
    frozen = [group for group in groups if not group.trainable]
    return [
        f"{field.name} {getattr(group, field.name)!r} of {group.patterns}"
        for group in frozen
        for field in fields(group)
        if field.name not in ("patterns", "trainable") and getattr(group, field.name) != field.default
    ]


def _check_frozen(groups: Sequence[ParameterGroup]) -> None:
    if unused := unused_settings(groups):
        raise IsogradError(
            f"parameter groups: a frozen group can't use {', '.join(unused)}: leave it out, or set trainable to True"
        )


def _check_patterns(names: Sequence[str], groups: Sequence[ParameterGroup]) -> None:
    patterns = [pattern for group in groups for pattern in group.patterns]
    unused = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]
    if unused:
        raise IsogradError(
            f"parameter groups: no parameter fits {', '.join(map(repr, unused))}: expected patterns of names such as "
            f"{', '.join(names[:3])}"
        )


def _check_members(members: Sequence[tuple[ParameterGroup, list[str]]]) -> None:
    empty = [str(group.patterns) for group, found in members if not found]
    if empty:
        raise IsogradError(
            f"parameter groups: nothing is left for {', '.join(empty)}: expected each group to hold a parameter, but "
            "the first group that fits takes it; put groups with narrower patterns first"
        )


def _check_some_train(members: Sequence[tuple[ParameterGroup, list[str]]]) -> None:
    frozen = [str(group.patterns) for group, _ in members if not group.trainable]
    if frozen and len(frozen) == len(members):
        raise IsogradError(
            "parameter groups: every parameter is frozen: expected at least one trainable parameter; narrow the "
            f"patterns of {', '.join(frozen)}"
        )


def _fits(name: str, group: ParameterGroup) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in group.patterns)
