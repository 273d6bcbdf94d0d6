"""The twin rule, by `ast`: what differs between a torch file and its JAX twin beyond the three allowed differences.

Allowed are the base class, `forward` for `__call__`, and a trailing keyword-only `rngs` in JAX.
"""

import ast
import re
from collections.abc import Iterator
from itertools import zip_longest

PAIRED_DECORATORS = {"staticmethod", "classmethod", "property", "dataclass"}  # others belong to a framework
REGISTERING = {"register_buffer", "register_parameter"}  # torch's other way to assign an attribute
FRAMEWORK_NAMES = re.compile(r"PyTorch|JAX/Flax NNX|Flax NNX|JAX")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def differences(torch_source: str, jax_source: str, path: str = "", private_may_differ: bool = False) -> list[str]:
    """Every way in which the two sources are not twins, one sentence each; `path` also checks the opening docstrings.

    `private_may_differ` leaves out functions and classes whose names start with an underscore.
    """
    torch_tree, jax_tree = ast.parse(torch_source), ast.parse(jax_source)
    ours = definitions(torch_tree.body, private_may_differ)
    theirs = definitions(jax_tree.body, private_may_differ)
    found = docstring_differences(torch_tree, jax_tree, path) if path else []
    found += order_differences("file", list(ours), list(theirs))
    for name in ours.keys() & theirs.keys():
        found += definition_differences(name, ours[name], theirs[name])
    return sorted(found)


def definitions(body: list[ast.stmt], without_private: bool = False) -> dict[str, ast.stmt]:
    """Classes and functions by name in the order of the source, with JAX's `__call__` under torch's name `forward`."""
    named = {twin_name(node.name): node for node in body if isinstance(node, Function | ast.ClassDef)}
    return {name: node for name, node in named.items() if not (without_private and name.startswith("_"))}


def twin_name(name: str) -> str:
    return "forward" if name == "__call__" else name


def definition_differences(name: str, ours: ast.stmt, theirs: ast.stmt) -> list[str]:
    if type(ours) is not type(theirs):
        return [f"{name}: a class on one side and a function on the other"]
    if isinstance(ours, ast.ClassDef):
        return class_differences(name, ours, theirs)
    return function_differences(name, ours, theirs)


def class_differences(name: str, ours: ast.ClassDef, theirs: ast.ClassDef) -> list[str]:
    our_methods, their_methods = definitions(ours.body), definitions(theirs.body)
    found = order_differences(f"{name}, methods", list(our_methods), list(their_methods))
    found += order_differences(f"{name}, attributes", list(attributes(ours)), list(attributes(theirs)))
    for method in our_methods.keys() & their_methods.keys():
        found += definition_differences(f"{name}.{method}", our_methods[method], their_methods[method])
    return found


def function_differences(name: str, ours: Function, theirs: Function) -> list[str]:
    found = order_differences(f"{name}, arguments", arguments(ours), arguments(theirs, drop_rngs=True))
    found += order_differences(f"{name}, shapes", list(shapes(ours)), list(shapes(theirs)))
    found += order_differences(f"{name}, decorators", decorators(ours), decorators(theirs))
    return found


def order_differences(where: str, ours: list[str], theirs: list[str]) -> list[str]:
    """At most one sentence: the first place at which two lists of names differ."""
    for position, (our, their) in enumerate(zip_longest(ours, theirs)):
        if our != their:
            return [f"{where}: number {position + 1} is {our or 'missing'} in torch and {their or 'missing'} in JAX"]
    return []


def arguments(function: Function, drop_rngs: bool = False) -> list[str]:
    """Each argument as `kind name = default`; `drop_rngs` leaves out a trailing keyword-only `rngs`."""
    args = function.args
    keyword_only = list(zip(args.kwonlyargs, args.kw_defaults, strict=True))
    if drop_rngs and keyword_only and keyword_only[-1][0].arg == "rngs":
        keyword_only.pop()
    positional = args.posonlyargs + args.args
    defaults = [None] * (len(positional) - len(args.defaults)) + args.defaults
    described = [
        described_argument("positional", arg, default) for arg, default in zip(positional, defaults, strict=True)
    ]
    described += [described_argument("keyword-only", arg, default) for arg, default in keyword_only]
    starred = [("*", args.vararg), ("**", args.kwarg)]
    return described + [stars + arg.arg for stars, arg in starred if arg is not None]


def described_argument(kind: str, arg: ast.arg, default: ast.expr | None) -> str:
    return f"{kind} {arg.arg}" + ("" if default is None else f" = {ast.unparse(default)}")


def shapes(function: Function) -> Iterator[str]:
    """The shape strings of the annotations, in order: "B T E" of `Float[Tensor, "B T E"]`, as `argument: shape`."""
    args = function.args
    annotated = [(arg.arg, arg.annotation) for arg in args.posonlyargs + args.args + args.kwonlyargs]
    for name, annotation in [*annotated, ("return", function.returns)]:
        strings = [] if annotation is None else [n for n in ast.walk(annotation) if isinstance(n, ast.Constant)]
        yield from (f"{name}: {node.value!r}" for node in strings if isinstance(node.value, str))


def decorators(function: Function) -> list[str]:
    return [name for name in map(ast.unparse, function.decorator_list) if name in PAIRED_DECORATORS]


def attributes(class_: ast.ClassDef) -> dict[str, None]:
    """Names X of `self.X = ...` in the order of the source, each once; class-level fields come first."""
    fields = [
        node.target.id for node in class_.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    stored = sorted(filter(None, map(stored_attribute, ast.walk(class_))))
    return dict.fromkeys(fields + [name for _, _, name in stored])


def stored_attribute(node: ast.AST) -> tuple[int, int, str] | None:
    """Line, column and name if the node stores an attribute of `self`, or registers one."""
    match node:
        case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
            return node.lineno, node.col_offset, name
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=method), args=[ast.Constant(value=name), *_]):
            return (node.lineno, node.col_offset, name) if method in REGISTERING else None
    return None


def docstring_differences(torch_tree: ast.Module, jax_tree: ast.Module, path: str) -> list[str]:
    """The docstrings must open with the same idea, and name the other file."""
    openings = {}
    for package, tree in (("torch_impl", torch_tree), ("jax_impl", jax_tree)):
        first_paragraph = (ast.get_docstring(tree) or "").partition("\n\n")[0]
        openings[package] = " ".join(first_paragraph.split())
    found = []
    for package, twin in (("torch_impl", "jax_impl"), ("jax_impl", "torch_impl")):
        if f"Twin: {twin}/{path}." not in openings[package]:
            found.append(f"docstring: the opening of {package}/{path} does not say 'Twin: {twin}/{path}.'")
    ideas = [FRAMEWORK_NAMES.sub("*", line.partition(" Twin: ")[0]) for line in openings.values()]
    if ideas[0] != ideas[1]:
        found.append(f"docstring: the twins state different ideas, {ideas[0]!r} and {ideas[1]!r}")
    return found
