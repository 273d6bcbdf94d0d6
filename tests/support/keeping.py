"""What tests decide by: functions that keep every difference of numbers, and some that lose it on one side only.

A test decides by functions of the project, whose results are what it judges, and by functions of libraries. Of the
latter it may use those that the tables below hold: through `KEEPING` a difference of numbers stays one, `LOSING` may
make one of two sides that are compared, since the other's differences are still seen. Every other one is reported: no
new way to lose digits has to be thought of. Who needs a function adds it here, where a reader can judge it.
"""

import ast
import builtins
import functools
import math
import operator
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import jax
import numpy as np
import torch
from bound_names import Bindings
from numbers_in_source import is_fraction, last_name, number_of
from places import ROOT

OWN = ("shared", "torch_impl", "jax_impl", "crosscheck", "experiments", "tests")
WHOLE = {  # libraries of which every function may be called: they make models or draw, read files, or walk
    "ast", "collections", "dataclasses", "flax", "html", "inspect", "itertools", "optax", "os", "packaging", "pathlib",
    "random", "safetensors", "signal", "subprocess", "threading", "tokenizers", "tomllib", "transformers", "types",
    "zlib", "jax.random", "jax.tree", "numpy.random",
}  # fmt: skip
CLASSES = ("torch.nn", "flax.nnx")  # whose classes are modules under test
KEEPING = {
    word
    for words in (
        # numbers and arrays are made, moved, put together, computed with
        "_fused_adamw_ _softmax_backward_data abs arange array asarray asfortranarray bincount broadcast_to cat",
        "choose clip_grad_norm_ clone concatenate copy count count_nonzero cpu detach device_put diag diff double",
        "embedding empty exp expand eye flip float float32 float64 from_numpy full full_like gather grad hypot",
        "index_select integers item linspace log log10 masked_fill max mean min norm numpy ones ones_like pad",
        "permutation polyder polyfit polyval prod ptp randn randrange ravel reshape roots scan sort sqrt stack",
        "standard_normal stop_gradient sum take tensor to tolist transpose tri tril triu unsqueeze where zeros",
        "zeros_like",
        # said of arrays, and of programs that make them
        "all any are_deterministic_algorithms_enabled array_equal data_ptr devices dtype element_size equal finfo",
        "get_default_dtype get_rng_state initial_seed is_grad_enabled isenabled isfinite isnan isneginf jit make_jaxpr",
        "nbytes newbyteorder numel opcheck requires_grad_ shape shares_memory size uint32 unsafe_buffer_pointer",
        "untyped_storage vmap",
        # containers and functions
        "bytes cache callable checkpoint default dict enumerate filter fromkeys get getattr hasattr id index",
        "isdisjoint isinstance issubset items iter keys len list map next partial pop popitem range reduce remat",
        "reversed S_IMODE set sorted tuple type values vars zip",
        # texts
        "bit_count compile decode dumps encode fnmatchcase format groups isupper join loads lower msgpack_restore",
        "removeprefix removesuffix replace repr rindex rstrip splitlines str strip tobytes translate",
        # files, and what objects of other libraries tell
        "__init__ __wrapped__ _asdict _replace absolute as_posix asdict BertTokenizerFast bind cancelled",
        "ConnectionError documents eval exists find_spec get_marker get_value get_xlabel get_xydata glob group",
        "HasField id_to_token import_module importorskip init is_dir is_fifo is_file ishidden iterdir named_modules",
        "named_parameters param Parameter read_bytes read_text readline readouterr relative_to restore rglob RULES",
        "stat to_device to_str token_to_id uncached",
    )
    for word in words.split()
}
LOSING = {
    "argmax", "argmin", "argsort", "astype", "bit_length", "bool", "floor", "gelu", "int", "is_integer", "median",
    "relu", "softmax", "unique", "view",
}  # fmt: skip
COARSE = {"bit_length", "floor", "int", "median", "relu"}  # of these, what makes zeros of small differences
CUTTING = {
    "endswith",
    "findall",
    "fullmatch",
    "match",
    "partition",
    "rpartition",
    "rsplit",
    "search",
    "split",
    "startswith",
    "sub",
}  # fmt: skip  what takes a part of a text, which must not be that of a number
WRITING = {"str", "repr", "dumps", "format", "hex"}
FINDING = {"vars", "globals", "locals", "__import__", "getattr", "eval", "exec"}  # what they find may be any function
ALIASES = {"np": "numpy", "jnp": "jax.numpy", "F": "torch.nn.functional", "nn": "torch.nn", "nnx": "flax.nnx"}
LIBRARIES = {module.__name__: module for module in (jax, math, np, operator, statistics, torch)}
ARRAYS = (np.ndarray, torch.Tensor, float, int, str, bytes, list, dict, set)
EXTREMES = {"max", "min"}  # whose difference says nothing of the rest
BITS = ast.BitAnd | ast.BitOr | ast.BitXor | ast.RShift
EQUALITY = {"equal", "array_equal", "assert_array_equal", "assert_equal"}


