"""One forward and backward pass of a torch module or function, as numpy arrays. Sibling: jax_side.py."""

import contextlib
import copy
import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from crosscheck.recording.arguments import Arguments
from crosscheck.recording.nesting import flat_outputs, map_arguments
from crosscheck.recording.optimizer_steps import update_with_torch
from crosscheck.recording.running_statistics import changed_statistics, running_statistics, with_biased_variances
from crosscheck.recording.shadows import Shadows, is_float, read
from crosscheck.recording.torch_widening import widened, widening
from crosscheck.recording.tracing import Tracer, own_methods
from crosscheck.recording.values import ARRAY_FIELDS, Options, Values, cotangent
from shared.arrays import Arrays
from torch_impl.dropout import Dropout, seed_dropout
from torch_impl.weights import to_numpy, to_tensor

Module = nn.Module | Callable[..., Any]
Tensors = dict[str, Tensor]


def evaluate(module: Module, arguments: Arguments, options: Options, optimizer: Any = None) -> Values:
    """Outputs and the gradients of sum(output * cotangent) on the device; leaves the module unchanged."""
    module = _prepared(module, options)
    with widening(options.widen):
        module = widened(module) if options.widen else module
        return with_biased_variances(module, _evaluated(module, arguments, options, optimizer))


def shadows(
    module: Module, arguments: Arguments, options: Options, runs: int, seed: int, optimizer: Any = None
) -> list[Values]:
    """The same values in float64: exact ones, and those of some runs with random rounding."""
    module = _prepared(module, options)
    with Shadows(getattr(torch, options.dtype.name), runs, seed):
        stacked = _evaluated(module, arguments, options, optimizer)
    each = [
        replace(stacked, **{field: _at(number, getattr(stacked, field)) for field in ARRAY_FIELDS})
        for number in range(1 + runs)
    ]
    return [with_biased_variances(module, values) for values in each]


def _at(number: int, arrays: Arrays) -> Arrays:
    return {name: array[number] for name, array in arrays.items()}


def _evaluated(module: Module, arguments: Arguments, options: Options, optimizer: Any) -> Values:
    values, first = _forward_and_backward(module, arguments, options)
    if options.updates and values.parameters:
        runs = [first]

        def gradients() -> Tensors:
            return runs.pop() if runs else _forward_and_backward(module, arguments, options, is_traced=False)[1]

        values.updates = update_with_torch(dict(module.named_parameters()), gradients, options.updates, optimizer)
    return values


def outputs_with(module: Module, arguments: Arguments, options: Options, replaced: Arrays) -> Arrays:
    """The outputs of a run in which the tensors of these taps are replaced."""
    module = _prepared(module, options)

    def tap(name: str, tensor: Tensor) -> Tensor:
        return to_tensor(replaced[name], tensor.device).to(tensor.dtype) if name in replaced else tensor

    args, kwargs = map_arguments(functools.partial(_as_input, {}, options), *arguments)
    with torch.no_grad(), _traced(module, Tracer(tap)):
        return {name: read(tensor) for name, tensor in flat_outputs(_called(module, options)(*args, **kwargs)).items()}


def casts(module: Module, arguments: Arguments, options: Options) -> set[str]:
    """The dtypes of `options.widen` that the module casts to, or creates tensors in."""
    module = widened(_prepared(module, options))
    args, kwargs = map_arguments(functools.partial(_as_input, {}, options), *arguments)
    with torch.no_grad(), widening(options.widen) as found:
        _called(module, options)(*args, **kwargs)
    return found


def submodule(module: Module, path: str) -> nn.Module | None:
    """The module at a path, or None."""
    return dict(module.named_modules()).get(path) if isinstance(module, nn.Module) else None


def size_of(module: Module) -> int:
    """The number of parameters' entries."""
    return sum(parameter.numel() for parameter in module.parameters()) if isinstance(module, nn.Module) else 0


def on_cpu(module: Module) -> Module:
    """A copy of the module on the CPU."""
    return copy.deepcopy(module).cpu() if isinstance(module, nn.Module) else module


