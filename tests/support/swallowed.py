"""Equality and order that a difference does not reach, found by `ast`: absorbed, sorted away or decided elsewhere.

- a sum with a number that is compared with that number: `1 + gap == 1`, `sum(gaps, 1.0) == 1.0`
- a function that is flat at zero, compared with a number: `np.cos(gap) == 1`
- what is left of sorted or chosen entries: `sorted(gaps)[:-3]`, `np.partition(gaps, 5)[5]`, `np.argmax([gap, 1e-3])`
- both sides in steps or words of few digits: `limit_denominator`, `timedelta`, `floor_divide`, `strftime`
- a size made of text: `len(str(int(1 / gap)))`
- order against what a file, the environment, another package or a setting says; the sign of an average
- membership in a range of integers that must not be
- an assertion whose failure is expected or caught, whatever it says
"""

import ast
from collections.abc import Iterator
from itertools import pairwise

from numbers_in_source import SPACINGS, is_fraction, last_name, number_of

FLAT = {"cos", "cosh", "exp", "exp2", "expit", "sech", "sinc", "softplus", "erfc"}  # 1, or a constant, around zero
STEPPED = {"limit_denominator", "timedelta", "floor_divide", "quantize_per_tensor", "fake_quantize"}
WORDED = {"mod", "strftime", "gmtime", "array2string", "array_str", "array_repr", "isoformat", "pformat"}
SORTED = {"sorted", "sort", "partition", "nsmallest", "nlargest", "topk"}
PLACES = {"argmax", "argmin", "argsort", "searchsorted", "rank", "matrix_rank"}
OUTSIDE = {"read", "read_text", "read_bytes", "readline", "getenv", "get", "environ", "input", "open", "Path", "argv"}
SETTINGS = {"tolerance", "atol", "rtol", "tol", "threshold", "epsilon"}
TEXTS = {"str", "repr", "bin", "hex", "format"}
AVERAGES = {"mean", "average", "median", "nanmean", "fmean"}
MOST_DIGITS = 6  # of a number that may be added to both sides
ORDERING = ast.Lt | ast.LtE | ast.Gt | ast.GtE
CATCHING, CAUGHT = {"raises", "suppress", "assertRaises"}, {"AssertionError", "Exception", "BaseException"}
EXPECTED = "may fail, which is expected"


def said_of_swallowed(node: ast.AST) -> Iterator[str]:
    """One sentence for each comparison below which differences vanish, but for those of nested nodes."""
    if may_fail(node):
        yield EXPECTED
    if isinstance(node, ast.UnaryOp) and any(is_place_in_a_range(part) for part in ast.walk(node)):
        yield "holds for every fraction"
    for left, right, is_order in compared(node):
        if is_order:
            yield from said_of_outside(left, right)
        else:
            yield from said_of_constant(left, right)
            yield from said_of_constant(right, left)
            if has_call(left, STEPPED | WORDED) and has_call(right, STEPPED | WORDED):
                yield "compares in steps or words of few digits"
        yield from (said for side in (left, right) for said in said_of_left_out(side))


def may_fail(node: ast.AST) -> bool:
    """True for what expects or catches the failure of an assertion."""
    match node:
        case ast.Attribute(attr=name) | ast.alias(name=name):
            return name in {"xfail", "expectedFailure"}
        case ast.Call(args=args, keywords=named) if last_name(node) in CATCHING:
            return any(map(is_caught, [*args, *(each.value for each in named)]))
        case ast.Try(body=body, handlers=handlers) if any(has_assertion(each) for each in body):
            return any(each.type is None or is_caught(each.type) for each in handlers)
    return False


def is_caught(kind: ast.expr) -> bool:
    return any(last_name(each) in CAUGHT for each in getattr(kind, "elts", [kind]))


def has_assertion(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Assert) or last_name(part).startswith("assert") for part in ast.walk(node))


def compared(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr, bool]]:
    """The pairs of sides of a comparison, or of a function that compares, and whether it is one of order."""
    match node:
        case ast.Compare(left=left, comparators=others, ops=signs):
            for (a, b), sign in zip(pairwise([left, *others]), signs, strict=True):
                yield a, b, isinstance(sign, ORDERING)
        case ast.Call(args=[a, b, *_]) if last_name(node) in {"equal", "array_equal", "assert_array_equal"}:
            yield a, b, False


