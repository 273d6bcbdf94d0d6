"""The numbers that a value is made of and whether it counts something, by `ast`.

Names are followed through assignments, loops, defaults, arguments in calls, parametrised arguments, returned values and
imports.
"""

import ast
import re
from collections.abc import Iterator

from bound_names import Bindings

SPACINGS = {
    "finfo", "eps", "epsilon", "resolution", "spacing", "nextafter", "float_info", "tiny", "smallest_normal",
    "smallest_subnormal",
}  # fmt: skip
BOUND = re.compile(r"roundings?(_|$)|unit_roundoff$")  # functions of bounds.py, and of the criterion
MODULES = {"np", "numpy", "jnp", "torch", "math", "operator"}
LIBRARIES = MODULES | {
    "F",
    "jax",
    "nn",
    "lax",
    "scipy",
    "bisect",
    "statistics",
    "json",
    "random",
    "float",
    "ma",
    "linalg",
}
BUILT_IN = {"divmod", "eval", "float", "hypot", "int", "pow", "round"}  # functions of Python that make numbers
PASSING_ON = {
    "abs", "all", "any", "array", "asarray", "bool", "count_nonzero", "Decimal", "dict", "float", "float16", "float32",
    "float64", "Fraction", "full_like", "iter", "max", "maximum", "min", "minimum", "next", "param", "reduce",
    "SimpleNamespace", "sorted", "sum", "tensor",
}  # fmt: skip
CHOOSING = {
    "max", "min", "maximum", "minimum", "fmax", "fmin", "sorted", "clip", "clamp", "sign", "signbit", "heaviside",
}  # fmt: skip
COUNTING = {"len", "count", "index", "arange", "range", "integers", "permutation", "bit_length", "count_nonzero"}
WRITTEN_OUT = {"fromstring", "literal_eval", "logspace", "geomspace"}  # functions that make numbers of literals
DATA = {"eye", "full", "linspace", "normal", "ones", "uniform", "zeros"}
SIZES = {"size", "ndim", "shape", "st_size"}
COUNTERS = {"step", "epoch"}  # keys of a run's records
MOST_OPERATIONS = 16  # of one formula, which can be counted by eye


def numbers(node: ast.expr, known: Bindings, in_calls: bool = False) -> Iterator[str]:
    """The numbers other than zero that one side of a comparison is made of; `in_calls`: fractions in calls as well."""
    match node:
        case ast.Constant(value=int() | float() | complex() as value) if not isinstance(value, bool) and value:
            yield ast.unparse(node)
        case ast.Name(id=name) | ast.Attribute(attr=name) if name.lower() in SPACINGS:
            yield f"the spacing {name}"
        case ast.Call(args=args) if BOUND.match(last_name(node)) and f"{last_name(node)}()" not in known:
            yield from (number for arg in args if not is_few(arg) for number in numbers(arg, known))
        case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(text))]) if name in PASSING_ON:
            yield from [text] if re.search(r"[1-9]", text) else []
        case ast.Compare() | ast.Lambda() | ast.JoinedStr():
            return
        case ast.Call() if is_a_number_in_disguise(node):
            yield ast.unparse(node)
        case _:
            parts, rest = followed(node, known)
            yield from (number for part in parts for number in numbers(part, rest, in_calls))
            yield from in_libraries(node, known) if isinstance(node, ast.Call) and is_of_a_library(node) else ()
            if in_calls and isinstance(node, ast.Call) and last_name(node) not in PASSING_ON:
                yield from (ast.unparse(arg) for arg in node.args if is_fraction(arg))


def in_libraries(node: ast.expr, known: Bindings, is_inside: bool = False) -> Iterator[str]:
    """The fractions and spacings in what functions of libraries get: these may scale, clip or compare by them."""
    if is_inside and (is_fraction(node) or (isinstance(node, ast.Attribute) and node.attr in SPACINGS)):
        yield ast.unparse(node)
    parts, rest = followed(node, known)
    if isinstance(node, ast.Call) and is_of_a_library(node):
        parts, is_inside = [*parts, *node.args], True
    yield from (number for part in parts for number in in_libraries(part, rest, is_inside))


