"""The values behind a name, by `ast`: everything that a module, class or function binds to it."""

import ast
from collections.abc import Iterable, Iterator, Mapping

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Bindings = dict[str, list[ast.expr]]  # an attribute's name starts with a dot
Bound = Iterator[tuple[str, list[ast.expr]]]


def attributes(tree: ast.Module) -> Bindings:
    """The file's bindings of attributes, and of names in class bodies."""
    nodes = list(ast.walk(tree))
    of_classes = [bindings(node).items() for node in nodes if isinstance(node, ast.ClassDef)]
    inside = [(f".{name}", values) for items in of_classes for name, values in items]
    assigned = [pair for node in nodes for pair in bound_by(node) if pair[0].startswith(".")]
    return gathered(inside + assigned)


def bindings(scope: ast.AST, calls: Mapping[str, list[ast.Call]] | None = None) -> Bindings:
    """A scope's own bindings of each name; an argument that nothing is given for hides the outer name.

    `calls` are those of the file, by the function's name.
    """
    assigned = (pair for node in own(scope) for pair in bound_by(node))
    if not isinstance(scope, Function):
        return gathered(assigned)
    given = (pair for call in (calls or {}).get(getattr(scope, "name", ""), []) for pair in passed(scope, call))
    return gathered([*arguments(scope), *given, *assigned])


def called(tree: ast.Module) -> dict[str, list[ast.Call]]:
    """The file's calls of plain names, by name."""
    found: dict[str, list[ast.Call]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.setdefault(node.func.id, []).append(node)
    return found


def passed(function: Function, call: ast.Call) -> Bound:
    """The arguments of one call, by the names that the function gives them."""
    names = [arg.arg for arg in function.args.posonlyargs + function.args.args]
    yield from ((name, [value]) for name, value in zip(names, call.args, strict=False))
    yield from ((keyword.arg, [keyword.value]) for keyword in call.keywords if keyword.arg)


def returned(tree: ast.Module) -> Bindings:
    """What each of the file's functions returns, under its name with brackets: `gap()`."""
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return gathered(
        (f"{function.name}()", [node.value])
        for function in functions
        for node in own(function)
        if isinstance(node, ast.Return) and node.value
    )


def gathered(pairs: Iterable[tuple[str, list[ast.expr]]]) -> Bindings:
    found: Bindings = {}
    for name, values in pairs:
        found[name] = found.get(name, []) + values
    return found


def own(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope without those of nested scopes."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, Function | ast.ClassDef):
            yield from own(child)


def bound_by(node: ast.AST) -> Bound:
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from (pair for target in targets for pair in bound_to(target, [value]))
        case ast.AugAssign(op=ast.Add() | ast.Sub(), value=ast.Constant(value=int())):
            return  # a counter
        case ast.AnnAssign(target=target, value=value) | ast.AugAssign(target=target, value=value):
            yield from bound_to(target, [value] if value else [])
        case ast.NamedExpr(target=target, value=value):
            yield from bound_to(target, [value])
        case ast.For(target=target, iter=rows) | ast.comprehension(target=target, iter=rows):
            yield from bound_to(target, getattr(rows, "elts", [rows]))
        case ast.ImportFrom(names=names):
            yield from ((alias.asname or alias.name, [ast.Attribute(ast.Name("_"), alias.name)]) for alias in names)


def bound_to(target: ast.expr, values: list[ast.expr]) -> Bound:
    """The names of a target; a tuple of targets unpacks each value."""
    match target:
        case ast.Name(id=name):
            yield name, values
        case ast.Attribute(attr=name):
            yield f".{name}", values
        case ast.Tuple(elts=targets) | ast.List(elts=targets):
            rows = [getattr(value, "elts", getattr(value, "args", [])) for value in values]  # or of pytest.param
            for position, inner in enumerate(targets):
                yield from bound_to(inner, [row[position] for row in rows if len(row) == len(targets)])


def arguments(function: Function) -> Bound:
    """Each argument with its default, or with the values that pytest gives it."""
    args = function.args
    positional = args.posonlyargs + args.args
    defaults = [None] * (len(positional) - len(args.defaults)) + args.defaults + args.kw_defaults
    for arg, default in zip(positional + args.kwonlyargs, defaults, strict=True):
        yield arg.arg, [default] if default else []
    for decorator in getattr(function, "decorator_list", []):
        match decorator:
            case ast.Call(func=ast.Attribute(attr="parametrize"), args=[names, rows, *_]):
                yield from bound_to(as_target(names), getattr(rows, "elts", [rows]))


def as_target(names: ast.expr) -> ast.expr:
    """`"a"`, `"a, b"` and `("a", "b")` as the target of an assignment."""
    match names:
        case ast.Constant(value=str(written)):
            return ast.parse(written, mode="eval").body
        case ast.Tuple(elts=inner) | ast.List(elts=inner):
            return ast.Tuple([as_target(name) for name in inner])
    return names
