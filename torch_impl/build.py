"""Build a twin from its registry entry: with its constructor's initial values, abstract, or with zeros.
Twin: jax_impl/build.py.
"""

import contextlib
import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from shared.errors import IsogradError
from shared.registry import Twin

REFUSALS = (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError)  # of wrong types, signs and sizes
SHAPED = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn}  # what is made of a shape alone
DRAWS = ("uniform_", "normal_", "kaiming_uniform_", "zero_", "fill_")  # what initial values are made by


class _Abstract(TorchFunctionMode):
    """An abstract module has no numbers: its initial values, which are two thirds of building it, are not drawn."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = {} if kwargs is None else kwargs
        if function in SHAPED:
            return torch.empty(*args, **{**given, "device": "meta"})
        if getattr(function, "__name__", None) in DRAWS:
            return args[0] if args else given["tensor"]
        return function(*args, **given)


def build_twin(twin: Twin, arguments: Mapping[str, Any], abstract: bool = False) -> nn.Module:
    """The module of a twin with these constructor arguments; an abstract one has names and shapes but no values.

    Raises IsogradError if the constructor does not take the arguments.
    """
    constructor = getattr(importlib.import_module(f"torch_impl.{twin.module}"), twin.public_name)
    try:
        with _Abstract() if abstract else contextlib.nullcontext():
            return constructor(**twin.call_with(arguments))
    except IsogradError:
        raise
    except REFUSALS as error:
        reason = str(error).partition("\n")[0]
        raise IsogradError(
            f"{twin.public_name} can't be built with the arguments {dict(arguments)}: {reason}"
        ) from error


def empty_twin(twin: Twin, arguments: Mapping[str, Any], device: torch.device | str = "cpu") -> nn.Module:
    """The module with parameters of zeros, made without drawing initial values, for weights to be loaded into."""
    module = build_twin(twin, arguments, abstract=True)
    return module._apply(lambda tensor: torch.zeros((), dtype=tensor.dtype, device=device).expand(tensor.shape))
