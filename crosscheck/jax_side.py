"""One forward and backward pass of an NNX module or JAX function, as numpy arrays. Sibling: torch_side.py."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from crosscheck.values import Values, as_call, cotangent, flatten, is_float, named_inputs
from jax_impl.dropout import Dropout, seed_dropout
from jax_impl.weights import to_numpy
from shared.rng import Key
from shared.weight_rules import canonical_name, to_canonical

Rules = Mapping[str, str]  # regular expression on a canonical JAX name -> replacement in torch's name

# Each program runs once, so compilation is what counts: on a CPU the machine code is left unoptimised, on a GPU kernels
# are not timed against each other. The program that XLA makes of the twin stays the same.
COMPILER_OPTIONS: dict[str, dict[str, bool | int]] = {
    "cpu": {"xla_backend_optimization_level": 0, "xla_cpu_parallel_codegen_split_count": 1},
    "cuda": {"xla_gpu_autotune_level": 0},
}


def evaluate(
    module: nnx.Module | Callable[..., Any],
    inputs: Any,
    *,
    rounded_to: np.dtype,
    train: bool,
    gradients: bool,
    device: str,
    dropout_key: Key,
    rules: Rules | None = None,
) -> Values:
    """Outputs and the gradients of sum(output * cotangent) on the device, the module itself left as it was."""
    names, arrays = named_inputs(inputs)
    differentiable = [gradients and is_float(array.dtype) for array in arrays]
    function, parameters = _as_function(module, names, differentiable, train, dropout_key)
    place = jax.devices(device)[0]
    floats = [array for array, does in zip(arrays, differentiable, strict=True) if does]
    others = [array for array, does in zip(arrays, differentiable, strict=True) if not does]
    parameters, floats, others = jax.device_put((parameters, floats, others), place)
    outputs, cotangents = _run(function, parameters, floats, others, gradients, rounded_to, device)
    values = Values(parameters=_canonical(parameters, rules), outputs={n: to_numpy(o) for n, o in outputs.items()})
    if gradients:
        parameter_gradients, input_gradients = cotangents
        float_names = [name for name, does in zip(names, differentiable, strict=True) if does]
        values.parameter_gradients = _canonical(parameter_gradients, rules)
        values.input_gradients = {f"input {n}": to_numpy(g) for n, g in zip(float_names, input_gradients, strict=True)}
    return values


def _as_function(
    module: nnx.Module | Callable[..., Any], names: list[str | int], differentiable: list[bool], train: bool, key: Key
) -> tuple[Callable[..., dict[str, jax.Array]], Any]:
    """A pure function of (parameters, float inputs, other inputs), and the parameters."""
    parts = nnx.split(module, nnx.Param, ...) if isinstance(module, nnx.Module) else None

    def function(parameters: Any, floats: list[jax.Array], others: list[jax.Array]) -> dict[str, jax.Array]:
        call = module if parts is None else _prepared(nnx.merge(parts[0], parameters, parts[2], copy=True), train, key)
        floats, others = iter(floats), iter(others)
        positional, keywords = as_call(names, [next(floats if does else others) for does in differentiable])
        return dict(flatten(call(*positional, **keywords)))

    return function, {} if parts is None else parts[1]


def _prepared(module: nnx.Module, train: bool, key: Key) -> nnx.Module:
    """The module in the wanted mode; our Dropout gets shared masks, other dropout is off."""
    module.train() if train else module.eval()
    seed_dropout(module, key)
    for _, layer in nnx.iter_modules(module):
        if isinstance(layer, nnx.Dropout) and not isinstance(layer, Dropout):
            layer.rate = 0.0
    return module


def _run(
    function: Callable[..., Any],
    parameters: Any,
    floats: list,
    others: list,
    gradients: bool,
    rounded_to: np.dtype,
    device: str,
) -> tuple[dict[str, jax.Array], Any]:
    def forward_and_backward(parameters: Any, floats: list, others: list) -> tuple[dict[str, jax.Array], Any]:
        outputs, pull_back = jax.vjp(lambda p, f: function(p, f, others), parameters, floats)
        return outputs, pull_back({name: _cotangent(name, output, rounded_to) for name, output in outputs.items()})

    def forward(parameters: Any, floats: list, others: list) -> tuple[dict[str, jax.Array], None]:
        return function(parameters, floats, others), None

    run = jax.jit(forward_and_backward if gradients else forward, compiler_options=COMPILER_OPTIONS.get(device))
    return run(parameters, floats, others)


def _cotangent(name: str, output: jax.Array, rounded_to: np.dtype) -> Any:
    if is_float(output.dtype):
        return jnp.asarray(cotangent(name, output.shape, output.dtype, rounded_to))
    return np.zeros(output.shape, jax.dtypes.float0)


def _canonical(parameters: Any, rules: Rules | None) -> dict[str, np.ndarray]:
    if not isinstance(parameters, nnx.State):
        return {}
    arrays = {}
    for path, variable in nnx.to_flat_state(parameters):
        name = canonical_name(path)
        for pattern, replacement in (rules or {}).items():
            name = re.sub(pattern, replacement, name)
        arrays[name] = to_canonical(path, to_numpy(variable.get_value()))
    return arrays
