"""NNX modules, Linen modules and plain functions as pure functions of their parameters, with their calls traced."""

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from flax import nnx, traverse_util

from crosscheck.recording.tracing import FORWARD, Tracer, own_methods
from crosscheck.recording.values import Options, statistic_name
from jax_impl.dropout import Dropout, seed_dropout
from jax_impl.weights import to_numpy
from shared.errors import IsogradError
from shared.weight_rules import LAST_PART, canonical_name, to_canonical

Call = Callable[[Tracer, Any, tuple[Any, ...], Mapping[str, Any]], Any]
Path = tuple[str | int, ...]
WORDS = ("weight", *LAST_PART)  # in this order the parameters of a module take torch's word


def own_name(path: Path) -> str:
    """The name by JAX's own word: ("norm", "scale") -> "norm.scale"."""
    return ".".join(map(str, path))


def names_of(paths: Iterable[Path]) -> dict[Path, str]:
    """Each path's canonical name, or its own if another path has that already, as a `scale` beside a `kernel`."""
    names: dict[Path, str] = {}
    for path in sorted(paths, key=lambda path: WORDS.index(path[-1]) if path[-1] in WORDS else -1):
        name = canonical_name(path)
        names[path] = own_name(path) if name in names.values() else name
    return names


class Names(NamedTuple):
    """Converts a parameter tree to a flat dict under canonical names and layouts."""

    flat: Callable[[Any], dict[Path, Any]]

    def to_canonical(self, parameters: Any) -> dict[str, np.ndarray]:
        """Arrays by canonical name; works for weights and for gradients and moments of the same tree."""
        found = {path: to_numpy(array) for path, array in self.flat(parameters).items()}
        names = names_of(found)
        return {
            names[path]: array if names[path] == own_name(path) else to_canonical(path, array)
            for path, array in found.items()
        }


def as_function(module: Any, options: Options) -> tuple[Call, Any, Names]:
    """Return call(tracer, parameters, args, kwargs), the parameters and their names.

    A Linen module comes with its variables: as `module.bind(variables)` or the pair (module, variables).
    """
    if isinstance(module, nnx.Module):
        return _nnx_function(module, options)
    if isinstance(module, tuple) and len(module) == 2 and isinstance(module[0], nn.Module):
        return _linen_function(*module, options)
    if isinstance(module, nn.Module):
        if module.scope is None:
            raise IsogradError(
                f"the Linen module {type(module).__name__} has no variables: "
                "pass module.bind(variables) or the pair (module, variables)"
            )
        return _linen_function(*module.unbind(), options)
    return (lambda tracer, parameters, args, kwargs: module(*args, **kwargs)), {}, Names(lambda parameters: {})


# NNX


def _nnx_function(module: nnx.Module, options: Options) -> tuple[Call, Any, Names]:
    graph, parameters, rest = nnx.split(module, nnx.Param, ...)

    def call(tracer: Tracer, parameters: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        merged = _prepared(nnx.merge(graph, parameters, rest, copy=True), options)
        _trace_calls(merged)
        token = _TRACER.set(tracer)
        try:
            called = merged if options.method == "forward" else getattr(merged, options.method)
            result = called(*args, **kwargs)
            tracer.statistics = _statistics(_flat_state(nnx.state(merged, nnx.BatchStat)))
            return result
        finally:
            _TRACER.reset(token)

    return call, parameters, Names(_flat_state)


def _flat_state(state: Any) -> dict[Path, Any]:
    return {path: variable.get_value() for path, variable in nnx.to_flat_state(state)}


def _statistics(flat: Mapping[Path, Any]) -> dict[str, Any]:
    """Running statistics under torch's names."""
    return {statistic_name(canonical_name(path)): array for path, array in flat.items()}


def _prepared(module: nnx.Module, options: Options) -> nnx.Module:
    """The module in the requested mode; our Dropout gets shared masks, other dropout is off."""
    module.train() if options.train else module.eval()
    seed_dropout(module, options.dropout_key)
    for _, layer in nnx.iter_modules(module):
        if isinstance(layer, nnx.Dropout) and not isinstance(layer, Dropout):
            layer.rate = 0.0
        elif type(layer).__module__.startswith("flax.") and hasattr(layer, "dropout_rate"):
            layer.dropout_rate = 0.0
    return module


_TRACER: ContextVar[Tracer] = ContextVar("tracer")
_RUNS = itertools.count()


def _trace_calls(module: nnx.Module) -> None:
    """Give every submodule of our copy a class whose methods go through the tracer.

    The run number makes each copy look new to JAX; otherwise JAX would reuse a cached trace and skip the tracer.
    """
    run = next(_RUNS)
    for path, layer in list(nnx.iter_modules(module)):
        layer.crosscheck_path, layer.crosscheck_run = ".".join(map(str, path)), run
        object.__setattr__(layer, "__class__", _traced_class(type(layer), is_root=not path))


@functools.lru_cache(maxsize=1024)
def _traced_class(kind: type, is_root: bool) -> type:
    called = [] if is_root or not hasattr(kind, "__call__") else ["__call__"]  # noqa: B004  the class's own method
    methods = [*called, *own_methods(kind)]
    namespace = {name: _traced_method(kind, name) for name in methods}
    return type(kind)(kind.__name__, (kind,), {**namespace, "__module__": kind.__module__})


def _traced_method(kind: type, name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(kind, name))
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = functools.partial(getattr(kind, name), self)
        return _TRACER.get().run(self.crosscheck_path, name, bound, args, kwargs)

    return run


# Linen


def _linen_function(module: nn.Module, variables: Mapping[str, Any], options: Options) -> tuple[Call, Any, Names]:
    rest = {name: tree for name, tree in variables.items() if name != "params"}
    written = list(rest)

    def call(tracer: Tracer, parameters: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        random = {name: jax.random.wrap_key_data(np.asarray(options.dropout_key, np.uint32)) for name in _STREAMS}
        with nn.intercept_methods(functools.partial(_traced_call, tracer)):
            result, state = module.apply({"params": parameters, **rest}, *args, **kwargs, rngs=random, mutable=written)
        tracer.statistics = _statistics(traverse_util.flatten_dict(_plain(state.get("batch_stats", {}))))
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


def submodules(module: Any) -> dict[str, nnx.Module]:
    """The NNX submodules of a module by path; empty for a Linen module or a function, whose parts can't run alone."""
    if not isinstance(module, nnx.Module):
        return {}
    return {".".join(map(str, path)): layer for path, layer in nnx.iter_modules(module)}


def parameters_of(module: Any) -> Any:
    """A module's parameter tree; empty for a function."""
    return as_function(module, Options(np.dtype(np.float64)))[1]
