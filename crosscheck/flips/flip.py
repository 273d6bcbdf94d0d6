"""A flip as data, and how functions of torch are replaced while a module runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

Functions = dict[Callable[..., Any], Callable[..., Any]]  # torch's function -> replacement(original, *args, **kwargs)
EPSILONS = (1e-5, 1e-6, 1e-12, 1e-3, 1e-8)  # defaults of torch, Flax, BERT, Keras, and of optimisers


@dataclass(frozen=True)
class Flip:
    """One flip: the row of the catalogue, what is done in words, and the change.

    `layers` changes a copy of the module and says whether it found anything to change; `weights` permutes arrays by
    name and `undo` permutes their gradients back; `inputs` changes one array of the call by name.
    """

    divergence: str
    what: str
    functions: Functions = field(default_factory=dict)
    layers: Callable[[nn.Module], bool] | None = None
    weights: Callable[[str, np.ndarray], np.ndarray | None] | None = None
    undo: Callable[[str, np.ndarray], np.ndarray | None] | None = None
    inputs: Callable[[str, np.ndarray], np.ndarray | None] | None = None


class Replaced(TorchFunctionMode):
    """In this context torch's functions are replaced, also those that modules call; `used` says whether any was."""

    def __init__(self, functions: Functions):
        super().__init__()
        self.functions = functions
        self.used = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        replacement = self.functions.get(func)
        if func is F.multi_head_attention_forward:  # made of other functions, which are looked for in turn
            with mock.patch.object(F, "has_torch_function", return_value=False), self:
                return func(*args, **(kwargs or {}))
        if replacement is None:
            return func(*args, **(kwargs or {}))
        self.used = True
        return replacement(func, *args, **(kwargs or {}))
