"""Build a twin from its registry entry: with its constructor's initial values, abstract, or with zeros.
Twin: jax_impl/build.py.
"""

import contextlib
import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from shared.errors import IsogradError
from shared.registry import Twin

REFUSALS = (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError)  # of wrong types, signs and sizes


def build_twin(twin: Twin, arguments: Mapping[str, Any], abstract: bool = False) -> nn.Module:
    """The module of a twin with these constructor arguments; an abstract one has names and shapes but no values.

    Raises IsogradError if the constructor does not take the arguments.
    """
    constructor = getattr(importlib.import_module(f"torch_impl.{twin.module}"), twin.public_name)
    try:
        with torch.device("meta") if abstract else contextlib.nullcontext():
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
    module = build_twin(twin, arguments, abstract=True).to_empty(device=device)
    for parameter in module.parameters():
        parameter.data = parameter.new_zeros(()).expand(parameter.shape)  # one zero each: weights take their place
    return module