def said_of_constant(side: ast.expr, number: ast.expr) -> Iterator[str]:
    """What a number is compared with that hides small differences."""
    if number_of(number) is None:
        return
    if number_of(number) != 0 and is_call(side, FLAT) and not all(map(is_plain, arguments(side))):
        yield f"{last_name(side)} is flat at zero"
    absorbing = {number_of(part) for part in parts_of_a_sum(side)} - {None, 0}
    if number_of(number) in absorbing:
        yield f"absorbs what is smaller than {ast.unparse(number)}"
    if number_of(number) == 0:
        yield from (f"absorbs what is smaller than {each}" for each in absorbing if has_many_digits(each))


def parts_of_a_sum(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right) if not (is_plain(left) and is_plain(right)):
            for part in (left, right):
                yield part
                yield from parts_of_a_sum(part)
        case ast.Call() if last_name(node) in {"sum", "fsum"}:
            for part in arguments(node):
                yield part
                yield from part.elts if isinstance(part, ast.List | ast.Tuple) else ()


def said_of_left_out(side: ast.expr) -> Iterator[str]:
    """Entries that a comparison leaves out, and numbers among those of which the largest is chosen."""
    match side:
        case ast.Subscript(value=ast.Call() as call, slice=part) if last_name(call) in SORTED:
            is_of_text = any(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in call.args)
            if not is_of_text and (isinstance(part, ast.Slice) or last_name(call) == "partition"):
                yield f"leaves out entries by {last_name(call)}"
        case ast.Call() if last_name(side) in PLACES:
            inside = (each for argument in arguments(side) for each in ast.walk(argument))
            yield from (f"{last_name(side)} compares with {ast.unparse(each)}" for each in inside if is_fraction(each))
            if last_name(side) == "matrix_rank":
                yield "matrix_rank has a tolerance of its own"


def said_of_outside(left: ast.expr, right: ast.expr) -> Iterator[str]:
    """Order against a number that no code derives, or of a size that text makes of one."""
    for side, other in ((left, right), (right, left)):
        if any(is_call(part, {"importorskip"}) for part in ast.walk(side)):
            yield "compares with a number of another package"
        if number_of(other) == 0 and is_call(side, AVERAGES):
            yield f"says nothing but the sign of a {last_name(side)}"
        match side:
            case ast.Call(func=ast.Name(id="float"), args=[inner]) if any(map(is_outside, ast.walk(inner))):
                yield "compares with what is read from outside"
            case ast.Attribute(attr=name) if name in SETTINGS:
                yield f"compares with the setting {name}"
            case ast.Call(func=ast.Name(id="len"), args=[ast.Call() as made]) if last_name(made) in TEXTS:
                if not all(map(is_plain, arguments(made))):
                    yield "compares the length of a number's text"
            case ast.Call() if last_name(side) in SPACINGS:
                yield f"compares with the spacing {last_name(side)}"


def is_place_in_a_range(node: ast.AST) -> bool:
    """True for `x in range(n)`, which no fraction is."""
    return isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In) and is_call(node.comparators[0], {"range"})


def is_outside(node: ast.AST) -> bool:
    return isinstance(node, ast.Call | ast.Attribute) and last_name(node) in OUTSIDE


def has_many_digits(number: float | None) -> bool:
    """True for a number beside which others lose their digits."""
    return number is not None and len(f"{abs(number):.0f}") > MOST_DIGITS


def has_call(node: ast.expr, names: set[str]) -> bool:
    return any(is_call(part, names) for part in ast.walk(node))


def is_call(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Call) and last_name(node) in names


def arguments(node: ast.expr) -> list[ast.expr]:
    return [*node.args, *(named.value for named in node.keywords)] if isinstance(node, ast.Call) else []


def is_plain(node: ast.expr) -> bool:
    """True for a literal, and for what is made of literals alone."""
    return not any(isinstance(part, ast.Name | ast.Attribute) for part in ast.walk(node))