def is_of_a_library(call: ast.Call) -> bool:
    """True for a call of numpy, a framework or Python's own functions of numbers, which are no code under test."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if last_name(call) in PASSING_ON | COUNTING | DATA or (
        owner is not None and last_name(owner) in {"random", "Generator"}
    ):
        return False
    return last_name(call) in BUILT_IN if owner is None else last_name(owner) in LIBRARIES


def is_a_number_in_disguise(call: ast.Call) -> bool:
    """True for a number that Python computes or reads from literals: `math.ldexp(1, -10)`, `float("1e-" + "3")`."""
    owner = last_name(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    parts = [part for arg in call.args for part in ast.walk(arg)]
    texts = any(isinstance(part, ast.Constant) and re.search(r"\d", str(part.value)) for part in parts)
    makes_numbers = (
        owner in {"math", "float", "json", "struct"} or last_name(call) in BUILT_IN | PASSING_ON | WRITTEN_OUT
    )
    is_of_texts = any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts)
    is_written = texts and not any(isinstance(part, ast.Name | ast.Call) for part in parts)
    return is_written and makes_numbers and (is_of_texts or last_name(call) not in PASSING_ON)


def followed(node: ast.expr, known: Bindings) -> tuple[list[ast.expr], Bindings]:
    """The components of a value, and the names that may still be followed: none twice, so that this terminates."""
    match node:
        case ast.Name(id=name):
            return known.get(name, []), without(known, name)
        case ast.Attribute(attr=name, value=value):
            return [*known.get(f".{name}", []), value], without(known, f".{name}")
        case ast.Call(func=ast.Lambda(body=inner)):
            return [inner], known
        case ast.Call(func=function, args=args):
            name = last_name(node)
            receiver = [function.value] if isinstance(function, ast.Attribute) else []
            passed = args if name in PASSING_ON | CHOOSING else []
            return [*known.get(f"{name}()", []), *receiver, *passed], without(known, f"{name}()")
        case ast.BinOp(left=left, right=right):
            return [left, right], known
        case ast.UnaryOp(operand=inner) | ast.Subscript(value=inner) | ast.NamedExpr(value=inner):
            return [inner], known
        case ast.Starred(value=inner) | ast.GeneratorExp(elt=inner) | ast.ListComp(elt=inner):
            return [inner], known
        case ast.IfExp(body=body, orelse=otherwise):
            return [body, otherwise], known
        case ast.BoolOp(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Dict(values=parts):
            return parts, known
        case ast.Set(elts=parts):
            return parts, known
    return [], known


def reached(node: ast.expr, known: Bindings) -> Iterator[ast.expr]:
    """A value and everything that it is made of."""
    yield node
    parts, rest = followed(node, known)
    for part in parts:
        yield from reached(part, rest)


def is_count(node: ast.expr, known: Bindings) -> bool:
    """True if the value is visibly an integer that counts: a literal, a length, a size, a place, or made of these."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int)
        case ast.Attribute(attr=name) if name in SIZES:
            return True
        case (
            ast.Subscript(value=ast.Attribute(attr="shape")) | ast.Subscript(slice=ast.Constant(value="step" | "epoch"))
        ):
            return True
        case ast.Call() if last_name(node) in COUNTING:
            return True
        case ast.Call(func=ast.Name(id="max" | "min" | "sum"), args=args):
            return all(ast.unparse(arg).startswith("map(len, ") or is_count(arg, known) for arg in args)
        case ast.BinOp(op=ast.LShift() | ast.RShift()):  # no fraction can be shifted
            return True
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.FloorDiv() | ast.Mod(), right=right):
            return is_count(left, known) and is_count(right, known)
        case ast.Subscript(value=inner) | ast.GeneratorExp(elt=inner) | ast.UnaryOp(operand=inner):
            return is_count(inner, known)
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return bool(parts) and all(is_count(part, known) for part in parts)
        case ast.Call(func=ast.Attribute(attr="array"), args=[inner, *_]):
            return is_count(inner, known)
        case ast.Name(id=name):
            values = known.get(name, [])
            return bool(values) and all(is_count(value, without(known, name)) for value in values)
    return False


def is_fixed(node: ast.expr, known: Bindings) -> bool:
    """True if there is nothing but literals behind a count: then it may as well be a bound."""
    parts, rest = followed(node, known)
    return isinstance(node, ast.Constant) or (bool(parts) and all(is_fixed(part, rest) for part in parts))


def is_few(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in range(MOST_OPERATIONS + 1)


def is_fraction(node: ast.expr) -> bool:
    return isinstance(number_of(node), float) and number_of(node) != 0


def number_of(node: ast.expr) -> float | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, int | float) else None


def last_name(node: ast.expr) -> str:
    """The c of `a.b.c` and of the call `a.b.c(...)`."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def without(known: Bindings, name: str) -> Bindings:
    return {other: values for other, values in known.items() if other != name} if name in known else known


def is_whole(number: str) -> bool:
    """True if the text is an integer, as 1e8 is."""
    return bool(re.match(r"[\d.]", number)) and float(number).is_integer()
