"""Plants a fault: compiles the changed source and installs its code in the running functions; no file is modified."""

import importlib
import inspect
import types
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crosscheck.faults.fault import Change, TextChange
from shared.errors import IsogradError

FILES_THAT_IMPORT_ALL = ("torch_impl.backend", "jax_impl.backend")  # loaded first: later imports would keep the fault
ROOT = Path(__file__).parents[2]
PARTS_OF_A_FUNCTION = ("__code__", "__defaults__", "__kwdefaults__")


_ACTIVE: list[Change] = []  # currently planted changes; further changes go on top of them


@contextmanager
def planted(changes: Sequence[Change]) -> Iterator[None]:
    """Run the changed functions throughout the process in this context. Not thread-safe.

    Raises IsogradError if a text to be changed does not occur exactly once in its file.
    """
    before: list[tuple[Any, str, Any]] = []
    active = len(_ACTIVE)
    for name in FILES_THAT_IMPORT_ALL:
        importlib.import_module(name)
    try:
        for change in changes:
            for target, name, value in _replacements(change):
                before.append((target, name, getattr(target, name)))
                setattr(target, name, value)
            _ACTIVE.append(change)
        yield
    finally:
        del _ACTIVE[active:]
        for target, name, value in reversed(before):
            setattr(target, name, value)


def current_source(path: str) -> str:
    """The source of a file with the currently planted changes."""
    source = (ROOT / path).read_text(encoding="utf-8")
    for earlier in _ACTIVE:
        source = source.replace(earlier.old, earlier.new) if earlier.path == path else source
    return source


def changed_source(change: Change) -> str:
    """The source of the file with the change applied on top of those already planted."""
    return with_change(current_source(change.path), (change.old, change.new), change.path)


def with_change(source: str, change: TextChange, path: str) -> str:
    """A file's source with one text changed; raises IsogradError if that text does not occur exactly once."""
    old, new = change
    if source.count(old) != 1:
        raise IsogradError(
            f"a fault changes {old!r} in {path}, expected exactly once but found {source.count(old)} times: "
            "fix the fault's row"
        )
    return source.replace(old, new)


def _replacements(change: Change) -> Iterator[tuple[Any, str, Any]]:
    """(object, attribute, new value) for every function and constant of the module that the change alters."""
    name = change.path.removesuffix(".py").replace("/", ".")
    module = importlib.import_module(name)
    fresh = types.ModuleType(name)
    fresh.__file__ = module.__file__
    with warnings.catch_warnings():  # where a number has replaced a name, the source compares it by `is`
        warnings.simplefilter("ignore", SyntaxWarning)
        exec(compile(changed_source(change), str(module.__file__), "exec"), vars(fresh))
    ours, theirs = _functions(module, name), _functions(fresh, name)
    for path in ours.keys() & theirs.keys():
        for part in PARTS_OF_A_FUNCTION:
            if getattr(ours[path], part) != getattr(theirs[path], part):
                yield ours[path], part, getattr(theirs[path], part)
    for key, value in vars(fresh).items():
        if key.isupper() and getattr(module, key, value) != value:
            yield module, key, value


def _functions(owner: Any, module: str, path: str = "") -> dict[str, types.FunctionType]:
    """The undecorated functions that a module defines, including methods of its classes."""
    found: dict[str, types.FunctionType] = {}
    for name, value in list(vars(owner).items()):
        value = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if getattr(value, "__module__", None) != module:
            continue
        if inspect.isclass(value) and not path:
            found |= _functions(value, module, f"{name}.")
        elif callable(value) and isinstance(inspect.unwrap(value), types.FunctionType):
            found[path + name] = inspect.unwrap(value)  # type: ignore[assignment]
    return found
