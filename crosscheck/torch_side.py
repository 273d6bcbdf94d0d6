"""One forward and backward pass of a torch module or function, as numpy arrays. Sibling: jax_side.py."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from crosscheck.values import Values, as_call, cotangent, flatten, is_float, named_inputs
from shared.rng import Key
from torch_impl.dropout import Dropout, seed_dropout
from torch_impl.weights import to_numpy, to_tensor


def evaluate(
    module: nn.Module | Callable[..., Any],
    inputs: Any,
    *,
    rounded_to: np.dtype,
    train: bool,
    gradients: bool,
    device: str,
    dropout_key: Key,
) -> Values:
    """Outputs and the gradients of sum(output * cotangent) on the device, the module itself left as it was."""
    module = _prepared(module, train, dropout_key)
    names, arrays = named_inputs(inputs)
    tensors = [to_tensor(array, device).requires_grad_(gradients and is_float(array.dtype)) for array in arrays]
    positional, keywords = as_call(names, tensors)
    outputs = dict(flatten(module(*positional, **keywords)))
    parameters = dict(module.named_parameters()) if isinstance(module, nn.Module) else {}
    values = Values(
        parameters={name: to_numpy(parameter) for name, parameter in parameters.items()},
        outputs={name: to_numpy(output) for name, output in outputs.items()},
    )
    if gradients:
        floats = {f"input {name}": tensor for name, tensor in zip(names, tensors, strict=True) if tensor.requires_grad}
        found = _gradients(outputs, {**floats, **parameters}, rounded_to)
        values.input_gradients = {name: found[name] for name in floats}
        values.parameter_gradients = {name: found[name] for name in parameters}
    return values


def in_float64(module: nn.Module | Callable[..., Any]) -> nn.Module | Callable[..., Any]:
    """The oracle: a copy of the module with the same weights in float64, on the CPU."""
    return copy.deepcopy(module).cpu().double() if isinstance(module, nn.Module) else module


def _prepared(module: nn.Module | Callable[..., Any], train: bool, key: Key) -> nn.Module | Callable[..., Any]:
    """A copy in the wanted mode; our Dropout gets shared masks, other dropout is off."""
    if not isinstance(module, nn.Module):
        return module
    module = copy.deepcopy(module).train(train)
    seed_dropout(module, key)
    for layer in module.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd) and not isinstance(layer, Dropout):
            layer.p = 0.0
    return module


def _gradients(
    outputs: dict[str, torch.Tensor], sources: dict[str, torch.Tensor], rounded_to: np.dtype
) -> dict[str, np.ndarray]:
    wanted = {name: tensor for name, tensor in outputs.items() if tensor.requires_grad}
    if not wanted or not sources:
        return {name: to_numpy(torch.zeros_like(tensor)) for name, tensor in sources.items()}
    cotangents = [
        to_tensor(cotangent(name, tuple(output.shape), to_numpy(output).dtype, rounded_to), output.device)
        for name, output in wanted.items()
    ]
    found = torch.autograd.grad(list(wanted.values()), list(sources.values()), cotangents, materialize_grads=True)
    return {name: to_numpy(gradient) for name, gradient in zip(sources, found, strict=True)}