def _forward_and_backward(
    module: Module, arguments: Arguments, options: Options, is_traced: bool = True
) -> tuple[Values, Tensors]:
    """The values of both passes, and the parameters' gradients as tensors."""
    inputs: Tensors = {}
    args, kwargs = map_arguments(functools.partial(_as_input, inputs, options), *arguments)
    tapped: Tensors = {}
    before = running_statistics(module) if options.train else {}
    values = Values(inputs={name: read(tensor) for name, tensor in inputs.items()})
    tracer = Tracer(functools.partial(_tap, tapped, values, options.until))
    try:
        with _traced(module, tracer) if is_traced else contextlib.nullcontext():
            outputs = flat_outputs(_called(module, options)(*args, **kwargs))
    except _Reached:
        outputs = {}
    parameters = dict(module.named_parameters()) if isinstance(module, nn.Module) else {}
    values.calls, values.captured = tracer.calls, tracer.captured
    values.parameters = {name: read(parameter) for name, parameter in parameters.items()}
    values.outputs = {name: read(output) for name, output in outputs.items()}
    values.statistics = changed_statistics(module, before)
    found: Tensors = {}
    if options.gradients:
        floats = {f"input {name}": tensor for name, tensor in inputs.items() if tensor.requires_grad}
        found = _gradients(outputs, {**floats, **parameters, **tapped}, options)
        values.input_gradients = {name: read(found[name]) for name in floats}
        values.intermediate_gradients = {name: read(found.pop(name)) for name in tapped}
        taken = found.__getitem__ if options.updates else found.pop
        values.parameter_gradients = {name: read(taken(name)) for name in parameters}
    return values, {name: found[name] for name in parameters if name in found}


def _called(module: Module, options: Options) -> Callable[..., Any]:
    """The method under test; for forward the module itself, so that its hooks run (weight norm may be one)."""
    return module if options.method == "forward" else getattr(module, options.method)


def _as_input(inputs: Tensors, options: Options, name: str, array: np.ndarray) -> Tensor:
    """Keep the tensor whose gradient is wanted; the module gets a copy that it may write to."""
    tensor = to_tensor(array, options.device)
    inputs[name] = tensor.requires_grad_(options.gradients and is_float(tensor))
    return tensor.clone()


class _Reached(BaseException):
    """Ends a run that has recorded all that is wanted; no Exception, which a user's module may catch."""


def _tap(tapped: Tensors, values: Values, until: str, name: str, tensor: Tensor) -> Tensor:
    """Record a tensor and pass on a copy: its gradient covers this use alone and can't be overwritten."""
    values.intermediates[name] = read(tensor)
    if name == until:
        raise _Reached
    if not (is_float(tensor) and tensor.requires_grad):
        return tensor
    tapped[name] = tensor.clone()
    return tapped[name].clone()


class _traced:
    """Context in which every call of a submodule, including its own public methods, goes through the tracer."""

    def __init__(self, module: Module, tracer: Tracer):
        self.layers = list(module.named_modules()) if isinstance(module, nn.Module) else []
        self.tracer = tracer
        self.wrapped: list[tuple[nn.Module, str]] = []

    def __enter__(self) -> None:
        for path, layer in self.layers:
            for method in (*(["forward"] if path else []), *own_methods(type(layer))):
                if method not in vars(layer):
                    original = getattr(layer, method)
                    vars(layer)[method] = self._traced(path, method, original)
                    self.wrapped.append((layer, method))

    def _traced(self, path: str, method: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """The method through the tracer, with the signature that a user's code may read."""

        @functools.wraps(original)
        def run(*args: Any, **kwargs: Any) -> Any:
            return self.tracer.run(path, method, original, args, kwargs)

        return run

    def __exit__(self, *_: object) -> None:
        for layer, method in self.wrapped:
            del vars(layer)[method]


def _prepared(module: Module, options: Options) -> Module:
    """An uncompiled copy in the requested mode; our Dropout gets shared masks, other dropout is off."""
    if not isinstance(module, nn.Module):
        return module
    module = getattr(module, "_orig_mod", module)
    module = copy.deepcopy(module).train(options.train)
    seed_dropout(module, options.dropout_key)
    for layer in module.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd) and not isinstance(layer, Dropout):
            layer.p = 0.0
        elif type(layer).__module__.startswith("torch.nn.") and isinstance(getattr(layer, "dropout", None), float):
            layer.dropout = 0.0
    return module


def _numpy_dtype(tensor: Tensor) -> np.dtype:
    """Found by no operation that a flip could replace or that would draw a rounding."""
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        return to_numpy(torch.zeros((), dtype=tensor.dtype)).dtype


def _gradients(outputs: Tensors, sources: Tensors, options: Options) -> Tensors:
    wanted = {name: tensor for name, tensor in outputs.items() if tensor.requires_grad}
    trained = {name: tensor for name, tensor in sources.items() if tensor.requires_grad}
    gradients = {name: torch.zeros_like(tensor) for name, tensor in sources.items()}
    if not wanted or not trained:
        return gradients
    cotangents = [
        to_tensor(cotangent(name, tuple(output.shape), _numpy_dtype(output), options), output.device)
        for name, output in wanted.items()
    ]
    found = torch.autograd.grad(list(wanted.values()), list(trained.values()), cotangents, materialize_grads=True)
    return gradients | dict(zip(trained, found, strict=True))
