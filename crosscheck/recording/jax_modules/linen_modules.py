"""Linen modules as pure functions of their parameters, with their calls traced."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import traverse_util

from crosscheck.recording.arguments import Arguments
from crosscheck.recording.jax_modules.names import Call, Names, statistics_of
from crosscheck.recording.nesting import map_arguments, named_arrays
from crosscheck.recording.tracing import FORWARD, Tracer, own_methods
from crosscheck.recording.values import Options


def linen_function(module: nn.Module, variables: Mapping[str, Any], options: Options) -> tuple[Call, Any, Names]:
    rest = {name: tree for name, tree in variables.items() if name != "params"}
    written = list(rest)
    method = None if options.method == "forward" else options.method

    def call(tracer: Tracer, parameters: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        random = {name: jax.random.wrap_key_data(np.asarray(options.dropout_key, np.uint32)) for name in _STREAMS}
        with nn.intercept_methods(functools.partial(_traced_call, tracer)):
            result, state = module.apply(
                {"params": parameters, **rest}, *args, **kwargs, rngs=random, mutable=written, method=method
            )
        tracer.statistics = statistics_of(traverse_util.flatten_dict(_plain(state.get("batch_stats", {}))))
        return result

    return call, variables.get("params", {}), Names(lambda tree: traverse_util.flatten_dict(_plain(tree)))


_STREAMS = ("dropout", "params")


def _traced_call(tracer: Tracer, function: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
    """Linen's interceptor: traces all submodule calls and disables random masks."""
    if isinstance(context.module, nn.Dropout):
        return args[0]
    name, path = context.method_name, ".".join(context.module.path)
    traced = [*(FORWARD[1:] if path else []), *own_methods(type(context.module))]
    if name not in traced:
        return function(*args, **kwargs)
    return tracer.run(path, name, function, args, kwargs)


def _plain(tree: Any) -> dict[str, Any]:
    """Nested dicts of arrays, without Flax's boxes."""
    return nn.meta.unbox(dict(tree))


def linen_submodules(
    module: nn.Module, variables: Mapping[str, Any], arguments: Arguments, options: Options
) -> dict[str, Any]:
    """Every submodule that a call runs, by path, as the pair of an unbound copy and its variables."""
    found: dict[str, Any] = {}

    def seen(function: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        path = tuple(map(str, context.module.path))
        if path and ".".join(path) not in found:
            found[".".join(path)] = context.module.clone(parent=None, name=None), _below(variables, path)
        return function(*args, **kwargs)

    def run(arrays: Any) -> Any:
        args, kwargs = map_arguments(lambda name, _: arrays[name], *arguments)
        random = {name: jax.random.wrap_key_data(np.asarray(options.dropout_key, np.uint32)) for name in _STREAMS}
        with nn.intercept_methods(seen):
            return module.apply(
                variables, *args, **kwargs, rngs=random, mutable=[n for n in variables if n != "params"]
            )

    jax.eval_shape(run, named_arrays(arguments))
    return found


def _below(variables: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The variables of a submodule."""
    found = {}
    for collection, tree in variables.items():
        for part in path:
            tree = tree.get(part, {}) if isinstance(tree, Mapping) else {}
        if tree:
            found[collection] = tree
    return found
