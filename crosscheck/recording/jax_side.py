"""One forward and backward pass of an NNX or Linen module, or JAX function, as numpy arrays. Sibling: torch_side.py."""

import functools
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from crosscheck.recording.arguments import Arguments
from crosscheck.recording.jax_modules import as_function
from crosscheck.recording.jax_widening import widened, widening
from crosscheck.recording.nesting import flat_outputs, is_float, map_arguments, named_arrays
from crosscheck.recording.optimizer_steps import update_with_jax
from crosscheck.recording.rounding.in_jax import rounded_at_random
from crosscheck.recording.stopwatch import timed
from crosscheck.recording.tracing import Tap, Tracer
from crosscheck.recording.unrolling import unrolled
from crosscheck.recording.values import Options, Values, cotangent
from jax_impl.compile_cache import Option, known
from jax_impl.weights import to_numpy
from shared.arrays import Arrays

Taps = dict[str, jax.Array]

# Each program runs once, so compile time dominates: on a CPU the machine code can stay unoptimised, by XLA's older
# emitters, which take a quarter of the time, and on a GPU autotuning can be skipped. The float64 proof needs no more;
# where rounding is judged, programs compile as users' do.
COMPILER_OPTIONS: dict[str, dict[str, Option]] = {
    "cpu": {
        "xla_backend_optimization_level": 0,
        "xla_cpu_parallel_codegen_split_count": 1,
        "xla_cpu_use_fusion_emitters": False,
    },
    "cuda": {"xla_gpu_autotune_level": 0},
}
# With YNNPACK, products of some layouts in bfloat16 are added up in bfloat16, term by term (D101), not rounded once.
ONE_ROUNDING: dict[str, dict[str, Option]] = {"cpu": {"xla_cpu_experimental_ynn_fusion_type": ""}, "cuda": {}}


def compiler_options(options: Options) -> dict[str, Option]:
    """XLA options that differ from its defaults."""
    is_quick = options.device == "cuda" or options.dtype == np.float64 or not options.optimize
    is_short = options.dtype.itemsize < np.dtype(np.float32).itemsize
    asked = (COMPILER_OPTIONS[options.device] if is_quick else {}) | (ONE_ROUNDING[options.device] if is_short else {})
    return known(asked, jax.devices(options.device)[0])


def evaluate(module: Any, arguments: Arguments, options: Options, optimizer: Any = None) -> Values:
    """Outputs and the gradients of sum(output * cotangent) on the device; leaves the module unchanged."""
    with widening(options.widen):
        return _evaluated(widened(module) if options.widen else module, arguments, options, optimizer)


def casts(module: Any, arguments: Arguments, options: Options) -> set[str]:
    """The dtypes of `options.widen` that the module casts to, or creates arrays in."""
    with widening(options.widen) as found:
        call, parameters, _ = as_function(widened(module), options)
        function = functools.partial(_function, call, arguments, Values(), options, watch=_unwatched)
        jax.eval_shape(function, parameters, named_arrays(arguments))
    return found


def _evaluated(module: Any, arguments: Arguments, options: Options, optimizer: Any) -> Values:
    call, parameters, names = as_function(module, options)
    given = named_arrays(arguments)
    inputs = {name: jax.device_put(array, jax.devices(options.device)[0]) for name, array in given.items()}
    parameters = jax.device_put(parameters, jax.devices(options.device)[0])
    floats = {name: array for name, array in inputs.items() if options.gradients and is_float(array.dtype)}
    others = {name: array for name, array in inputs.items() if name not in floats}
    values = Values(inputs={name: to_numpy(array) for name, array in inputs.items()})
    run = _Run(functools.partial(_function, call, arguments, values, options), options, values.seconds)
    outputs, (tapped, statistics), gradients = run(parameters, floats, others)
    values.outputs = {name: to_numpy(array) for name, array in outputs.items()}
    values.intermediates = {name: to_numpy(array) for name, array in tapped.items()}
    values.parameters = names.to_canonical(parameters)
    values.statistics = {name: to_numpy(array) for name, array in statistics.items()}
    if options.gradients:
        # without a copy: they are given to nobody else
        values.parameter_gradients = _conjugated(names.to_canonical(gradients[0], np.asarray))
        values.input_gradients = _conjugated({f"input {name}": to_numpy(gradients[1][name]) for name in floats})
        values.intermediate_gradients = _conjugated({name: to_numpy(array) for name, array in gradients[2].items()})
    if options.updates and values.parameters:

        def gradients_at(weights: Any) -> Any:
            return run(weights, floats, others)[2][0]

        values.updates = update_with_jax(
            parameters, gradients_at, options.updates, names.to_canonical, optimizer, compiler_options(options)
        )
    return values


