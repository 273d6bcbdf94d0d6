"""What decides a test is no number picked by hand, found by `ast`.

In test code a comparison may hold zero, counts of integers, and names; every other number comes from a function of
`bounds.py`, which derives it in code. So each of these is reported, whatever its form:
- a number, or the spacing of a dtype, on either side of <, <=, >, >= or of a function that compares like them
- rounding, and integers made of scaled numbers, in anything that decides
- minima, maxima and signs taken with a number, and formatted numbers, compared with ==
- a fraction in a call of a library whose result is compared with zero or taken for true: `torch.relu(gap - 1e-3)`
- equality of both sides in a shorter dtype, of a part of their bits or digits, or after a sum that absorbs them
- a floor of the proof that is written down
- calls that have a tolerance of their own
- what `distances.py` finds: how far two values are apart, held to what is no bound, and texts without their numbers
- what `swallowed.py` finds: differences that are absorbed, sorted away or left to a file
- functions of libraries that `keeping.py` does not list, whatever they do

Functions of other files of the tests are followed where they are imported by name, and where their file is.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from bound_names import Bindings, Function, attributes, bindings, called, returned
from distances import said_of_distances
from keeping import File, file_of, said_of_functions
from numbers_in_source import (
    CHOOSING,
    MODULES,
    SIZES,
    in_libraries,
    is_count,
    is_fixed,
    is_fraction,
    is_whole,
    last_name,
    number_of,
    numbers,
    reached,
)
from swallowed import has_many_digits, said_of_swallowed

CLOSE = re.compile(
    r"(all|is|assert)_?close$|almost_?equal|approx(_equal)?$|gradcheck$|check_grads$|ulp$|set_printoptions$|"
    r"assert_(frame|series|index)_equal$",
    re.I,
)
TOLERANCE = re.compile(r"(^|_)([ar]?tol|tolerance)$", re.I)
COMPARING = re.compile(r"(assert|_)?(_array)?_*([lg][te]|less|greater)(_?equal)?_*$", re.I)
ROUNDING = {"round", "round_", "around", "rint", "trunc", "fix", "quantize", "normalize", "floor", "ceil"}
EQUAL = re.compile(r"(assert_)?(array_)?equal$|array_equal$|allequal$")
SHORT = {"half", "bfloat16", "float16", "float32", "Float16", "int8", "single", "f2", "f4", "e", "f", "<e", "<f"}
HOLDING = {"contains", "between"}  # methods that compare with both of their arguments
MIDDLE = {"median", "nanmedian", "mode", "trim_mean"}  # which say nothing of half of the entries
SHORTENING = {"pack", "reduce_precision", "create_decimal"}  # functions that leave out digits
PARTS = {"hex", "tobytes", "unpackbits", "frexp", "modf", "decompose"}  # a number in pieces, of which one is compared
TEXTS = {"str", "repr", "dumps", "format", "join", "decode", "encode"}
INTEGERS = {"int", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "long"}
DRAWS = {"random", "rand", "uniform"}  # a draw below a probability is a coin toss
PROOFS = {"prove": 2, "compare_noise": 2}  # functions of the criterion -> place of the floor among their arguments
Importing = ast.Import | ast.ImportFrom
ORDERING = ast.Lt | ast.LtE | ast.Gt | ast.GtE


def literal_tolerances(source: str, elsewhere: Bindings | None = None) -> list[str]:
    """One sentence for each number that decides in test code; `elsewhere` holds what is `offered` by other files."""
    tree = ast.parse(source)
    imported = {f".{name}": values for name, values in (elsewhere or {}).items() if not name.endswith(")")}
    known = imported | functions_of(tree, elsewhere or {}) | attributes(tree) | returned(tree) | bindings(tree)
    return list(dict.fromkeys(breaches(tree, known, called(tree), file_of(tree))))


def written_tolerances(source: str) -> list[str]:
    """The same for a package, whose numbers have names: one sentence for each fraction written in a comparison."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.expr | ast.alias | ast.keyword)]
    found = [(node, said) for node in nodes for said in [*own_tolerance(node, {}), *said_of_orders(node, {})]]
    return [f"line {node.lineno}: {said}" for node, said in found if not is_whole(said.split()[-1])]


def offered(source: str, module: str) -> Bindings:
    """A module's own constants that hold a number, and what its functions return: `module.gap()`."""
    tree = ast.parse(source)
    known = bindings(tree)
    held = {name: values for name, values in known.items() if any(any(numbers(value, known)) for value in values)}
    own = {f"{node.name}()" for node in tree.body if isinstance(node, ast.FunctionDef)}
    return held | {f"{module}.{name}": values for name, values in returned(tree).items() if name in own}


