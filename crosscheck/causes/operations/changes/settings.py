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
            if other.function is each.function and other.site != each.site and len(other.args) == len(each.args):
                for number, (mine, theirs) in enumerate(zip(each.args, other.args, strict=True)):
                    if _is_setting(mine) and type(mine) is type(theirs) and mine != theirs:
                        what = f"{theirs} in {each.words} and {mine} in {other.words}, not the other way round"
                        yield [each, other], "D99", what, _with({each.site: theirs, other.site: mine}, number)


def _is_setting(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) or (
        isinstance(value, tuple | list) and all(map(_is_setting, value))
    )


def _with(of_site: dict[Any, Any], number: int) -> Callable[..., Any]:
    def call(function: Any, at: tuple[str, int], *args: Any, **kwargs: Any) -> Any:
        site = f"@{at[0]}", at[1]
        if site in of_site:
            args = (*args[:number], of_site[site], *args[number + 1 :])
        return function(*args, **kwargs)

    return call
