"""A flip as data, and a context that replaces torch functions while a module runs."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from shared.errors import IsogradError

Functions = dict[Callable[..., Any], Callable[..., Any]]  # torch's function -> replacement(original, *args, **kwargs)
# of a flip
FAILURES = (IsogradError, ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError, LookupError)
EPSILONS = (1e-5, 1e-6, 1e-12, 1e-3, 1e-8)  # defaults of torch, Flax, BERT, Keras, and optimisers


def _always(*_: Any, **__: Any) -> bool:
    return True


@dataclass(frozen=True)
class Flip:
    """One flip: the catalogue row, the change in words, and the change itself.

    `layers` changes a copy of the module and says whether it found anything to change; `weights` permutes arrays by
    name if they pass `fits`, and `undo` permutes their gradients back; `inputs` changes one array of the call by name.
    `only` decides from a call's arguments whether to replace its function. `fix` are the changes of the JAX side and of
    torch's with the flip's own values, where those of the catalogue are another case's. `is_placed` means that `what`
    says where already, `is_numbered` that replacements take the module's path and the number of the call there, and
    `holds_numbers` that they hold numbers of the run that they were made for. `supposes` are primitives of which JAX
    has one where the gap begins, if this is its cause.
    """

    divergence: str
    what: str
    functions: Functions = field(default_factory=dict)
    layers: Callable[[nn.Module], bool] | None = None
    weights: Callable[[str, np.ndarray], np.ndarray | None] | None = None
    undo: Callable[[str, np.ndarray], np.ndarray | None] | None = None
    fits: Callable[[Mapping[str, np.ndarray]], bool] = bool
    inputs: Callable[[str, np.ndarray], np.ndarray | None] | None = None
    only: Callable[..., bool] = _always
    fix: tuple[str, str] | None = None
    is_placed: bool = False
    is_numbered: bool = False
    holds_numbers: bool = False
    supposes: tuple[str, ...] = ()


# path of a module, and the number of a call below it (None: all calls); "@path" counts calls of its own code alone
Site = tuple[str, int | None]
OWN = "@"


class Calls(dict[Any, Any]):
    """Stands for replacements of all functions: replaces none, and keeps the paths of the modules that call each."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: dict[Any, set[str]] = {}
        self.open: list[str] = []

    def get(self, function: Any, default: Any = None) -> Any:
        self.paths.setdefault(function, set()).add(self.open[-1] if self.open else "")
        return default


class Replaced(TorchFunctionMode):
    """Context that replaces torch functions, also where modules call them, or only at some sites.

    `used` says whether any call was replaced; `calls` counts replaceable calls by the path of the module and of each
    module that contains it. Paths are known only for a module passed to `watch`.
    """

    def __init__(self, flip: Flip, sites: Collection[Site] = ()):
        super().__init__()
        self.functions, self.only, self.is_numbered = flip.functions, flip.only, flip.is_numbered
        self.sites = sites
        self.used = False
        self.calls: Counter[str] = Counter()
        self.open: list[str] = []

    def watch(self, module: nn.Module) -> None:
        """Track which of the module's layers is running; every run of the module restarts the count of calls. Layers of
        TorchScript can't be watched: what they call counts as their caller's."""
        for path, layer in module.named_modules():
            if isinstance(layer, torch.jit.ScriptModule):
                continue
            layer.register_forward_pre_hook(lambda *_, path=path: self._enter(path))
            layer.register_forward_hook(lambda *_: self._leave(), always_call=True)

    def _enter(self, path: str) -> None:
        if not self.open:
            self.calls.clear()
        self.open.append(path)

    def _leave(self) -> None:
        self.open.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        replacement = self.functions.get(func)
        if func is F.multi_head_attention_forward:  # composed of other functions, which are intercepted in turn
            with mock.patch.object(F, "has_torch_function", return_value=False), self:
                return func(*args, **(kwargs or {}))
        if replacement is None or not self.only(*args, **(kwargs or {})) or not self._is_meant():
            return func(*args, **(kwargs or {}))
        self.used = True
        path = self.open[-1] if self.open else ""
        number = [(path, self.calls[f"{OWN}{path}"] - 1)] if self.is_numbered else []
        return replacement(func, *number, *args, **(kwargs or {}))

    def _is_meant(self) -> bool:
        around = {*self.open, f"{OWN}{self.open[-1]}"} if self.open else {"", OWN}  # a function has no modules
        numbers = {path: self.calls[path] for path in around}
        self.calls.update(around)
        return not self.sites or any(path in around and number in (None, numbers[path]) for path, number in self.sites)