def functions_of(tree: ast.Module, elsewhere: Bindings) -> Bindings:
    """What functions of other files return, under the names that a file imports them by, or by way of their module."""
    nodes = list(ast.walk(tree))
    imports = (node for node in nodes if isinstance(node, ast.ImportFrom))
    named = (
        (each, f"{(node.module or '').rpartition('.')[2]}.{each.name}()") for node in imports for each in node.names
    )
    found = {f"{each.asname or each.name}()": elsewhere[theirs] for each, theirs in named if theirs in elsewhere}
    aliases = (each.name.rpartition(".")[2] for node in nodes if isinstance(node, Importing) for each in node.names)
    modules = tuple(f"{alias}." for alias in aliases)
    return {name.partition(".")[2]: elsewhere[name] for name in elsewhere if name.startswith(modules)} | found


def breaches(node: ast.AST, known: Bindings, calls: dict[str, list[ast.Call]], file: File) -> Iterator[str]:
    """The sentences for everything below `node`; each function has its own names."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr_context | ast.operator | ast.cmpop):
            continue
        found = (*said_of(child, known), *said_of_functions(child, known, file))
        yield from (f"line {child.lineno}: {said}" for said in found)
        if isinstance(child, Function):
            yield from breaches(child, known | bindings(child, calls), calls, replace(file, found={}))
        else:
            yield from breaches(child, known, calls, file)


def said_of(node: ast.AST, known: Bindings) -> Iterator[str]:
    yield from own_tolerance(node, known)
    yield from said_of_orders(node, known)
    yield from said_of_halves(node)
    yield from said_of_swallowed(node)
    yield from said_of_distances(node, known)
    match node:
        case ast.Compare(left=left, comparators=others, ops=signs):
            for sides, sign in zip(pairwise([left, *others]), signs, strict=True):
                yield from said_of_equal(sides, known) if not isinstance(sign, ORDERING) else ()
        case ast.Call(func=function) if is_rounding(function):
            yield f"{last_name(function)} is a tolerance of half a digit"
        case ast.Call(args=args, keywords=named) if last_name(node) in PROOFS:
            floors = args[PROOFS[last_name(node)] :][:1] + [each.value for each in named if each.arg == "floor"]
            yield from (f"the floor of a proof is {number}" for floor in floors for number in numbers(floor, known))
    for decided in decisions(node):
        yield from (f"decides by integers made of {number}" for number in scaled(decided, known))
    for decided in truths(node):
        yield from (f"decides by a function of {number}" for number in in_libraries(decided, known))
        calls = (part for part in reached(decided, known) if isinstance(part, ast.Call) and last_name(part) in MIDDLE)
        yield from (f"{last_name(call)} leaves out half of the entries" for call in calls)
    match node:
        case ast.Compare(left=left, comparators=[right], ops=[ast.Eq() | ast.NotEq()]):
            yield from said_of_digits((left, right), known)
        case ast.Call(func=function, args=[left, right, *_]) if EQUAL.match(last_name(function)):
            yield from said_of_digits((left, right), known)
        case ast.Call(func=ast.Attribute(attr=name, value=left), args=[right]) if EQUAL.match(name):
            yield from said_of_digits((left, right), known)


def own_tolerance(node: ast.AST, known: Bindings) -> Iterator[str]:
    match node:
        case ast.Attribute(attr=name) | ast.alias(name=name) | ast.Call(func=ast.Name(id=name)) if CLOSE.search(name):
            yield f"{name} has a tolerance of its own"
        case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_]) if CLOSE.search(name):
            yield f"{name} has a tolerance of its own"
        case ast.keyword(arg=str(name), value=value) if TOLERANCE.search(name):
            yield from (f"{name} is {number}" for number in numbers(value, known))


def said_of_orders(node: ast.AST, known: Bindings) -> Iterator[str]:
    match node:
        case ast.Compare(left=left, comparators=others, ops=signs):
            for sides, sign in zip(pairwise([left, *others]), signs, strict=True):
                yield from said_of_order([*sides], known) if isinstance(sign, ORDERING) else ()
        case ast.Call(func=function, args=sides) if sides and COMPARING.match(last_name(function)):
            is_method = isinstance(function, ast.Attribute) and last_name(function.value) not in MODULES
            yield from said_of_order([function.value, *sides] if is_method and len(sides) == 1 else sides[:2], known)


def said_of_halves(node: ast.AST) -> Iterator[str]:
    """A comparison with a number that waits for its other side, and membership in what a call makes of numbers."""
    match node:
        case ast.Attribute(value=ast.Constant(value=int() | float() as number), attr=name) if COMPARING.match(name):
            yield f"compares with {number}"
        case ast.Call(args=[first, *others]) if last_name(node) == "partial" and COMPARING.match(last_name(first)):
            yield from (f"compares with {number}" for other in others for number in numbers(other, {}))
        case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[ast.Call(args=args)]):
            yield from (f"compares with {ast.unparse(arg)}" for arg in args if is_fraction(arg))
        case ast.Call(func=ast.Attribute(attr=name)) if name in HOLDING:
            yield from (f"compares with {ast.unparse(part)}" for part in ast.walk(node) if is_fraction(part))


def said_of_order(sides: list[ast.expr], known: Bindings) -> Iterator[str]:
    """Counts may be compared with counts, draws with probabilities, and anything with zero."""
    if any(last_name(side) in DRAWS for side in sides):
        return
    if not any(number_of(side) == 0 for side in sides) and any(counts_differences(side) for side in sides):
        yield "lets some entries differ"
    counted = [side for side in sides if is_count(side, known) and not is_fixed(side, known)]
    in_calls = not any(number_of(side) == 0 for side in sides)
    found = (number for side in sides if side not in counted for number in numbers(side, known, in_calls))
    yield from (f"compares with {number}" for number in found if not (counted and number.isdigit()))


def counts_differences(node: ast.expr) -> bool:
    """True for the number of entries at which two arrays differ."""
    match node:
        case ast.Call(func=ast.Attribute(attr="count_nonzero"), args=[ast.Compare(ops=[ast.NotEq()])]):
            return True
        case ast.Call(func=ast.Attribute(attr="sum", value=ast.Compare(ops=[ast.NotEq()]))):
            return True
    return False


def said_of_equal(sides: tuple[ast.expr, ast.expr], known: Bindings) -> Iterator[str]:
    for call in (node for side in sides for node in reached(side, known)):
        if isinstance(call, ast.Call) and last_name(call) in CHOOSING:
            receiver = [call.func.value] if isinstance(call.func, ast.Attribute) else []
            found = (number for part in [*call.args, *receiver] for number in numbers(part, known))
            yield from (f"{last_name(call)} compares with {number}" for number in found if not number.isdigit())
    if all(any(isinstance(node, ast.Call) and is_chosen(node) for node in reached(side, known)) for side in sides):
        yield "compares what is chosen with numbers on both sides"
    if all(any(is_formatted(node) for node in reached(side, known)) for side in sides):
        yield "compares numbers that are formatted with few digits"


def said_of_digits(sides: tuple[ast.expr, ast.expr], known: Bindings) -> Iterator[str]:
    """Equality may not leave out digits."""
    if all(is_shortened(side) for side in sides):
        yield "compares in a shorter dtype"
    if all(is_cut(side) for side in sides):
        yield "compares some of the digits"
    if all(is_whole_part(side) for side in sides):
        yield "compares without the fraction"
    for part in (part for side in sides for part in reached(side, known)):
        match part:
            case ast.BinOp(left=left, op=ast.RShift() | ast.BitAnd() | ast.FloorDiv()) if is_view(left):
                yield "compares some of the bits"
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
                numbers_added = (number for side in (left, right) if (number := number_of(side)))
                yield from (f"absorbs what is smaller than {n}" for n in numbers_added if has_many_digits(n))
            case ast.BinOp(left=left, op=ast.Mult(), right=right) if any(number_of(side) == 0 for side in sides):
                found = (n for each in (left, right) for n in numbers(each, known) if not n.isdigit())
                yield from (f"is lost in a product with {n}" for n in found if is_tiny(n))


def is_shortened(node: ast.expr) -> bool:
    """True for a cast to fewer digits."""
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
    words = [word for call in calls for word in (call.func, *call.args, *(named.value for named in call.keywords))]
    return any(
        last_name(word) in SHORT | SHORTENING or (isinstance(word, ast.Constant) and word.value in SHORT)
        for word in words
    )


def is_cut(node: ast.expr) -> bool:
    """True for the first letters of a number's text, and for a part of its bits or of its decimal form."""
    inside = [part for part in ast.walk(node) if isinstance(part, ast.Subscript)]
    return any(
        isinstance(part.value, ast.Call)
        and (last_name(part.value) in PARTS or (last_name(part.value) in TEXTS and _is_slice(part)))
        for part in inside
    )


