"""The operations of a run of the torch side: every function that its code calls. Sibling: in_jax.py."""

import copy
import functools
import hashlib
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crosscheck.causes.flips.flip import OWN, Flip, Replaced
from crosscheck.causes.operations.operation import LARGEST, Operation, line_of
from crosscheck.recording import record
from crosscheck.recording.arguments import Arguments
from crosscheck.recording.side import Side
from crosscheck.recording.values import Options
from torch_impl.weights import to_numpy

TRACING = ("crosscheck", "torch_impl.weights")
TESTS = "crosscheck.tests"
REPLACING = ("__torch_function__", "_at", "_is_meant", "only")  # frames between a call and what asks where it stands
BUFFER = "buffer "
SAME = ("__deepcopy__", "clone", "requires_grad_", "contiguous")  # whose result holds what they are given
PROPERTIES = ("__get__", "__set__")
LAYOUTS = ("T", "mT", "H", "mH", "real", "imag")  # properties that return a tensor in another layout


def operations_of_torch(side: Side, arguments: Arguments, options: Options) -> list[Operation]:
    """What the torch side calls, in order, without a backward pass."""
    recorder = _Recorder()
    module = copy.deepcopy(side.module) if isinstance(side.module, torch.nn.Module) else side.module
    if isinstance(module, torch.nn.Module):
        recorder.watch(module)
        recorder.hold(module)
    quick = replace(options, gradients=False, updates=0, noise_runs=0)
    with recorder:
        record.run(replace(side, module=module, own={}), arguments, quick)
    return [replace(each, variable=recorder.variables.get(n, "")) for n, each in enumerate(recorder.operations)]


class _Recorder(Replaced):
    """Keeps every call of a torch function, with the place of its calls among those of its module's own code."""

    def __init__(self) -> None:
        super().__init__(Flip("", ""))
        self.operations: list[Operation] = []
        self.numbers: Counter[Any] = Counter()
        self.made: dict[int, int] = {}
        self.names: dict[bytes, str] = {}  # of parameters, by their numbers: a run may copy them
        self.variables: dict[int, str] = {}  # that hold what an operation makes
        self.kept: list[Any] = []  # an id is a tensor's own only as long as the tensor is

    def _enter(self, path: str) -> None:
        if not self.open:
            self.numbers.clear()
        super()._enter(path)

    def hold(self, module: torch.nn.Module) -> None:
        """Know a module's parameters and buffers by name."""
        self.names = {_numbers_of(_array(parameter)): name for name, parameter in module.named_parameters()}
        for name, buffer in module.named_buffers():
            self._keep(buffer, Operation(f"{BUFFER}{name}", (), _array(buffer)))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in PROPERTIES and getattr(getattr(func, "__self__", None), "__name__", "") not in LAYOUTS:
            return func(*args, **kwargs)
        if func is torch.nn.functional.multi_head_attention_forward:
            return super().__torch_function__(func, types, args, kwargs)
        inputs, frame = self._inputs((args, kwargs)), standing()
        self._call_by_variables(frame)
        line = line_of(frame.f_code.co_filename, frame.f_lineno) if frame else ""
        result = func(*args, **kwargs)
        path = self.open[-1] if self.open else ""
        number = self.numbers[path, func]
        self.numbers[path, func] += 1
        made = args[0] if result is None and args and isinstance(args[0], Tensor) else result
        if name in SAME and inputs and isinstance(made, Tensor):
            self.made[id(made)] = inputs[0]
            self.kept.append(made)
            return result
        name = func.__self__.__name__ if name in PROPERTIES else name
        results = _tensors(made)
        for n, each in enumerate(results):
            found = Operation(name, inputs, _array(each), tuple(_numbers((args, kwargs))), line, func, args, kwargs)
            output = n if len(results) > 1 else None
            self._keep(each, replace(found, site=(f"{OWN}{path}", number), place=place_of(frame), output=output))
        return result

    def _inputs(self, given: Any) -> tuple[int, ...]:
        for each in _tensors(given):
            if id(each) not in self.made:
                kind, array = "parameter" if each.requires_grad else "table", _array(each)
                self._keep(each, Operation(kind, (), array, line=self.names.get(_numbers_of(array), "")))
        return tuple(self.made[id(each)] for each in _tensors(given) if id(each) in self.made)

    def _call_by_variables(self, frame: Any) -> None:
        """Know tensors by the variables of the code that holds them."""
        for name, value in frame.f_locals.items() if frame else ():
            if isinstance(value, Tensor) and id(value) in self.made:
                self.variables.setdefault(self.made[id(value)], name)

    def _keep(self, tensor: Tensor, operation: Operation) -> None:
        self.made[id(tensor)] = len(self.operations)
        self.operations.append(operation)
        self.kept.append(tensor)


def _array(tensor: Tensor) -> Any:
    """The numbers as they are now; none of a tensor that is too large."""
    with torch._C.DisableTorchFunction():
        return to_numpy(tensor.detach().clone()) if tensor.numel() <= LARGEST else np.empty(0)


def _numbers_of(array: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(array)).digest() if array.size else b""


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [each for item in tree for each in _tensors(item)] if isinstance(tree, tuple | list) else []


def _numbers(tree: Any) -> list[float]:
    """The numbers in a call: Python's, and tensors without axes."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, tuple | list):
        return [each for item in tree for each in _numbers(item)]
    if isinstance(tree, Tensor):
        return [float(_array(tree))] if tree.ndim == 0 and tree.dtype.is_floating_point else []
    return [float(tree)] if isinstance(tree, int | float) and not isinstance(tree, bool) else []


def standing() -> Any:
    """Where the caller's own code stands: its frame, past those of frameworks; None if the tracing itself calls."""
    frame: Any = sys._getframe(1)
    while frame is not None and (frame.f_code.co_name in REPLACING or frame.f_code.co_filename == __file__):
        frame = frame.f_back
    if frame is not None and _is_tracing(frame.f_globals.get("__name__", "")):
        return None
    while frame is not None and _is_framework(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame


def place_of(frame: Any) -> Any:
    """The instruction in the code that a frame is at."""
    return None if frame is None else (frame.f_code, frame.f_lasti)


@functools.lru_cache(maxsize=4096)
def _is_framework(name: str) -> bool:
    return name.partition(".")[0] == "torch" or _is_tracing(name)


@functools.lru_cache(maxsize=4096)
def _is_tracing(name: str) -> bool:
    return name.startswith(TRACING) and not name.startswith(TESTS)
