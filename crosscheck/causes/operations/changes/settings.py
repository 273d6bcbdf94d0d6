"""The settings of two calls of one function exchanged, such as the strides of two convolutions."""

from collections.abc import Callable, Iterator
from typing import Any

from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region


def exchanged_settings(region: Region) -> Iterator[tuple[list[Operation], str, str, Callable[..., Any]]]:
    """Each setting in which a call of the region differs from another call of its function, for that call's."""
    calls = [each for each in region.run if each.place is not None]
    for each in region.ours:
        for other in calls:
            if other.function is each.function and other.site != each.site:
                ours, theirs = _settings(each), _settings(other)
                for name in ours.keys() & theirs.keys():
                    if type(ours[name]) is type(theirs[name]) and ours[name] != theirs[name]:
                        words = f"{_said(theirs[name])} in {each.words} and {_said(ours[name])} in {other.words}"
                        new = {each.site: theirs[name], other.site: ours[name]}
                        yield [each, other], "D99", f"{words}, not the other way round", _with(new, name)


def _settings(operation: Operation) -> dict[int | str, Any]:
    """The numbers, words and tuples of these in a call, by place or name."""
    given = {**dict(enumerate(operation.args)), **operation.kwargs}
    return {name: value for name, value in given.items() if _is_setting(value)}


def _said(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_setting(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) or (
        isinstance(value, tuple | list) and all(map(_is_setting, value))
    )


def _with(of_site: dict[Any, Any], name: int | str) -> Callable[..., Any]:
    def call(function: Any, at: tuple[str, int], *args: Any, **kwargs: Any) -> Any:
        site = f"@{at[0]}", at[1]
        if site in of_site and isinstance(name, int):
            args = (*args[:name], of_site[site], *args[name + 1 :])
        elif site in of_site:
            kwargs = {**kwargs, str(name): of_site[site]}
        return function(*args, **kwargs)

    return call
