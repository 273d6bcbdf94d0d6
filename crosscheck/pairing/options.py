"""Options of the functions that users call: an unknown one is refused in one sentence."""

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from shared.errors import IsogradError

P = ParamSpec("P")
R = TypeVar("R")


def known_options(*others: Callable[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: the function takes its own keywords and those of the others that it hands options to; it raises
    IsogradError for any other."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        signatures = [inspect.signature(each).parameters.values() for each in (function, *others)]
        known = [each.name for parameters in signatures for each in parameters if each.kind in kinds]

        @functools.wraps(function)
        def call(*args: P.args, **options: P.kwargs) -> R:
            __tracebackhide__ = True
            for name in options:
                if name not in known:
                    near = difflib.get_close_matches(name, known, 1)
                    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(dict.fromkeys(known))}"
                    raise IsogradError(f"{function.__name__} has no option {name}: {hint}")
            return function(*args, **options)

        return call

    return decorate