def _conjugated(gradients: Arrays) -> Arrays:
    """Gradients in torch's convention: JAX's of complex numbers are their conjugates."""
    return {name: array.conj() if array.dtype.kind == "c" else array for name, array in gradients.items()}


def _function(
    call: Callable[..., Any],
    arguments: Arguments,
    values: Values,
    options: Options,
    parameters: Any,
    inputs: Mapping[str, jax.Array],
    watch: Tap,
) -> tuple[Taps, tuple[Taps, Taps]]:
    """Outputs, tapped tensors, and running statistics in train mode. What `watch` makes of a tapped float is used in
    its place."""
    tapped: Taps = {}

    def tap(name: str, array: Any) -> Any:
        if not isinstance(array, jax.Array) or jnp.issubdtype(array.dtype, jax.dtypes.extended):
            return array
        tapped[name] = watch(name, array) if is_float(array.dtype) else array
        return tapped[name]

    start = _moment()
    tracer = Tracer(tap, can_see=lambda: _moment() == start)
    args, kwargs = map_arguments(lambda name, _: inputs[name], *arguments)
    with unrolled() if options.unrolled else nullcontext():
        outputs = flat_outputs(call(tracer, parameters, args, kwargs))
    values.calls, values.hidden, values.captured = tracer.calls, sorted(set(tracer.hidden)), tracer.captured
    return outputs, (tapped, tracer.statistics if options.train else {})


def _unwatched(_: str, array: Any) -> Any:
    return array


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _watched(keep: Callable[[jax.Array], None], array: jax.Array, zero: Any) -> jax.Array:
    """The array, whose gradient goes to `keep`, too. Of a constant it does if the gradient of `zero` is asked for."""
    return array


def _watched_backward(keep: Callable[[jax.Array], None], _: None, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    keep(gradient)
    return gradient, jnp.zeros(())


_watched.defvjp(lambda keep, array, zero: (array, None), _watched_backward)


def _moment() -> Any:
    """The innermost active trace: no value can leave the body of a loop or checkpoint."""
    from jax.extend.core import get_opaque_trace_state

    return get_opaque_trace_state(convention="flax")


class _Run:
    """The compiled forward and backward pass: (parameters, floats, others) -> outputs, tapped tensors, gradients."""

    def __init__(self, function: Callable[..., Any], options: Options, seconds: dict[str, float]):
        self.function = function
        self.options = options
        self.seconds = seconds
        self.compiled: Any = None

    def __call__(self, parameters: Any, floats: Taps, others: Taps) -> tuple[Taps, tuple[Taps, Taps], Any]:
        if self.compiled is None:
            with timed(self.seconds, "JAX tracing"):
                jitted = jax.jit(self._pass, compiler_options=compiler_options(self.options))
                lowered = jitted.lower(parameters, floats, others)
            with timed(self.seconds, "JAX compiling"):
                self.compiled = lowered.compile()
        with timed(self.seconds, "JAX running"):
            return jax.block_until_ready(self.compiled(parameters, floats, others))

    def _pass(self, parameters: Any, floats: Taps, others: Taps) -> tuple[Taps, tuple[Taps, Taps], Any]:
        if not self.options.gradients:
            return *self._rounding(_unwatched)(parameters, {**floats, **others}), None
        kept: Taps = {}

        def forward(parameters: Any, floats: Taps, zero: Any) -> tuple[Taps, tuple[Taps, Taps]]:
            def watch(name: str, array: jax.Array) -> jax.Array:
                return _watched(functools.partial(kept.__setitem__, name), array, zero)

            return self._rounding(watch)(parameters, {**floats, **others})

        outputs, pull_back, seen = jax.vjp(forward, parameters, floats, jnp.zeros(()), has_aux=True)
        gradients = pull_back({name: self._cotangent(name, output) for name, output in outputs.items()})
        of_taps = {name: kept.get(name, jnp.zeros_like(tap)) for name, tap in seen[0].items() if is_float(tap.dtype)}
        return outputs, seen, (*gradients[:2], of_taps)

    def _rounding(self, watch: Tap) -> Callable[..., tuple[Taps, tuple[Taps, Taps]]]:
        """The function of parameters and inputs, which rounds at random where that is asked for."""
        function, seed = functools.partial(self.function, watch=watch), self.options.rounding_seed
        return function if seed is None else rounded_at_random(function, seed)

    def _cotangent(self, name: str, output: jax.Array) -> Any:
        if is_float(output.dtype):
            return jnp.asarray(cotangent(name, output.shape, output.dtype, self.options)).conj()
        return np.zeros(output.shape, jax.dtypes.float0)
