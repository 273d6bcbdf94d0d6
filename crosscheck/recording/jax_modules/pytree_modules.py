"""Callable pytrees, such as Equinox's modules, as pure functions of their arrays; their submodules are not traced."""

from collections.abc import Mapping
from typing import Any

import jax

from crosscheck.recording.jax_modules.names import Call, Names, Path
from crosscheck.recording.nesting import is_array, is_float
from crosscheck.recording.tracing import Tracer
from crosscheck.recording.values import Options

EVALUATED = "inference"  # Equinox's flag of layers that behave differently in training


def is_pytree(module: Any) -> bool:
    """True for a callable that holds arrays where JAX can see them."""
    leaves = jax.tree.leaves(module) if callable(module) else []
    return any(leaf is not module and is_array(leaf) for leaf in leaves)


def pytree_function(module: Any, options: Options) -> tuple[Call, Any, Names]:
    """Return call(tracer, parameters, args, kwargs), the parameters by path, and their names."""

    def call(tracer: Tracer, parameters: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return with_arrays(module, parameters, options.train)(*args, **kwargs)

    return call, arrays_of(module), Names(lambda flat: {tuple(name.split(".")): array for name, array in flat.items()})


def arrays_of(module: Any) -> dict[str, Any]:
    """The float arrays by path."""
    leaves = jax.tree_util.tree_flatten_with_path(module)[0]
    return {".".join(map(str, _parts(path))): leaf for path, leaf in leaves if is_array(leaf) and is_float(leaf.dtype)}


def with_arrays(module: Any, arrays: Mapping[str, Any], is_training: bool = False) -> Any:
    """The module with these arrays in place of its own, and its layers in the requested mode."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(module)
    changed = [
        not is_training if _parts(path)[-1] == EVALUATED else arrays.get(".".join(map(str, _parts(path))), leaf)
        for path, leaf in leaves
    ]
    return structure.unflatten(changed)


def _parts(path: Any) -> Path:
    """(.layers, [0], .weight) -> ("layers", 0, "weight")"""
    return tuple(getattr(key, "name", getattr(key, "idx", getattr(key, "key", key))) for key in path)
