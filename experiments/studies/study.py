"""What a study tells: claims, each with its number in both frameworks, and figures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

EPS = float(np.finfo(np.float64).eps)
ROUNDING = EPS / 2  # derived: the largest relative error of one rounded operation in float64
ALLOWED = 0.05  # derived: the largest error that the courses accept where no exact answer exists


class Both(NamedTuple):
    """What each framework found: two numbers, or two arrays."""

    torch: Any
    jax: Any

    def map(self, f: Callable[..., Any], *arguments: Any) -> "Both":
        """f of each, and more arguments."""
        return Both(f(self.torch, *arguments), f(self.jax, *arguments))


@dataclass(frozen=True)
class Claim:
    """A claim in words and as a formula; it holds if neither framework's number is above the bound.

    Without a bound the number is measured and not judged. A `wrong` answer, often a published one, is
    expected to fail.
    """

    words: str
    formula: str
    found: Both
    bound: float | None = None
    wrong: bool = False

    @property
    def holds(self) -> bool | None:
        """None if the number is only measured; a number that is NaN is above every bound."""
        return None if self.bound is None else all(number <= self.bound for number in self.found)

    @property
    def verdict(self) -> str:
        return {None: "measured", True: "holds", False: "fails"}[self.holds]

    @property
    def as_expected(self) -> bool:
        return self.holds is None or self.holds is not self.wrong

    def to_dict(self) -> dict[str, Any]:
        return {
            "claim": self.words,
            "formula": self.formula,
            **_as_numbers(self.found),
            "bound": self.bound,
            "wrong": self.wrong,
            "verdict": self.verdict,
            "as_expected": self.as_expected,
        }


@dataclass(frozen=True)
class Curve:
    """One line of a figure, computed by each framework."""

    label: str
    x: Iterable[float]
    y: Both

    def to_dict(self) -> dict[str, Any]:
        return {"label": self.label, "x": np.asarray(self.x).tolist(), **_as_numbers(self.y)}


@dataclass(frozen=True)
class Figure:
    """Curves on common axes; `logarithmic` names the axes with a logarithmic scale: "", "x", "y" or "xy"."""

    name: str
    caption: str
    x: str
    y: str
    curves: Sequence[Curve]
    logarithmic: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "curves": [curve.to_dict() for curve in self.curves]}


def _as_numbers(found: Both) -> dict[str, Any]:
    """Plain numbers or lists of them, by the framework."""
    return {name: np.asarray(value, np.float64).tolist() for name, value in found._asdict().items()}


@dataclass(frozen=True)
class Findings:
    """What one run of a study found."""

    claims: Sequence[Claim]
    figures: Sequence[Figure] = ()

    @property
    def as_expected(self) -> bool:
        return all(claim.as_expected for claim in self.claims)

    def to_dict(self) -> dict[str, Any]:
        return {
            "as_expected": self.as_expected,
            "claims": [claim.to_dict() for claim in self.claims],
            "figures": [figure.to_dict() for figure in self.figures],
        }


@dataclass(frozen=True)
class Study:
    """A study by name: its title, the courses that ask it, and the function that runs it with other parameters, too.

    One that trains takes minutes, so that `isograd study all` leaves it out.
    """

    name: str
    title: str
    course: str
    run: Callable[..., Findings]
    trains: bool = False
