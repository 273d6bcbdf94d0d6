"""Trace every tensor that enters or leaves a submodule call, by path, in order, in either framework."""

import contextlib
import dataclasses
import inspect
import re
import types
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from crosscheck.recording.nesting import flatten, map_arguments, map_arrays, rebuilt
from crosscheck.recording.values import Call
from crosscheck.recording.writes_in_place import Written

FRAMEWORKS = ("torch", "flax", "jax", "builtins")
FORWARD = ("forward", "__call__")
NOT_COMPUTING = frozenset({"setup", "extra_repr", "reset_parameters", "init_weights"})
Tap = Callable[[str, Any], Any]  # (name, tensor) -> the tensor to use in its place


class Slot(NamedTuple):
    """Stands for the tensor that was tapped under this name."""

    tap: str


class Captured(NamedTuple):
    """A call that can be repeated: the module, its method, the arguments with a slot for every tensor, and the names of
    its outputs."""

    path: str
    method: str
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    outputs: list[str]

    def filled(self, fill: Callable[[str], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with fill(tap) in every slot."""
        args, kwargs = self.arguments
        return tuple(_filled(each, fill) for each in args), {name: _filled(each, fill) for name, each in kwargs.items()}


class Tracer:
    """Names the calls of one run and hands their tensors to `tap`, which may replace them.

    A call's name is the module's path, plus the method if it isn't forward and a number if it isn't the first call:
    "decoder.rnn.cells.0.step#3". `can_see` says whether tensors can currently leave the run. `captured` keeps every
    call that can be repeated. `statistics` receives the final running statistics of a JAX run.
    """

    def __init__(self, tap: Tap, can_see: Callable[[], bool] = lambda: True):
        self.tap = tap
        self.can_see = can_see
        self.calls: dict[str, Call] = {}
        self.hidden: list[str] = []
        self.statistics: dict[str, Any] = {}
        self.captured: dict[str, Captured] = {}
        self._counts: Counter[str] = Counter()
        self._open = [("", "")]

    def run(
        self, path: str, method: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """function(*args, **kwargs) with its inputs and outputs tapped."""
        if not self.can_see():
            self.hidden.append(path)
            return function(*args, **kwargs)
        call = self._name(path, method)
        accepts = _accepted(function)
        names: list[str] = []
        taps: dict[int, str] = {}
        passed = map_arguments(_once_each(self._given(f"{call} in", accepts, names, taps)), args, kwargs)
        self.calls[call] = Call(path, *self._open[-1], tuple(names), accepts)
        written = Written((args, kwargs), passed)
        self._open.append((path, call))
        try:
            result = function(*passed[0], **passed[1])
        finally:
            self._open.pop()
        self._capture(call, path, method, (args, kwargs), taps, result)
        return written.back(result, map_arrays(self._numbered(f"{call} out"), result))

    def _capture(
        self, call: str, path: str, method: str, given: tuple[Any, Any], taps: Mapping[int, str], result: Any
    ) -> None:
        """Keep the call if it can be repeated: its nestings can be taken apart and rebuilt."""
        with contextlib.suppress(Exception):  # a PackedSequence can't hold anything but tensors
            slots = map_arguments(lambda _, tensor: Slot(taps[id(tensor)]), *given)
            self.captured[call] = Captured(path, method, slots, [name for name, _ in flatten(result)])

    def _given(self, prefix: str, accepts: tuple[str, ...], names: list[str], taps: dict[int, str]) -> Tap:
        """A tap that numbers tensors in order, and keeps each one's name in the signature, and its tap."""

        def run(name: str, tensor: Any) -> Any:
            taps[id(tensor)] = f"{prefix}[{len(names)}]"
            names.append(_in_signature(name, accepts))
            return self.tap(taps[id(tensor)], tensor)

        return run

    def _name(self, path: str, method: str) -> str:
        name = path if method in FORWARD else f"{path}.{method}"
        self._counts[name] += 1
        return name if self._counts[name] == 1 else f"{name}#{self._counts[name] - 1}"

    def _numbered(self, prefix: str) -> Tap:
        """A tap that numbers tensors in order, since argument names and nesting may differ between two ports."""
        numbers = iter(range(10**9))
        return lambda _, tensor: self.tap(f"{prefix}[{next(numbers)}]", tensor)


def _filled(tree: Any, fill: Callable[[str], Any]) -> Any:
    if isinstance(tree, Slot):
        return fill(tree.tap)
    if isinstance(tree, Mapping):
        return rebuilt(tree, {key: _filled(value, fill) for key, value in tree.items()})
    if isinstance(tree, tuple | list):
        items = [_filled(value, fill) for value in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        fields = [field.name for field in dataclasses.fields(tree) if field.init]
        return dataclasses.replace(tree, **{key: _filled(getattr(tree, key), fill) for key in fields})
    return tree


def _accepted(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names that a function takes its arguments by, in order; empty where they can't be read."""
    with contextlib.suppress(TypeError, ValueError):
        found = inspect.signature(function).parameters.values()
        return tuple(each.name for each in found if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD))
    return ()


def _in_signature(name: str, accepts: Sequence[str]) -> str:
    """The argument that holds a tensor: "0[1]" -> "states[1]"."""
    place = re.match(r"\d+", name)
    number = int(place.group()) if place else len(accepts)
    return accepts[number] + name[len(str(number)) :] if number < len(accepts) else name


def _once_each(tap: Tap) -> Tap:
    """A tensor passed twice, say as query and key, is tapped once: the other side may receive it once."""
    seen: dict[int, tuple[Any, Any]] = {}

    def run(name: str, tensor: Any) -> Any:
        if id(tensor) not in seen:
            seen[id(tensor)] = tensor, tap(name, tensor)
        return seen[id(tensor)][1]

    return run


def own_methods(kind: type) -> list[str]:
    """Public methods that the class or its bases define outside the frameworks, such as a model's own steps."""
    names: dict[str, None] = {}
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] in FRAMEWORKS:
            break
        for name, value in vars(base).items():
            if isinstance(value, types.FunctionType) and not (name.startswith("_") or name in NOT_COMPUTING):
                names.setdefault(name)
    return [name for name in names if name not in FORWARD and not _is_lazy(getattr(kind, name))]


def _is_lazy(method: Any) -> bool:
    method = inspect.unwrap(method)
    return inspect.isgeneratorfunction(method) or inspect.iscoroutinefunction(method)


def end_of(name: str) -> str:
    """Which end of a call a tap is: "in" or "out"."""
    return name.rpartition(" ")[2].partition("[")[0]


def call_of(name: str) -> str:
    """The call that a tap belongs to."""
    return name.rpartition(" ")[0]
