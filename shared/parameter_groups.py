"""Which parameters go with which group: by their canonical names, the first group that fits."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from shared.configs.optimizer import ParameterGroup
from shared.errors import IsogradError

REST = ParameterGroup(("*",))  # of the optimiser's own hyperparameters


def by_group(names: Iterable[str], groups: Sequence[ParameterGroup]) -> list[tuple[ParameterGroup, list[str]]]:
    """Every group with its names, and those that fit none under a last group of the optimiser's own hyperparameters.

    Groups and names keep their order; `*` stands for any letters, dots too, and case counts.
    Raises IsogradError for a pattern that fits no name at all, and for a group whose names all go to earlier ones.
    """
    names = list(names)
    _check_patterns(names, groups)
    members: list[tuple[ParameterGroup, list[str]]] = [(group, []) for group in (*groups, REST)]
    for name in names:
        next(found for group, found in members if _fits(name, group)).append(name)
    _check_members(members[:-1])
    return [(group, found) for group, found in members if found]


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


def _fits(name: str, group: ParameterGroup) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in group.patterns)
