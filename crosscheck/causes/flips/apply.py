"""Applies a flip to a torch module or to the arguments of its call."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from crosscheck.causes.flips.flip import Flip
from crosscheck.causes.flips.modules import changed_weights
from crosscheck.recording.nesting import map_arguments
from shared.errors import IsogradError
from torch_impl.weights import to_numpy, to_tensor


def changed(module: Any, arguments: Any, flip: Flip, paths: Sequence[str] = ()) -> tuple[Any, Any]:
    """A copy of the module, and the arguments, with the flip applied; only below `paths` if any are given.

    Raises IsogradError if there is nothing to change.
    """
    found = True
    if flip.layers is not None or flip.weights is not None:
        module = copy.deepcopy(module)
        found = isinstance(module, nn.Module) and (_layers if flip.layers else _weights)(module, flip, paths)
    elif flip.inputs is not None:
        arguments, found = _inputs(arguments, flip)
    if not found:
        raise IsogradError("this flip does not apply: the module has nothing for it to change")
    return module, arguments


def is_below(name: str, paths: Sequence[str]) -> bool:
    """True if a parameter is below one of the paths, or if there are no paths."""
    return not paths or name.startswith(tuple(f"{path}." for path in paths))


def _layers(module: nn.Module, flip: Flip, paths: Sequence[str]) -> bool:
    layers = dict(module.named_modules())
    changes = [flip.layers is not None and flip.layers(layers[path]) for path in paths or [""] if path in layers]
    return any(changes)


def _weights(module: nn.Module, flip: Flip, paths: Sequence[str]) -> bool:
    parameters = {name: parameter for name, parameter in module.named_parameters() if is_below(name, paths)}
    found = changed_weights({name: to_numpy(parameter) for name, parameter in parameters.items()}, flip)
    for name, array in found.items():
        parameters[name].data = to_tensor(array, parameters[name].device)
    return bool(found)


def _inputs(arguments: Any, flip: Flip) -> tuple[Any, bool]:
    found: list[bool] = []

    def change(name: str, array: np.ndarray) -> np.ndarray:
        new = flip.inputs(name, array) if flip.inputs else None
        found.append(new is not None)
        return array if new is None else new

    return map_arguments(change, *arguments), any(found)
