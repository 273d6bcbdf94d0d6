"""The import laws as data, and a walk over the `ast` that finds what a source imports and when."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("shared", "torch_impl", "jax_impl", "crosscheck", "experiments")
IMPORTERS = {"import_module", "__import__"}  # with a literal name they are imports too


@dataclass(frozen=True)
class Law:
    """The imports that a package may make anywhere, or only inside functions, besides the standard library."""

    anywhere: frozenset[str]
    lazily: frozenset[str] = field(default_factory=frozenset)


def law(anywhere: str, lazily: str = "") -> Law:
    return Law(frozenset(anywhere.split()), frozenset(lazily.split()))


LAWS = {
    "shared": law(
        "shared numpy safetensors ml_dtypes regex tokenizers jaxtyping",
        "datasets triton pyarrow tensorboardX rich msgpack PIL",
    ),
    "torch_impl": law("torch_impl shared torch numpy ml_dtypes safetensors jaxtyping", "triton"),
    "jax_impl": law("jax_impl shared jax flax optax orbax numpy ml_dtypes safetensors jaxtyping", "msgpack triton"),
    "crosscheck": law(
        "crosscheck shared torch_impl jax_impl torch jax flax optax numpy ml_dtypes safetensors jaxtyping rich",
        "transformers orbax tokenizers jinja2 matplotlib triton",
    ),
    "experiments": law(
        "experiments shared numpy rich",
        "crosscheck torch_impl jax_impl torch jax flax optax transformers "
        "jinja2 matplotlib scipy tyro tensorboardX datasets safetensors optuna PIL",
    ),
}
NOTHING = law("")
SUPPORT = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
# crosscheck/tests/ also imports these
IN_TESTS = law(f"pytest hypothesis transformers orbax tokenizers jinja2 matplotlib {' '.join(SUPPORT)}")
IN_KERNELS = law("triton")  # shared/kernels/*.py also import it, and are themselves imported inside functions only
KERNELS = "shared.kernels."
# The rooms of a package, from the ground up: each imports only rooms to its left, even inside functions.
FLOORS = {
    "crosscheck": "criterion recording pairing judging faults pages report compare runs twins divergences causes "
    "explain locate scoring ports kernels testing __init__",
    "experiments": "__init__ exit_codes plain_text catalogue progress training reports search porting bench studies "
    "parsing commands cli __main__",
}


@dataclass(frozen=True)
class Import:
    name: str
    line: int
    lazy: bool

    @property
    def root(self) -> str:
        return self.name.partition(".")[0]


def breaches(source: str, package: str, extra: Law = NOTHING) -> list[str]:
    """One sentence for each import of `source` that its package's law forbids."""
    allowed = LAWS[package]
    found = []
    for use in imports(ast.parse(source), package):
        if use.name.startswith(KERNELS) and not use.lazy:
            found.append(f"line {use.line}: {use.name} is imported inside functions only")
        if use.root in sys.stdlib_module_names or use.root in allowed.anywhere | extra.anywhere:
            continue
        if use.root not in allowed.lazily:
            found.append(f"line {use.line}: {package} never imports {use.root}")
        elif not use.lazy:
            found.append(f"line {use.line}: {package} imports {use.root} inside functions only")
    return found


def imports(node: ast.AST, package: str, lazy: bool = False) -> Iterator[Import]:
    """Every import below `node`; `lazy` once inside a function. Blocks for type checkers count as lazy."""
    for child in ast.iter_child_nodes(node):
        yield from (Import(name, child.lineno, lazy) for name in imported(child, package))
        if _is_for_type_checkers(child):
            yield from imports(ast.Module(child.body, []), package, lazy=True)
            yield from imports(ast.Module(child.orelse, []), package, lazy)
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(child, package, lazy or is_function)


def imported(node: ast.AST, package: str) -> list[str]:
    """The modules that one node imports, by their full names; a relative import is the package's own."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, level=level):
            return [package if level else (module or "")]
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            return [name if name.partition(".")[0] else package] if called in IMPORTERS else []
    return []


def room_of(module: str, root: Path) -> str:
    """The folder or file directly below a package that holds a module: "crosscheck.pages.page" -> "pages"."""
    package, _, inner = module.partition(".")
    name = inner.partition(".")[0] or "__init__"
    exists = (root / package / name).is_dir() or (root / package / f"{name}.py").is_file()
    return name if exists else "__init__"


def arrows(root: Path, package: str) -> dict[tuple[str, str], list[str]]:
    """(room, room that it imports) -> where. Imports for type checkers alone don't count."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted((root / package).rglob("*.py")):
        place = path.relative_to(root)
        if "tests" in place.parts:
            continue
        room = room_of(".".join(place.with_suffix("").parts), root)
        for name, line in _targets(ast.parse(path.read_text())):
            if name.partition(".")[0] == package and (other := room_of(name, root)) != room:
                found.setdefault((room, other), []).append(f"{place}:{line}")
    return found


def _targets(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every module that is imported, with `from package import room` as package.room."""
    hidden = {id(inner) for node in ast.walk(tree) if _is_for_type_checkers(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names] if "." not in node.module else [node.module]
            yield from ((name, node.lineno) for name in inner)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
