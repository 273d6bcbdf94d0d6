"""One operation of a run, such as a product: its inputs, its result, and where it is written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from crosscheck.causes.flips.flip import Site

INPUT = "input "  # begins what an input is called that has a number and no name
LARGEST = 2**18  # numbers of a result that is kept: a pairing of larger ones takes too long


class Given(NamedTuple):
    """An operand of JAX's: the place of the operation that makes it."""

    place: int


@dataclass(frozen=True)
class Operation:
    """An operation, with the places of the operations that make its inputs, and the numbers that stand in its call.

    A parameter, an input or a table is an operation without inputs. `call` is torch's function with its arguments, at
    `site`, and `place` is that of the call in the code, which a loop or another layer may run again. `variable` is what
    the code calls the result, and `called` the library's function that returns it, with its operands. `output` is the
    result's number where an operation has several.
    """

    name: str
    inputs: tuple[int, ...]
    result: np.ndarray
    numbers: tuple[float, ...] = ()
    line: str = ""
    function: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    site: Site = ("", None)
    place: Any = None
    variable: str = ""
    called: tuple[Any, ...] = ()
    output: int | None = None

    @property
    def words(self) -> str:
        return f"{self.name} ({self.line})" if self.line else self.name


@lru_cache(maxsize=4096)
def line_of(file: str, number: int) -> str:
    """A place in a file, in words."""
    return f"{Path(file).name}:{number}"
