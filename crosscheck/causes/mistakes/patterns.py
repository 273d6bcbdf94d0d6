"""Source patterns that match either framework's code: `where($mask, $a, $b)` finds `torch.where(is_valid, h, 0)`.

A function is matched by its last name. `$x` matches any expression, and the same one wherever it is repeated; a name
that starts with a word in `CONSTRAINTS` matches only what that allows. `*$rest` matches all remaining arguments.
"""

import ast
import re
from collections.abc import Iterator
from typing import Any

CONSTRAINTS = {
    "mask": re.compile(r"mask|valid|visible"),
    "states": re.compile(r"^(h|hidden|hidden_states?|states|finals)$"),
    "ids": re.compile(r"ids|inputs|tokens"),
    "projection": re.compile(r"(hidden|input)_proj|weight_(h|i)h"),
    "hidden": re.compile(r"hidden_proj|weight_hh"),
    "lengths": re.compile(r"lengths"),
    "dropout": re.compile(r"dropout$"),
    "variance": re.compile(r"^var(iance)?$"),
    "name": re.compile(r""),
}
IGNORED = ("ctx", "type_comment", "kind", "lineno", "col_offset", "end_lineno", "end_col_offset")
LARGEST_EPS = 1e-2  # derived: ten times the largest library default, Keras's 1e-3
HELPERS = "__import__('crosscheck.causes.mistakes.replacements', fromlist=['_'])."
Found = dict[str, Any]


def parse(pattern: str) -> ast.AST:
    """The syntax tree of a pattern: an expression, or one statement."""
    statement = ast.parse(re.sub(r"\$(\w+)", r"_S_\1", pattern)).body[0]
    return statement.value if isinstance(statement, ast.Expr) else statement


def match(pattern: ast.AST, node: ast.AST) -> Found | None:
    """Bindings of the pattern's variables in the node; None if the node does not match."""
    found: Found = {}
    return found if _fits(pattern, node, found) else None


def filled(template: str, found: Found, source: str) -> str:
    """The replacement's source: `$x` and the pattern's functions as written, `do.` resolved to our helpers."""
    for name, node in sorted(found.items(), key=lambda item: -len(item[0])):
        if name.startswith("()"):
            template = re.sub(rf"(?<![\w.]){name[2:]}\(", lambda _, n=node: f"{_segment(n, source)}(", template)
        elif isinstance(node, list):
            template = template.replace(f"*${name}", ", ".join(ast.get_source_segment(source, n) or "" for n in node))
        else:
            template = template.replace(f"${name}", _segment(node, source))
    return template.replace("do.", HELPERS)


def _segment(node: ast.AST, source: str) -> str:
    text = ast.get_source_segment(source, node) or ""
    is_whole = isinstance(node, ast.Name | ast.Attribute | ast.Constant | ast.Call | ast.Subscript)
    return text if is_whole else f"({text})"


def _fits(pattern: Any, node: Any, found: Found) -> bool:
    if isinstance(pattern, ast.Name) and pattern.id.startswith("_S_"):
        return _binds(pattern.id[3:], node, found)
    if type(pattern) is not type(node):
        return False
    if isinstance(pattern, ast.Call):
        return _fits_function(pattern.func, node.func, found) and _fits_arguments(pattern, node, found)
    if isinstance(pattern, list):
        return len(pattern) == len(node) and all(_fits(*pair, found) for pair in zip(pattern, node, strict=True))
    if isinstance(pattern, ast.AST):
        fields = [field for field in pattern._fields if field not in IGNORED]
        return all(_fits(getattr(pattern, field), getattr(node, field), found) for field in fields)
    return bool(pattern == node)


def _fits_function(pattern: ast.AST, function: ast.AST, found: Found) -> bool:
    if not isinstance(pattern, ast.Name) or pattern.id.startswith("_S_"):
        return _fits(pattern, function, found)
    found[f"(){pattern.id}"] = function
    return _last_name(function) == pattern.id


def _fits_arguments(pattern: ast.Call, node: ast.Call, found: Found) -> bool:
    *first, last = pattern.args or [None]
    takes_rest = isinstance(last, ast.Starred)
    wanted = first if takes_rest else pattern.args
    keywords = {keyword.arg: keyword for keyword in node.keywords}
    if len(node.args) < len(wanted) or (len(node.args) > len(wanted) and not takes_rest):
        return False
    for keyword in pattern.keywords:
        if keyword.arg not in keywords or not _fits(keyword.value, keywords.pop(keyword.arg).value, found):
            return False
    if keywords and not takes_rest:
        return False
    if takes_rest:
        found[last.value.id[3:]] = [*node.args[len(wanted) :], *keywords.values()]  # type: ignore[union-attr]
    return _fits(wanted, node.args[: len(wanted)], found)


def _binds(variable: str, node: Any, found: Found) -> bool:
    if not isinstance(node, ast.expr) or isinstance(node, ast.Starred):
        return False
    if variable == "eps" and not _is_small(node):
        return False
    allowed = CONSTRAINTS.get(variable)
    if allowed is not None and not (isinstance(node, ast.Name | ast.Attribute) and allowed.search(_last_name(node))):
        return False
    if variable in found:
        return ast.dump(found[variable]) == ast.dump(node)
    found[variable] = node
    return True


def _is_small(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, float) and 0 < node.value <= LARGEST_EPS


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def places(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Every function of a file under its name and class, and the rest of each class and of the file."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{getattr(part, 'name', '')}", part) for part in node.body)
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            yield getattr(node, "name", ""), node


def nodes(place: ast.AST) -> Iterator[ast.AST]:
    """All changeable nodes in a place, which excludes annotations and assignment targets."""
    if isinstance(place, ast.FunctionDef):
        yield from (
            node for default in (*place.args.defaults, *place.args.kw_defaults) if default for node in ast.walk(default)
        )
        for statement in place.body:
            yield from nodes(statement)
    elif isinstance(place, ast.AST) and not isinstance(getattr(place, "ctx", None), ast.Store):
        yield place
        for child in ast.iter_child_nodes(place):
            yield from nodes(child)