def _is_slice(part: ast.Subscript) -> bool:
    return isinstance(part.slice, ast.Slice)


def is_whole_part(node: ast.expr) -> bool:
    """True for what is made an integer, and may have lost a fraction."""
    match node:
        case ast.Call(func=ast.Name(id="int"), args=[inner]):
            return not isinstance(inner, ast.Constant)
        case ast.Call(func=ast.Attribute(attr="astype" | "to" | "type"), args=[dtype]):
            return is_integer(dtype)
        case ast.Call(func=ast.Attribute(attr="tolist", value=inner), args=[]):
            return is_whole_part(inner)
        case ast.Call(func=ast.Name(id="set" | "sorted" | "list" | "tuple"), args=[inner]):
            return is_whole_part(inner)
    return False


def is_view(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and last_name(node) == "view"


def is_tiny(number: str) -> bool:
    """True for a number whose exponent has two digits: it may move what it multiplies below the smallest number."""
    return bool(re.search(r"e-\d\d", number))


def is_chosen(call: ast.Call) -> bool:
    return last_name(call) in CHOOSING and any(number_of(arg) for arg in call.args)


def decisions(node: ast.AST) -> list[ast.expr]:
    """The values that a node turns into true or false."""
    match node:
        case ast.Assert(test=test) | ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            return [test]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return [operand]
        case ast.Compare(left=left, comparators=others):
            return [left, *others]
    return []


def truths(node: ast.AST) -> list[ast.expr]:
    """The values that a node takes for true, or compares with zero."""
    if isinstance(node, ast.Compare) or is_equality(node):
        sides = node.args if isinstance(node, ast.Call) else [node.left, *node.comparators]
        return [side for side in sides if any(is_whole_or_none(other) for other in sides if other is not side)]
    return [each for each in decisions(node) if not isinstance(each, ast.Compare) and not is_equality(each)]


def is_equality(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and bool(EQUAL.match(last_name(node)))


def is_whole_or_none(node: ast.expr) -> bool:
    """True for zero, and for the number of all entries."""
    is_size = isinstance(node, ast.Attribute) and node.attr in SIZES
    return is_size or (isinstance(node, ast.Constant) and node.value == 0 and not isinstance(node.value, str))


def scaled(node: ast.expr, known: Bindings) -> Iterator[str]:
    """Numbers that scale or divide what then becomes an integer."""
    for part in reached(node, known):
        match part:
            case ast.Call(args=[inner]) if last_name(part) in INTEGERS:
                inside = [inner]
            case ast.Call(func=ast.Name(id="divmod"), args=args):
                inside = args
            case ast.Call(func=ast.Attribute(attr="long" | "int" | "short", value=value), args=[]):
                inside = [value]
            case ast.BinOp(left=left, op=ast.FloorDiv() | ast.Mod(), right=right) if not is_text(left):
                inside = [left, right]
            case ast.Call(func=ast.Attribute(attr="astype" | "to" | "type", value=value), args=[dtype]) if is_integer(
                dtype
            ):
                inside = [value]
            case _:
                continue
        unclear = [each for each in inside if not is_count(each, known)]
        yield from (n for each in unclear for n in numbers(each, known) if is_scaled(each, known) or not n.isdigit())


def is_integer(dtype: ast.expr) -> bool:
    """True for the name of an integer's dtype, in whichever form."""
    return last_name(dtype) in INTEGERS or (isinstance(dtype, ast.Constant) and dtype.value in INTEGERS)


def is_scaled(node: ast.expr, known: Bindings) -> bool:
    products = (part for part in reached(node, known) if isinstance(part, ast.BinOp))
    return any(isinstance(part.op, ast.Mult | ast.Div | ast.Pow) for part in products)


def is_rounding(function: ast.expr) -> bool:
    name = last_name(function)
    owner = last_name(function.value) if isinstance(function, ast.Attribute) else "math"
    return name in ROUNDING and (owner in MODULES or name not in {"floor", "ceil"})


def is_formatted(node: ast.expr) -> bool:
    """True for text with a number of digits in it: an f-string, `format` or `%`."""
    match node:
        case ast.JoinedStr(values=values):
            return any(isinstance(value, ast.FormattedValue) and value.format_spec for value in values)
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
            return bool(re.search(r"%[\d.]*[efg]", text))
        case ast.Call():
            return last_name(node).startswith("format") or last_name(node) == "array2string"
    return False


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
