"""NNX modules, Linen modules, callable pytrees and plain functions as pure functions of their parameters."""

from typing import Any

import flax.linen as nn
import numpy as np
from flax import nnx

from crosscheck.recording.arguments import Arguments
from crosscheck.recording.jax_modules.linen_modules import linen_function, linen_submodules
from crosscheck.recording.jax_modules.names import Call, Names, Path, names_of, own_name
from crosscheck.recording.jax_modules.nnx_modules import nnx_function, nnx_submodules
from crosscheck.recording.jax_modules.pytree_modules import arrays_of, is_pytree, pytree_function, with_arrays
from crosscheck.recording.values import Options
from shared.errors import IsogradError

__all__ = [
    "Names",
    "Path",
    "arrays_of",
    "as_function",
    "is_pytree",
    "names_of",
    "own_name",
    "parameters_of",
    "submodules",
    "with_arrays",
]


def as_function(module: Any, options: Options) -> tuple[Call, Any, Names]:
    """Return call(tracer, parameters, args, kwargs), the parameters and their names.

    A Linen module comes with its variables: as `module.bind(variables)` or the pair (module, variables).
    """
    if isinstance(module, nnx.Module):
        return nnx_function(module, options)
    if isinstance(module, tuple) and len(module) == 2 and isinstance(module[0], nn.Module):
        return linen_function(*module, options)
    if isinstance(module, nn.Module):
        if module.scope is None:
            raise IsogradError(
                f"the Linen module {type(module).__name__} has no variables: "
                "pass module.bind(variables) or the pair (module, variables)"
            )
        return linen_function(*module.unbind(), options)
    if is_pytree(module):
        return pytree_function(module, options)
    return (lambda tracer, parameters, args, kwargs: module(*args, **kwargs)), {}, Names(lambda parameters: {})


def submodules(module: Any, arguments: Arguments, options: Options) -> dict[str, Any]:
    """The submodules by path; empty for a pytree or a function, whose parts can't run alone."""
    if isinstance(module, nnx.Module):
        return nnx_submodules(module)
    if isinstance(module, nn.Module):
        module = module.unbind()
    if isinstance(module, tuple) and isinstance(module[0], nn.Module):
        return linen_submodules(*module, arguments, options)
    return {}


def parameters_of(module: Any) -> Any:
    """A module's parameter tree; empty for a function."""
    return as_function(module, Options(np.dtype(np.float64)))[1]
