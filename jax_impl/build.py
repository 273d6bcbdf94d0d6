"""Build a twin from its registry entry: with its constructor's initial values, abstract, or with zeros.
Twin: torch_impl/build.py.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from shared.errors import IsogradError
from shared.registry import Twin

REFUSALS = (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError)  # of wrong types, signs and sizes


class _OneKey(nnx.RngStream):
    """The same key for every draw: to count draws takes most of a trace, and an abstract module has no numbers."""

    def __call__(self) -> Array:
        return self.key[...]

    def fork(self, **_: Any) -> nnx.RngStream:
        return nnx.RngStream(self.key[...], tag=self.tag)


def _one_key() -> nnx.Rngs:
    rngs = nnx.Rngs()
    rngs.default = _OneKey(0, tag="default")
    return rngs


def build_twin(twin: Twin, arguments: Mapping[str, Any], abstract: bool = False) -> nnx.Module:
    """The module of a twin with these constructor arguments; an abstract one has names and shapes but no values.

    Raises IsogradError if the constructor does not take the arguments.
    """
    constructor = getattr(importlib.import_module(f"jax_impl.{twin.module}"), twin.public_name)

    def make() -> nnx.Module:
        return constructor(**twin.call_with(arguments), rngs=_one_key() if abstract else nnx.Rngs(0))

    try:
        return nnx.eval_shape(make) if abstract else make()
    except IsogradError:
        raise
    except REFUSALS as error:
        reason = str(error).partition("\n")[0]
        raise IsogradError(
            f"{twin.public_name} can't be built with the arguments {dict(arguments)}: {reason}"
        ) from error


def empty_twin(twin: Twin, arguments: Mapping[str, Any], device: jax.Device | str = "cpu") -> nnx.Module:
    """The module with parameters that have no values yet, for weights to be loaded into."""
    place, key = jax.devices(device)[0] if isinstance(device, str) else device, jax.random.key(0)

    def zeros(leaf: jax.ShapeDtypeStruct) -> Array:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return key if is_key else jax.device_put(np.zeros(leaf.shape, leaf.dtype), place)

    graph, parameters, others = nnx.split(build_twin(twin, arguments, abstract=True), nnx.Param, ...)
    return nnx.merge(graph, parameters, jax.tree.map(zeros, others))
