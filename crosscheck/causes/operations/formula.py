"""What a side computes, as a formula over what both sides have."""

from collections.abc import Callable
from dataclasses import dataclass

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "matmul": "@", "pow": "**", "lt": "<", "le": "<=", "gt": ">",
         "ge": ">=", "eq": "==", "ne": "!=", "and": "&", "or": "|"}  # fmt: skip
BINDS = {"**": 5, "*": 4, "/": 4, "@": 4, "+": 3, "-": 3}  # the other infixes bind least
COMMUTES = ("add", "mul", "max", "min", "and", "or", "eq", "ne")
MOVES = ("reshape", "transpose")
FUNCTION, LEAST = 6, 2
BOUNDS = ("0", "-inf")  # of which the larger number is a known function


@dataclass(frozen=True)
class Formula:
    """An operation on formulas, with settings such as axes in words; a name without parts if both sides have it."""

    name: str
    parts: tuple["Formula", ...] = ()
    settings: str = ""

    def __str__(self) -> str:
        return WRITTEN.get(self.name, Formula.called)(self)

    @property
    def binds(self) -> int:
        """How strongly the operation binds its parts."""
        if self.name in INFIX and len(self.parts) == 2 and not self.settings:
            return BINDS.get(INFIX[self.name], LEAST)
        return LEAST if self.name == "neg" else FUNCTION

    @property
    def size(self) -> int:
        """The number of operations."""
        return (1 if self.parts else 0) + sum(part.size for part in self.parts)

    def called(self) -> str:
        """As a function of its parts."""
        return f"{self.name}({', '.join(filter(None, (*map(str, self.parts), self.settings)))})" if self.parts else (
            self.name)  # fmt: skip

    def within(self, binds: int) -> str:
        """In parentheses if it binds less."""
        return str(self) if self.binds >= binds else f"({self})"


def _infix(formula: Formula) -> str:
    if len(formula.parts) != 2 or formula.settings:
        return formula.called()
    (left, right), binds = formula.parts, formula.binds
    return f"{left.within(binds)} {INFIX[formula.name]} {right.within(binds + (formula.name not in COMMUTES))}"


def _part_of(formula: Formula) -> str:
    return f"{formula.parts[0].within(FUNCTION)}{formula.settings}"


WRITTEN: dict[str, Callable[[Formula], str]] = {
    **dict.fromkeys(INFIX, _infix), "part": _part_of, "neg": lambda each: f"-{each.parts[0].within(FUNCTION)}",
}  # fmt: skip


def difference(ours: Formula, theirs: Formula) -> tuple[Formula, Formula]:
    """The innermost formulas that differ: operations that both begin with are left out where only one part differs
    that is no name, and what only moves numbers at the end, unless nothing else differs."""
    found = _innermost(_still(ours), _still(theirs))
    return found if found[0] != found[1] else _innermost(ours, theirs)


def _still(formula: Formula) -> Formula:
    while formula.name in MOVES:
        formula = formula.parts[0]
    return formula


def _innermost(ours: Formula, theirs: Formula) -> tuple[Formula, Formula]:
    while ours.name == theirs.name and ours.settings == theirs.settings and len(ours.parts) == len(theirs.parts) > 0:
        if ours.name in COMMUTES and len(ours.parts) == 2 and _unlike(ours, theirs) != 1:
            theirs = Formula(theirs.name, theirs.parts[::-1], theirs.settings)
        unlike = [pair for pair in zip(ours.parts, theirs.parts, strict=True) if pair[0] != pair[1]]
        if len(unlike) != 1 or not any(each.parts for each in unlike[0]):
            break
        ours, theirs = unlike[0]
    return ours, theirs


def _unlike(ours: Formula, theirs: Formula) -> int:
    return sum(mine != other for mine, other in zip(ours.parts, theirs.parts, strict=True))


def simplified(formula: Formula, terms: str) -> Formula:
    """What JAX writes out by the name of what it computes, such as a mean, a softmax or an activation."""
    first, *more = formula.parts or (formula,)
    if formula.name == "div" and first.name == "sum" and [str(each) for each in more] == [terms]:
        return Formula("mean", first.parts, first.settings)
    if formula.name == "div" and first.name == "exp" and more[0].name == "sum" and more[0].parts == (first,):
        return Formula("softmax", (_unshifted(first.parts[0]),), more[0].settings)
    if formula.name == "add" and first.name == "log" and first.parts[0].name in ("abs", "sum"):
        inner = first.parts[0].parts[0] if first.parts[0].name == "abs" else first.parts[0]
        if inner.name == "sum" and inner.parts[0].name == "exp" and _is_shifted(inner.parts[0].parts[0]):
            return Formula("logsumexp", (_unshifted(inner.parts[0].parts[0]),), inner.settings)
    if formula.name == "max" and len(formula.parts) == 2 and (known := [p for p in formula.parts if p.name in BOUNDS]):
        other = tuple(each for each in formula.parts if each not in known)
        return other[0] if known[0].name == "-inf" else Formula("relu", other)
    if formula.name == "where" and first.name == "lt" and first.parts == (more[-1], Formula("0")):
        return more[-1]  # an index counted from the front
    if formula.name == "mul" and any(each == Formula("sigmoid", (first,)) for each in more):
        return Formula("silu", (first,))
    return formula


def _is_shifted(formula: Formula) -> bool:
    """True of what its largest number is taken from."""
    x, *other = formula.parts or (formula,)
    return formula.name == "sub" and any("amax" in str(each) for each in other)


def _unshifted(formula: Formula) -> Formula:
    return formula.parts[0] if _is_shifted(formula) else formula
