"""Small changes to a source, found by `ast`: each is one that a test should notice.

Operators are exchanged, numbers and truths changed, one branch of a choice is taken, arguments are swapped or left out,
a call gives what it was given, and in a twin what is computed is detached from its gradient.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitOr,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
DETACHED = {
    "torch": "__import__('torch').utils._pytree.tree_map(lambda t: t.detach() if hasattr(t, 'detach') else t, {})",
    "jax": "__import__('jax').lax.stop_gradient({})",
}
# Where no number is computed: texts, messages, types, decorations.
SKIPPED = (ast.JoinedStr, ast.Raise)
# Names of integers, masks and containers in the twins: without a gradient, or without one of their own.
INTEGERS = {
    *("axis", "batch", "batch_size", "finals", "ids", "is_valid", "layer", "lengths", "mask", "n_embd", "n_heads"),
    *("len", "list", "n_tok", "predictions", "range", "reverse", "steps", "valid", "visible", "width"),
}
WHOLE = re.compile(r"(Int|Bool|int|float|bool|str)\b")  # annotations of what has no gradient
# Functions whose results have none.
MADE = {
    *("arange", "argmax", "argsort", "new_zeros", "ones", "ones_like", "orthogonal_directions", "valid_steps"),
    *("visible_keys", "zeros", "zeros_like"),
}
# Functions whose results nobody differentiates: they build, generate or show weights, or give gradients by hand.
UNDIFFERENTIATED = {"__init__", "_backward", "advance", "empty_cache", "look"}
SYMMETRIC = {"max", "maximum", "min", "promote_types"}
UNSEEN_ARGUMENTS = {"strict", "device"}  # leaving them out only hides a mistake, or shows on a GPU alone
SKIPPED_FIELDS = {"annotation", "returns", "decorator_list", "bases", "func"}


@dataclass(frozen=True)
class Edit:
    """One change: in which function, of what kind, from which text to which, and how it is made in the tree."""

    place: str
    kind: str
    old: str
    new: str
    tree: ast.Module
    parent: ast.AST
    field: str
    value: ast.expr | list

    def __str__(self) -> str:
        return f"{self.place}: {self.old} -> {self.new}"

    @property
    def source(self) -> str:
        """The whole source with the change."""
        before = getattr(self.parent, self.field)
        setattr(self.parent, self.field, self.value)
        changed = ast.unparse(ast.fix_missing_locations(self.tree))
        setattr(self.parent, self.field, before)
        return changed


def edits(source: str, framework: str | None = None) -> Iterator[Edit]:
    """Every edit of a source in order; `framework` is that of a twin, whose gradients are detached too."""
    tree = ast.parse(source)
    whole = _whole_arguments(tree)
    owners = {"self", *(alias.asname or alias.name for alias in ast.walk(tree) if isinstance(alias, ast.alias))}
    for place, parent, field, index, node in list(_expressions(tree, "")):
        changes = list(_alternatives(node, owners))
        is_differentiated = framework and place and place.rpartition(".")[2] not in UNDIFFERENTIATED
        if is_differentiated and _may_have_a_gradient(node, parent, whole):
            changes.append(("detach", ast.parse(DETACHED[framework].format(ast.unparse(node)), mode="eval").body))
        for kind, new in changes:
            among = getattr(parent, field)
            value = new if index is None else [*among[:index], new, *among[index + 1 :]]
            shown = "detached" if kind == "detach" else ast.unparse(new)
            yield Edit(place, kind, ast.unparse(node), shown, tree, parent, field, value)


def _expressions(node: ast.AST, place: str) -> Iterator[tuple[str, ast.AST, str, int | None, ast.expr]]:
    """Every expression below `node` that is read, with its place in the tree, outermost first."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        place = f"{place}.{node.name}".lstrip(".")
    for field, value in ast.iter_fields(node):
        if field in SKIPPED_FIELDS:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, SKIPPED) or _is_unseen(child):
                continue
            is_read = not isinstance(getattr(child, "ctx", None), ast.Store)
            if isinstance(child, ast.expr) and is_read:
                yield place, node, field, index, child
            if is_read or isinstance(child, ast.Tuple):
                yield from _expressions(child, place)


def _given(function: ast.expr, args: list[ast.expr], owners: set[str]) -> ast.expr | None:
    """What a method is called on, or the first argument of a function: of a module's, or of the object itself."""
    root = function
    while isinstance(root, ast.Attribute):
        root = root.value
    if root is not function and not (isinstance(root, ast.Name) and root.id in owners):
        return function.value  # type: ignore[attr-defined]
    return args[0] if args and not isinstance(args[0], ast.Starred) else None


def _is_symmetric(function: ast.expr) -> bool:
    return ast.unparse(function).rpartition(".")[2] in SYMMETRIC


def _is_unseen(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and node.arg in UNSEEN_ARGUMENTS


def _whole_arguments(tree: ast.Module) -> set[str]:
    """The names of arguments that hold Python's numbers, whole ones, truths or texts wherever they are annotated."""
    annotated = [
        (arg.arg, ast.unparse(arg.annotation)) for arg in ast.walk(tree) if isinstance(arg, ast.arg) and arg.annotation
    ]
    return {name for name, _ in annotated} - {name for name, kind in annotated if not WHOLE.match(kind)}


def _may_have_a_gradient(node: ast.expr, parent: ast.AST, whole: set[str]) -> bool:
    """Not what is only done, compared or asked for its shape, counted, cut, constant or named."""
    if isinstance(parent, ast.Expr | ast.Compare | ast.Slice | ast.Attribute):
        return False
    match node:
        case ast.Call(ast.Name(name)):
            return name not in INTEGERS | MADE
        case ast.Call(ast.Attribute(ast.Name("math"), _)):
            return False
        case ast.Call(ast.Attribute(_, name)):
            return name not in MADE
        case ast.Name(name):
            is_constant = len(name) > 1 and name.isupper()
            return not is_constant and name not in INTEGERS | whole
    return isinstance(node, ast.Call)


def _alternatives(node: ast.expr, owners: set[str]) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.BinOp(left, op, right) if type(op) in OPERATORS:
            yield "operator", ast.BinOp(left, OPERATORS[type(op)](), right)
        case ast.Compare(left, [op], [right]) if type(op) in OPERATORS:
            yield "operator", ast.Compare(left, [OPERATORS[type(op)]()], [right])
        case ast.BoolOp(op, values):
            yield "operator", ast.BoolOp(OPERATORS[type(op)](), values)
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            yield "operator", operand
        case ast.Constant(bool(value)):
            yield "constant", ast.Constant(not value)
        case ast.Constant(int(value)):
            yield "constant", ast.Constant(value + 1)
        case ast.Constant(float(value)):
            yield "constant", ast.Constant(2 * value or 1.0)
        case ast.IfExp(_, body, otherwise):
            yield "branch", body
            yield "branch", otherwise
        case ast.Call(function, args, keywords):
            if given := _given(function, args, owners):
                yield "call", given
            if len(args) > 1 and ast.unparse(args[0]) != ast.unparse(args[1]) and not _is_symmetric(function):
                yield "argument", ast.Call(function, [args[1], args[0], *args[2:]], keywords)
            for place, keyword in enumerate(keywords):
                if keyword.arg and keyword.arg not in UNSEEN_ARGUMENTS:
                    yield "argument", ast.Call(function, args, keywords[:place] + keywords[place + 1 :])
