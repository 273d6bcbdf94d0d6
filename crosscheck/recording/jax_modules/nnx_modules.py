"""NNX modules as pure functions of their parameters, with their calls traced."""

import functools
import itertools
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from flax import nnx

from crosscheck.recording.jax_modules.names import Call, Names, Path, statistics_of
from crosscheck.recording.tracing import Tracer, own_methods
from crosscheck.recording.values import Options
from jax_impl.dropout import Dropout, seed_dropout


def nnx_function(module: nnx.Module, options: Options) -> tuple[Call, Any, Names]:
    graph, parameters, rest = nnx.split(module, nnx.Param, ...)

    def call(tracer: Tracer, parameters: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        merged = _prepared(nnx.merge(graph, parameters, rest, copy=True), options)
        _trace_calls(merged)
        token = _TRACER.set(tracer)
        try:
            called = merged if options.method == "forward" else getattr(merged, options.method)
            result = called(*args, **kwargs)
            tracer.statistics = statistics_of(_flat_state(nnx.state(merged, nnx.BatchStat)))
            return result
        finally:
            _TRACER.reset(token)

    return call, parameters, Names(_flat_state)


def _flat_state(state: Any) -> dict[Path, Any]:
    return {path: variable.get_value() for path, variable in nnx.to_flat_state(state)}


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


def nnx_submodules(module: nnx.Module) -> dict[str, Any]:
    """The submodules by path."""
    return {".".join(map(str, path)): layer for path, layer in nnx.iter_modules(module)}
