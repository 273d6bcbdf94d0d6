"""Literal tolerances, found by `ast`: calls with a tolerance of their own, and comparisons with a small number.

A number may bound a comparison if it is a module-level constant with a comment `# derived: where it comes from`, on
its own lines or directly above. Names are followed through assignments, loops, defaults, parametrised arguments and
imports; arithmetic through signs, sums, products and quotients. Not detected are numbers that our own functions take
by position or return, and strings or rounded numbers compared with `==`.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise

from bound_names import Bindings, Function, attributes, bindings, bound_by, gathered, own

LARGEST = 0.1  # derived: the loosest tolerance of published parity checks; above it are ratios and probabilities
DERIVED = re.compile(r"#\s*derived:\s*\w")
CLOSE = re.compile(r"(all|is|assert)_?close$|almost_?equal|approx(_equal)?$|gradcheck$|check_grads$|ulp$", re.I)
TOLERANCE = re.compile(r"(^|_)([ar]?tol|tolerance)$", re.I)
COMPARING = re.compile(r"(assert)?(_array_)?([lg][te]|less|greater)(_?equal)?$", re.I)
PASSING_ON = {"max", "min", "maximum", "minimum", "float", "float32", "float64", "array", "asarray", "param"}
DRAWS = {"random", "rand", "uniform"}  # a draw below a probability is a coin toss
ARITHMETIC = ast.Constant | ast.UnaryOp | ast.BinOp | ast.unaryop | ast.operator


def literal_tolerances(source: str, elsewhere: Bindings | None = None) -> list[str]:
    """One sentence for each literal tolerance; `elsewhere` holds the `small_constants` of other files."""
    tree = ast.parse(source)
    known = gathered((f".{name}", values) for name, values in (elsewhere or {}).items())
    return list(dict.fromkeys(breaches(tree, known | attributes(tree) | underived(source, tree))))


def small_constants(source: str) -> Bindings:
    """The module's own constants that hold a small number without a derivation: tolerances, once compared."""
    known = underived(source, ast.parse(source))
    return {name: values for name, values in known.items() if any(any(smalls(value, known)) for value in values)}


def breaches(node: ast.AST, known: Bindings) -> Iterator[str]:
    """The sentences for everything below `node`; each function has its own names."""
    for child in ast.iter_child_nodes(node):
        yield from (f"line {child.lineno}: {said}" for said in said_of(child, known))
        yield from breaches(child, known | bindings(child) if isinstance(child, Function) else known)


def said_of(node: ast.AST, known: Bindings) -> Iterator[str]:
    match node:
        case ast.Attribute(attr=name) | ast.alias(name=name) | ast.Call(func=ast.Name(id=name)) if CLOSE.search(name):
            yield f"{name} has a tolerance of its own"
        case ast.Compare(left=left, comparators=others, ops=signs):
            for sides, sign in zip(pairwise([left, *others]), signs, strict=True):
                if isinstance(sign, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                    yield from said_of_sides([*sides], known)
        case ast.Call(func=function, args=sides) if COMPARING.match(last_name(function)):
            receiver = [function.value] if len(sides) == 1 and isinstance(function, ast.Attribute) else []
            yield from said_of_sides(receiver + sides, known)
        case ast.keyword(arg=str(name), value=value) if TOLERANCE.search(name):
            yield from (f"{name} is the literal {small}" for small in smalls(value, known))


def said_of_sides(sides: list[ast.expr], known: Bindings) -> Iterator[str]:
    """Constants compared with each other are no tolerance, nor is a draw compared with its probability."""
    if not all(is_fixed(side, known) for side in sides) and not any(last_name(side) in DRAWS for side in sides):
        yield from (f"compares with the literal {small}" for side in sides for small in smalls(side, known))


def smalls(node: ast.expr, known: Bindings) -> Iterator[str]:
    """The small numbers, as they are written, that one side of a comparison is made of."""
    value = number(node)
    if value is None:
        parts, rest = followed(node, known)
        yield from (small for part in parts for small in smalls(part, rest))
    elif 0 < abs(value) <= LARGEST:
        yield ast.unparse(node)


def is_fixed(node: ast.expr, known: Bindings) -> bool:
    """True if there is nothing but numbers behind `node`."""
    parts, rest = followed(node, known)
    return number(node) is not None or (bool(parts) and all(is_fixed(part, rest) for part in parts))


def number(node: ast.expr) -> float | None:
    """The value of arithmetic on literals alone."""
    if not all(isinstance(part, ARITHMETIC) for part in ast.walk(node)):
        return None
    try:
        value = eval(ast.unparse(node), {})  # operators and literals, nothing else
    except (ArithmeticError, TypeError):
        return None
    return value if isinstance(value, int | float) else None


def followed(node: ast.expr, known: Bindings) -> tuple[list[ast.expr], Bindings]:
    """The components of a value, and the names that may still be followed: none twice, so that this terminates."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            name = name if isinstance(node, ast.Name) else f".{name}"
            return choices(known.get(name, [])), {other: values for other, values in known.items() if other != name}
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
            return [left, right], known
        case ast.UnaryOp(operand=inner) | ast.Subscript(value=inner) | ast.NamedExpr(value=inner):
            return [inner], known
        case ast.IfExp(body=body, orelse=otherwise):
            return [body, otherwise], known
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Dict(values=parts):
            return choices(parts), known
        case ast.Call(args=parts) if last_name(node) in PASSING_ON:
            return parts, known
    return [], known


def choices(values: list[ast.expr]) -> list[ast.expr]:
    """Values of which one is chosen; if one of them is large, they are rates or sizes, and none is followed."""
    return [] if any((number(value) or 0) > LARGEST for value in values) else values


def last_name(node: ast.expr) -> str:
    """The c of `a.b.c` and of the call `a.b.c(...)`."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def underived(source: str, tree: ast.Module) -> Bindings:
    """The module's bindings, without the constants that carry their derivation."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token for token in tokens if token.type == tokenize.COMMENT}
    alone = {line for line, token in comments.items() if not token.line[: token.start[1]].strip()}
    marked = [node for node in tree.body if any(map(DERIVED.match, comments_of(node, comments, alone)))]
    return gathered(pair for node in own(tree) if node not in marked for pair in bound_by(node))


def comments_of(node: ast.stmt, comments: dict[int, tokenize.TokenInfo], alone: set[int]) -> list[str]:
    """The comments on the lines of a statement and on those directly above it."""
    first = node.lineno
    while first - 1 in alone:
        first -= 1
    return [comments[line].string for line in range(first, node.end_lineno + 1) if line in comments]