@dataclass(frozen=True)
class File:
    """A file's imported names in full, the names that it gives to anything, and what is behind the names of a scope."""

    imported: dict[str, str]
    bound: set[str]
    found: dict[str, set[str]] = field(default_factory=dict)


def file_of(tree: ast.Module) -> File:
    nodes = list(ast.walk(tree))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return File(imports(nodes), bound | {node.arg for node in nodes if isinstance(node, ast.arg)})


def said_of_functions(node: ast.AST, known: Bindings, file: File) -> Iterator[str]:
    """A sentence for each function that decides and isn't known to keep differences, or loses them on both sides."""
    for name in sorted(set().union(*(made_by(decided, known, file) for decided in decided_by(node)))):
        if last(name) not in KEEPING | LOSING | CUTTING:
            yield f"{name} is not known to keep every difference"
    for left, right, losing in compared(node):
        lost = [lost_by({*map(last, made_by(side, known, file))}, losing) | added(side) for side in (left, right)]
        if all(lost):
            yield f"{min(lost[0])} loses something on both sides"
        for number, others in ((left, lost[1]), (right, lost[0])):
            if number_of(number) == 0 and others & COARSE:
                yield f"{min(others & COARSE)} makes zeros of small differences"


def lost_by(names: set[str], losing: set[str]) -> set[str]:
    """Those of the functions that lose something; a part of a text does where the text is a number's."""
    return names & (losing | CUTTING if names & WRITING else losing)


def decided_by(node: ast.AST) -> list[ast.expr]:
    """What an assertion is about, or what a failure follows from."""
    match node:
        case ast.Assert(test=test):
            return [test]
        case ast.If(test=test, body=body) | ast.While(test=test, body=body) if any(map(is_failure, body)):
            return [test]
        case ast.Expr(value=ast.Call(args=args) as call) if last_name(call).startswith("assert"):
            return args
    return []


def is_failure(node: ast.stmt) -> bool:
    return isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and last_name(node.value) == "fail")


def compared(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr, set[str]]]:
    """The pairs that should be equal or in order, and what may not make both; a difference and zero are such a pair."""
    match node:
        case ast.Compare(left=left, comparators=others, ops=signs):
            for (a, b), sign in zip(pairwise([left, *others]), signs, strict=True):
                if isinstance(a, ast.BinOp) and isinstance(a.op, ast.Sub) and number_of(b) == 0:
                    yield a.left, a.right, LOSING | EXTREMES
                if not isinstance(sign, ast.NotEq | ast.NotIn | ast.IsNot):
                    yield a, b, LOSING
        case ast.Call(args=[left, right, *_]) if last_name(node) in EQUALITY:
            yield left, right, LOSING
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand, ast.Constant(0), LOSING


def added(side: ast.expr) -> set[str]:
    """What stands beside a side's numbers and hides small ones: fractions that are added, and masks of bits."""
    pairs = [(part, each) for part in ast.walk(side) if isinstance(part, ast.BinOp) for each in (part.left, part.right)]
    sums = {ast.unparse(each) for part, each in pairs if isinstance(part.op, ast.Add | ast.Sub) and is_fraction(each)}
    return sums | {ast.unparse(each) for part, each in pairs if isinstance(part.op, BITS) and is_number(each)}


def is_number(node: ast.expr) -> bool:
    return isinstance(node.operand if isinstance(node, ast.UnaryOp) else node, ast.Constant)


