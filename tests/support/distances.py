"""Distances that are held to something other than a bound, and numbers that a pattern takes out of texts, by `ast`.

How far two values are apart is compared with zero, with a function of `bounds.py`, with a bound that the package names,
or with another distance: `norm(a - b) < norm(a)` says nothing of a gap that nobody derived.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise

import bounds
from bound_names import Bindings
from numbers_in_source import is_count, last_name, number_of, reached

LENGTHS = {"abs", "absolute", "fabs", "hypot", "norm", "square"}  # of what is inside, which may be a difference
APART = {"difference", "distance", "group_error", "movement"}  # functions of the criterion, and of libraries
DERIVED = {name for name, _ in inspect.getmembers(bounds, inspect.isfunction)} | {"unit_roundoff"}
NAMED = re.compile(r"(^|_)bounds?$|^PROOF$|^NOISE_RATIO$", re.I)  # in the package
WITHOUT_NUMBERS = "compares texts without their numbers"
REPLACING = {"sub", "subn", "split"}
NUMBERS = ("0.25", "1.5e-03", "7")  # as tests write them
ORDERS = {ast.Lt: 1, ast.LtE: 1, ast.Gt: 0, ast.GtE: 0}  # -> which side is the larger


def said_of_distances(node: ast.AST, known: Bindings) -> Iterator[str]:
    """One sentence for each order of a distance and what is no bound, and each equality of texts without numbers."""
    if not isinstance(node, ast.Compare):
        return
    for sides, sign in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
        if type(sign) in ORDERS:
            large, small = sides[ORDERS[type(sign)]], sides[1 - ORDERS[type(sign)]]
            if number_of(large) is None and is_distance(small, known) and not is_bound(large, known):
                yield f"a distance is no more than {ast.unparse(large)}, which is no bound"
        elif all(any(takes_numbers_out(part, known) for part in reached(side, known)) for side in sides):
            yield WITHOUT_NUMBERS


def is_distance(side: ast.expr, known: Bindings) -> bool:
    return any(is_length_of_a_difference(part, known) for part in reached(side, known))


def is_length_of_a_difference(part: ast.expr, known: Bindings) -> bool:
    match part:
        case ast.Call(func=function, args=args) if last_name(part) in LENGTHS:
            receiver = [function.value] if isinstance(function, ast.Attribute) else []
            return any(is_difference(each, known) for arg in [*receiver, *args] for each in reached(arg, known))
        case ast.BinOp(left=left, op=ast.Pow()):
            return any(is_difference(each, known) for each in reached(left, known))
    return isinstance(part, ast.Call) and last_name(part) in APART


def is_difference(node: ast.expr, known: Bindings) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and not is_count(node, known)


def is_bound(side: ast.expr, known: Bindings) -> bool:
    """True for what follows from a derived or a named bound, for another distance, and for counts."""
    parts = list(reached(side, known))
    derived = any(isinstance(part, ast.Call) and last_name(part) in DERIVED for part in parts)
    others = [
        part for part in parts if isinstance(part, ast.Attribute | ast.Call) and f"{last_name(part)}()" not in known
    ]
    named = any(NAMED.search(last_name(part)) for part in others)
    return derived or named or is_count(side, known) or is_distance(side, known)


def takes_numbers_out(node: ast.expr, known: Bindings) -> bool:
    """True for `re.sub` and its like with a pattern, written or compiled, that any number fits."""
    if not (isinstance(node, ast.Call) and last_name(node) in REPLACING):
        return False
    first = [*node.args[:1], *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]
    parts = [part for each in first for value in reached(each, known) for part in ast.walk(value)]
    patterns = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return any(all(fits(pattern, number) for number in NUMBERS) for pattern in patterns)


def fits(pattern: str, number: str) -> bool:
    try:
        return bool(re.search(pattern, number))
    except re.error:
        return False