def made_by(node: ast.AST, known: Bindings, file: File) -> set[str]:
    """The functions of libraries that made a value in this file; what functions of the project get is not followed."""
    match node:
        case ast.Name(id=name):
            return made_before(name, known, file) | mentioned(node, file)
        case ast.Attribute(attr=name, value=value):
            return made_before(f".{name}", known, file) | made_by(value, known, file) | mentioned(node, file)
        case ast.Call(func=function, args=args, keywords=named):
            name = dotted(function, file)
            if isinstance(function, ast.Name) and name in FINDING and is_found(node, file):
                return {f"what {name} finds"}
            made = made_before(f"{last(name)}()", known, file)
            if is_own(function, name, file):
                return made if isinstance(function, ast.Attribute) else made | made_by(function, known, file)
            parts = [getattr(function, "value", function), *args, *(part.value for part in named)]
            return made.union([] if is_whole(name) else [name], *(made_by(part, known, file) for part in parts))
        case ast.expr() | ast.comprehension():
            return set().union(*(made_by(child, known, file) for child in ast.iter_child_nodes(node)))
    return set()


def is_found(call: ast.Call, file: File) -> bool:
    """True for `eval` and its like, and for `getattr` of a library whose functions are not all known."""
    of = dotted(call.args[0], file) if call.args else ""
    return last_name(call) not in {"vars", "getattr"} or (of.partition(".")[0] in LIBRARIES and not is_whole(f"{of}."))


def mentioned(node: ast.expr, file: File) -> set[str]:
    """A library's function that is not called here: `map(np.sign, gaps)`."""
    name = dotted(node, file)
    root, *attributes = name.split(".")
    value: Any = LIBRARIES.get(root)
    for attribute in attributes:
        value = getattr(value, attribute, None)
    is_function = bool(attributes) and callable(value) and not isinstance(value, type)
    return {name} if is_function and not is_whole(name) else set()


def made_before(name: str, known: Bindings, file: File) -> set[str]:
    """The same for the values behind a name."""
    if name not in known:
        return set()
    if name not in file.found:
        file.found[name] = set()  # a name among its own values adds nothing
        file.found[name] = set().union(*(made_by(value, known, file) for value in known[name]))
    return file.found[name]


def is_own(function: ast.expr, name: str, file: File) -> bool:
    """True for a function of the project, and for one that the file defines or has in a variable."""
    if not name:  # what is no name: a lambda, a choice, an entry of a table written there
        return True
    match function:
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return is_own(inner, name, file)
        case ast.Name(id=plain) if plain not in file.imported:
            return plain in file.bound or (plain in defined() and not hasattr(builtins, plain))
    if "." in name:
        return name.partition(".")[0] in {*OWN, *helpers()}
    return isinstance(function, ast.Attribute) and name in defined() and not any(hasattr(kind, name) for kind in ARRAYS)


def is_whole(name: str) -> bool:
    """True for a function of a library of which every one may be called, and for the class of a framework's module."""
    return any(name.startswith(f"{each}.") for each in WHOLE) or (name.startswith(CLASSES) and last(name)[0].isupper())


def dotted(function: ast.expr, file: File) -> str:
    """`numpy.linalg.norm` of `np.linalg.norm`; of a method, its name; of what is called otherwise, what it is of."""
    match function:
        case ast.Name(id=name):
            return file.imported.get(name, name)
        case ast.Attribute(attr=name, value=value):
            owner = ast.unparse(value)
            of_module = owner.replace(".", "").isidentifier() and owner.partition(".")[0] in file.imported
            return f"{dotted(value, file)}.{name}" if of_module else name
        case ast.Call(func=ast.Name(id=name)) if name in FINDING:
            return f"what {name} finds" if is_found(function, file) else ""
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return dotted(inner, file)
    return ""


def imports(nodes: list[ast.AST]) -> dict[str, str]:
    """The imported names in full, and those that libraries usually have."""
    found = dict(ALIASES)
    for node in nodes:
        match node:
            case ast.Import(names=names):
                found |= {each.asname or each.name.partition(".")[0]: each.name for each in names if each.asname}
                found |= {(root := each.name.partition(".")[0]): root for each in names if not each.asname}
            case ast.ImportFrom(module=module, names=names):
                found |= {each.asname or each.name: f"{module}.{each.name}" for each in names}
    return found


def last(name: str) -> str:
    return name.rpartition(".")[2]


@functools.cache
def helpers() -> set[str]:
    """The modules that tests import from folders of tests."""
    return {path.stem for folder in ("tests", "crosscheck/tests") for path in (ROOT / folder).rglob("*.py")} | {
        "mutants"
    }


@functools.cache
def defined() -> set[str]:
    """The names of all functions and classes of the project."""
    sources = (path.read_text() for folder in OWN for path in (ROOT / folder).rglob("*.py"))
    return {name for source in sources for name in re.findall(r"^ *(?:def|class) (\w+)", source, re.M)}
